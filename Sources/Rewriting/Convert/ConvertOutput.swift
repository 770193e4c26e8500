public import ByteAccess
import Checkpoints

/// What the name of an output says of it.
public enum ConvertOutput {
    /// Whether the output is one file, and not a directory.
    public static func isSingleFile(_ path: String) -> Bool { path.lowercased().hasSuffix(".safetensors") }

    /// Whether the name is that of a GGUF file.
    public static func isGGUF(_ path: String) -> Bool { path.lowercased().hasSuffix(".gguf") }

    /// Refuses a name that says another container than the one that is written.
    ///
    /// - Throws: `.usage` with rule `OutputForm` where GGUF would be written to `.safetensors`, or safetensors to `.gguf`.
    public static func requireMatch(_ path: String, gguf: Bool, option: String) throws {
        guard gguf ? isSingleFile(path) : isGGUF(path) else { return }
        let (own, ending) = gguf ? ("GGUF", ".gguf") : ("safetensors", ".safetensors")
        let stem = path.split(separator: ".", omittingEmptySubsequences: false).dropLast().joined(separator: ".")
        throw PeftfileError(
            .usage, "\(option) writes \(own), and the output's name says otherwise", file: path, rule: "OutputForm",
            help: "name it for what it holds: -o \((stem + ending).shellQuoted)")
    }

    /// Refuses the names of containers that are read and never written.
    ///
    /// - Throws: `.refused` with rule `TorchOutput` for the name of a torch file, `NPZOutput` for that of an NPZ archive.
    public static func requireWritable(_ path: String) throws {
        let name = FileSystem.fileName(of: path).lowercased()
        let help = "name a .safetensors file or a directory: -o \(name.split(separator: ".").first.map(String.init)?.shellQuoted ?? "out").safetensors"
        if TorchFileNames.hasEnding(name) {
            throw PeftfileError(
                .refused,
                "a torch file is a Python pickle, which can run code in whoever loads it; none is written, and every loader reads "
                    + "safetensors", file: path, rule: "TorchOutput", help: help)
        }
        if name.hasSuffix(TorchFileNames.npzEnding) {
            throw PeftfileError(
                .refused, "NPZ archives are read and not written: MLX reads safetensors, and NumPy's archives have no bfloat16",
                file: path, rule: "NPZOutput", help: help)
        }
    }
}

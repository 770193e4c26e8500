public import ByteAccess
import Checkpoints

/// What the name of an output says of it.
public enum ConvertOutput {
    /// Whether the output is one file, and not a directory.
    public static func isSingleFile(_ path: String) -> Bool { path.hasSuffix(".safetensors") }

    /// Refuses the names of containers that are read and never written.
    public static func requireWritable(_ path: String) throws {
        let name = FileSystem.fileName(of: path)
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

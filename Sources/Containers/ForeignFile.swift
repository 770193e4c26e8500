public import ByteAccess

/// A file that is not the container it was taken for, and what it is instead, told by its first bytes.
public enum ForeignFile: Sendable, Hashable {
    /// The text that stands in a Git checkout for a file that was not fetched.
    case gitLFSPointer(oid: String?, size: String?)
    /// A web page, mostly of a login or an error.
    case htmlPage
    /// A torch checkpoint: a zip archive around a pickle, or torch's form before version 1.6.
    case torch
    /// A pickle that torch did not write.
    case pickle
    /// llama.cpp's container.
    case gguf
    /// numpy's archive of arrays.
    case npz
    /// One array as numpy's `.npy`.
    case numpyArray
    /// A zip archive without arrays in it.
    case zip
    /// A gzip stream.
    case gzip
    /// A Zstandard stream.
    case zstandard
    /// A tar archive.
    case tar
    /// HDF5, as Keras writes it.
    case hdf5
    /// A shard index or a config under the name of a checkpoint.
    case json

    /// The `rule` of the refusal.
    public var rule: String {
        switch self {
        case .gitLFSPointer: "GitLFSPointer"
        case .htmlPage: "HTMLPage"
        case .torch: "TorchCheckpoint"
        case .pickle: "Pickle"
        case .gguf: "GGUF"
        case .npz: "NPZ"
        case .numpyArray: "NumPyArray"
        case .zip: "ZipArchive"
        case .gzip: "GzipFile"
        case .zstandard: "ZstandardFile"
        case .tar: "TarArchive"
        case .hdf5: "HDF5"
        case .json: "JSONText"
        }
    }

    /// The rules of all kinds.
    public static let rules: [String] = [
        .gitLFSPointer(oid: nil, size: nil), .htmlPage, .torch, .pickle, .gguf, .npz, .numpyArray, .zip, .gzip,
        .zstandard,
        .tar, .hdf5, .json,
    ].map { (kind: ForeignFile) in kind.rule }

    /// The error that says what the file is and what to do.
    public func refusal(file: String) -> PeftfileError {
        let directory = FileSystem.directory(of: file)
        let name = FileSystem.fileName(of: file)
        let (message, help): (String, String) =
            switch self {
            case .gitLFSPointer(let oid, let size):
                (
                    "is a Git LFS pointer, not the file itself"
                        + (size.map { "; the file has \($0) bytes" } ?? "") + (oid.map { ", oid \($0)" } ?? ""),
                    "git -C \(directory.shellQuoted) lfs pull --include \(name.shellQuoted)"
                )
            case .htmlPage:
                (
                    "is an HTML page, not a checkpoint",
                    "the download was answered with a page, such as a login or an error: fetch it again"
                )
            case .torch:
                (
                    "is a torch checkpoint, which is not read",
                    "save it as safetensors, for example with save_pretrained(..., safe_serialization=True)"
                )
            case .pickle:
                (
                    "is a Python pickle, which can run code when it is loaded and is not read",
                    "save the tensors as safetensors where you trust the file's origin"
                )
            case .gguf: ("is a GGUF file, and safetensors is expected", "use the safetensors checkpoint that it was made from")
            case .npz: ("is an NPZ archive of NumPy, which is not read", "save the arrays as safetensors")
            case .numpyArray: ("is a NumPy array, which is not read", "save the array as safetensors")
            case .zip: ("is a zip archive", "unpack it first: unzip \(file.shellQuoted)")
            case .gzip: ("is compressed with gzip", "unpack it first: \(ForeignFile.unpacking(file, by: "gzip -dc"))")
            case .zstandard: ("is compressed with Zstandard", "unpack it first: \(ForeignFile.unpacking(file, by: "zstd -dc"))")
            case .tar: ("is a tar archive", "unpack it first: tar -xf \(file.shellQuoted)")
            case .hdf5: ("is an HDF5 file, which is not read", "save the tensors as safetensors")
            case .json:
                ("is a JSON text, not a checkpoint", "name the checkpoint's directory or one of its .safetensors files")
            }
        let code: PeftfileError.Code =
            switch self {
            case .torch, .gguf, .npz: .unsupported
            default: .refused
            }
        return PeftfileError(code, message, file: file, rule: rule, help: help)
    }

    /// A command that puts what is packed in a file in its place: under a name without their own ending the tools unpack nothing.
    private static func unpacking(_ file: String, by tool: String) -> String {
        let unpacked = (file + ".unpacked").shellQuoted
        return "\(tool) \(file.shellQuoted) > \(unpacked) && mv \(unpacked) \(file.shellQuoted)"
    }
}

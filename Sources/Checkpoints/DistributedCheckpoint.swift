public import ByteAccess

/// A folder that torch.distributed.checkpoint wrote: `.metadata`, a pickle that says where each part of each tensor lies, and
/// `__RANK_N.distcp` with the parts of each rank. FSDP and FSDP2 leave one, Accelerate as `pytorch_model_fsdp_0` in a checkpoint.
/// It is not read; torch makes one file of it.
///
/// Source: `FileSystemWriter` in torch/distributed/checkpoint/filesystem.py, and the command line of format_utils.py there.
public struct DistributedCheckpoint: Sendable {
    /// The folder.
    public let path: String

    /// The folder itself, or the first below it that is one; nil where there is none. What cannot be listed is none.
    public init?(at directory: String) {
        let below = ((try? FileSystem.list(directory)) ?? []).sorted().map { FileSystem.join(directory, $0) }
        guard let path = ([directory] + below).first(where: DistributedCheckpoint.isOne) else { return nil }
        self.path = path
    }

    /// Whether a file is one rank's parts, or the metadata beside some.
    public static func holds(_ file: String) -> Bool {
        let name = FileSystem.fileName(of: file)
        return (name.hasSuffix(".distcp") || name == ".metadata") && isOne(FileSystem.directory(of: file))
    }

    private static func isOne(_ directory: String) -> Bool {
        guard FileSystem.isDirectory(directory), let names = try? FileSystem.list(directory) else { return false }
        return names.contains(".metadata") && names.contains { $0.hasSuffix(".distcp") }
    }

    /// What it is, in words.
    public static let message = "holds a distributed checkpoint, the parts that each rank had of the tensors (torch.distributed.checkpoint)"

    /// The command that makes one file of it.
    public var help: String {
        "make one file of it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch \(path.shellQuoted) model.pt"
    }

    /// The refusal of a directory that has its weights here.
    public func refusal(of directory: String) -> PeftfileError {
        PeftfileError(.unsupported, DistributedCheckpoint.message, file: directory, help: help)
    }
}

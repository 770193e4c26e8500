import ByteAccess
import Checkpoints

/// The training states of a directory that has a config of PEFT and no file of PEFT's weights.
///
/// Trainers write the whole model there: `pytorch_model.bin`, `model.safetensors` or shards with an index (Accelerate),
/// `mp_rank_00_model_states.pt` (DeepSpeed), `*.ckpt` (Lightning). Where one file holds tensors of an adapter, it is meant; the
/// states of optimizers and a model without such tensors are none. Of several, the caller names one.
public struct TrainingStates: Sendable {
    private let directory: String
    /// The files and indexes that may hold weights, by their names.
    private let candidates: [String]
    /// Those that hold tensors of an adapter.
    public let paths: [String]

    /// - Throws: what listing the directory and reading an index throws.
    public init(in directory: String) throws {
        self.directory = directory
        let names = try FileSystem.list(directory).filter { !$0.hasPrefix(".") }
        let indexes = names.filter { $0.hasSuffix(".safetensors.index.json") || $0.hasSuffix(".bin.index.json") }
        var shards: Set<String> = []
        for index in indexes { shards.formUnion(try ShardIndex.open(FileSystem.join(directory, index)).shardNames) }
        let files = names.filter { TorchFileNames.mayBeWeights($0) && !$0.contains("optim_states.") && !shards.contains($0) }
        candidates = indexes + files
        paths = candidates.map { FileSystem.join(directory, $0) }.filter(TrainingStates.holdsAdapter)
    }

    /// The one file that is meant.
    ///
    /// - Throws: `.notFound` with rule `AdapterWeightsMissing` where there is none, and `.refused` with it where there are several, or
    ///   one is a shard that no index names.
    public func only() throws -> String {
        // With an index a shard is no candidate.
        if let shard = paths.map(FileSystem.fileName).first(where: CheckpointDirectory.isShard) {
            throw PeftfileError(
                .refused, "\(shard.printable) is one of several shards, and no index says which tensors they all have", file: directory,
                rule: "AdapterWeightsMissing", help: "fetch the index that was saved beside them: model.safetensors.index.json")
        }
        if paths.count == 1 { return paths[0] }
        if let last = paths.last {
            throw PeftfileError(
                .refused, "has no file of PEFT's, and \(paths.count) training states with an adapter in them: "
                    + paths.map { FileSystem.fileName(of: $0).printable }.joined(separator: ", "),
                file: directory, rule: "AdapterWeightsMissing", help: "name one: \(last.shellQuoted)")
        }
        if let parts = DistributedCheckpoint(at: directory) { throw parts.refusal(of: directory) }
        let below = inner()
        let others = candidates.isEmpty
            ? "" : ", and no tensor of an adapter is in \(candidates.map(\.printable).joined(separator: ", "))"
        throw PeftfileError(
            .notFound, "has no adapter_model.safetensors and no adapter_model.bin" + others, file: directory, rule: "AdapterWeightsMissing",
            help: below.map { "the training state is in a folder of its own: name the file, \($0.shellQuoted)" }
                ?? "give the directory that PEFT's save_pretrained wrote")
    }

    /// The state that DeepSpeed keeps below, in `global_step…`: the folder that the file `latest` names, or the only one.
    private func inner() -> String? {
        let folders = ((try? FileSystem.list(directory)) ?? []).filter { FileSystem.isDirectory(FileSystem.join(directory, $0)) }
        let paths = folders.flatMap { folder -> [String] in
            let path = FileSystem.join(directory, folder)
            let names = ((try? FileSystem.list(path)) ?? []).filter { $0.hasSuffix("_model_states.pt") }
            return names.map { FileSystem.join(path, $0) }
        }
        return paths.last
    }

    private static func holdsAdapter(_ path: String) -> Bool {
        guard let checkpoint = try? Checkpoint.open(path) else { return false }
        return checkpoint.tensors.contains { AdapterKey($0.name).component != nil }
    }
}

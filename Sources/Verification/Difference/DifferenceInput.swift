public import Adapters
public import ByteAccess
public import Checkpoints

/// One side of a comparison: a file of tensors of any container, a shard set, a checkpoint directory or an adapter.
public struct DifferenceInput: Sendable {
    /// The path as it was given.
    public let path: String
    /// The tensors of one side.
    public let checkpoint: Checkpoint
    /// The adapter, where it is one.
    public let adapter: Adapter?
    /// What stands before the model's names in a training checkpoint, `state_dict.`; nil where there is nothing beside a model.
    let modelPrefix: String?

    /// Opens a path. What is an adapter is told as `inspect` tells it, and a training checkpoint is taken with all its tensors, under
    /// their full names; of one in several files the model, since each file has the rest again.
    ///
    /// - Throws: what opening throws: the file cannot be read, or breaks a rule of its format; or why its codes are no numbers.
    public init(path: String) throws {
        self.path = path
        adapter = Inspection.looksLikeAdapter(path) ? try Adapter(path: path) : nil
        let model = try adapter?.checkpoint ?? Checkpoint.openUnderAnyNames(path)
        let key = adapter == nil && model.isSingleFile ? try Checkpoint.openStored(path, entire: true).modelKey : nil
        checkpoint = key == nil ? model : try Checkpoint.open(path, entire: true)
        if adapter == nil { _ = try checkpoint.requireReadableWeights() }
        modelPrefix = key.map { $0.text + "." }
    }

    /// The tensor that is called `name` in the other side: under that name, or where one of the two holds a model beside other
    /// things and the other a model alone, under the model's.
    func tensor(_ name: ExactString, of other: DifferenceInput) -> StoredTensor? {
        if let tensor = checkpoint[name] { return tensor }
        switch (modelPrefix, other.modelPrefix) {
        case (let prefix?, nil): return checkpoint[ExactString(prefix + name.text)]
        case (nil, let prefix?):
            guard name.text.utf8.starts(with: prefix.utf8) else { return nil }
            return checkpoint[ExactString(String(name.text.dropFirst(prefix.count)))]
        default: return nil
        }
    }
}

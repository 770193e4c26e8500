public import Checkpoints

/// What a check is told beside the adapter.
public struct CheckOptions: Sendable {
    /// The base, opened once for all adapters of a call.
    public var base: Checkpoint?
    /// The loaders that the adapter is meant for.
    public var targets: [ServingTarget]
    /// Rules that run only where a policy asks for them, by id.
    public var askedFor: Set<String>
    /// Worker threads.
    public var jobs: Int

    public init(
        base: Checkpoint? = nil, targets: [ServingTarget] = [], askedFor: Set<String> = [], jobs: Int = 1
    ) {
        self.base = base
        self.targets = targets
        self.askedFor = askedFor
        self.jobs = jobs
    }
}

/// A loader of adapters with limits of its own.
public enum ServingTarget: String, Sendable, Hashable, CaseIterable {
    case vllm
    case llamaCpp = "llama.cpp"
    case mlx
    case transformers
}

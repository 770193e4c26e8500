public import Adapters
public import Checkpoints

/// What a check is told beside the adapter.
public struct CheckOptions: Sendable {
    /// The base, opened once for all adapters of a call.
    public var base: Checkpoint?
    /// What the adapters' files leave open, and the caller settles.
    public var binding: BindingOptions
    /// The loaders that the adapter is meant for.
    public var targets: [ServingTarget]
    /// What is asked beyond the rules' own measure.
    public var policy: CheckPolicy?
    /// Worker threads.
    public var jobs: Int
    /// Called with bytes of weights that have just been read, from any thread.
    public var progress: (@Sendable (UInt64) -> Void)?

    /// Options that ask for nothing but the rules' own measure. Rules that need a base, a loader or a policy do not run without one.
    ///
    /// - Parameters:
    ///   - targets: empty for no loader.
    ///   - jobs: by default one thread.
    public init(
        base: Checkpoint? = nil, binding: BindingOptions = BindingOptions(), targets: [ServingTarget] = [], policy: CheckPolicy? = nil, jobs: Int = 1,
        progress: (@Sendable (UInt64) -> Void)? = nil
    ) {
        self.base = base
        self.binding = binding
        self.targets = targets
        self.policy = policy
        self.jobs = jobs
        self.progress = progress
    }
}

/// A loader of adapters with limits of its own.
public enum ServingTarget: String, Sendable, Hashable, CaseIterable {
    /// vLLM.
    case vllm
    /// llama.cpp, by way of its converter to GGUF.
    case llamaCpp = "llama.cpp"
    /// mlx_lm.
    case mlx
    /// transformers with PEFT.
    case transformers
}

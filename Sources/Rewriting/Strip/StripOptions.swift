public import Adapters
public import Tensors

/// How a prompt is to be stripped, and what its source cannot tell.
public struct StripOptions: Sendable {
    /// Names and config of the output.
    public enum Layout: String, Sendable, Hashable, CaseIterable {
        /// A PEFT adapter directory: `prompt_embeddings` and a complete `adapter_config.json`.
        case peft
        /// The source's own names and config, without the reparametrization.
        case source
    }

    /// Nil: `peft`, unless there is nothing to strip and the names are not PEFT's.
    public var layout: Layout?
    /// The task of a multitask prompt to bake.
    public var task: Int?
    /// The dtype of the prompt; nil keeps the embedding's.
    public var dtype: DType?
    /// The base model's config.json, and the path or name under which the base was given.
    public var base: (name: String, config: AdapterConfig?)?
    /// What the user states: layers, width and heads of the key and value slots.
    public var stated: PromptFacts
    /// Virtual tokens of a flat prefix.
    public var tokens: Int?
    /// PEFT's `task_type`.
    public var taskType: String?
    /// Whether to write a prompt that is stripped already.
    public var writesStripped: Bool

    /// Options that take everything from the source, as far as it tells.
    ///
    /// - Parameters:
    ///   - base: nil where no base was given; its config is nil where no more than its name is known.
    ///   - tokens: nil where the tensor's rows tell it.
    ///   - taskType: nil keeps what the source's config says, else what the base's architecture tells.
    public init(
        layout: Layout? = nil, task: Int? = nil, dtype: DType? = nil, base: (name: String, config: AdapterConfig?)? = nil,
        stated: PromptFacts = PromptFacts(), tokens: Int? = nil, taskType: String? = nil, writesStripped: Bool = false
    ) {
        self.layout = layout
        self.task = task
        self.dtype = dtype
        self.base = base
        self.stated = stated
        self.tokens = tokens
        self.taskType = taskType
        self.writesStripped = writesStripped
    }
}

import ByteAccess

/// The class that an adapter was trained on, as far as its config names it: whether its names in memory begin with the prefix of
/// the bare model.
///
/// PEFT writes `auto_mapping` with the class where there is no `task_type`, and a `task_type` elsewhere, which stands for one of the
/// auto classes (`PeftModel.save_pretrained` in peft/peft_model.py). In transformers `…Model` is a bare model, and `…For…` and
/// `…LMHeadModel` one with a head, which holds the bare one under its `base_model_prefix`.
enum MemoryClass: Equatable {
    /// A class of transformers with a head.
    case head(String)
    /// A bare model of transformers.
    case bare(String)
    /// A class of somebody else, whose names nobody else has.
    case custom(String)
    case unknown

    init(_ config: AdapterConfig) {
        if let mapping = config["auto_mapping"], let name = mapping["base_model_class"]?.stringValue {
            let library = mapping["parent_library"]?.stringValue ?? "transformers"
            self = library.hasPrefix("transformers") ? MemoryClass(named: name) : .custom(name)
            return
        }
        switch config["task_type"]?.stringValue {
        case "CAUSAL_LM", "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "SEQ_2_SEQ_LM": self = .head("a model with a head")
        case "FEATURE_EXTRACTION": self = .bare("the bare model")
        default: self = .unknown
        }
    }

    private init(named name: String) {
        if name.contains("For") || name.hasSuffix("HeadModel") || name.hasSuffix("HeadsModel") { self = .head(name) }
        else if name.hasSuffix("Model") { self = .bare(name) }
        else { self = .unknown }
    }

    /// What messages call it.
    var name: String {
        switch self {
        case .head(let name), .bare(let name), .custom(let name): name
        case .unknown: "the model"
        }
    }
}

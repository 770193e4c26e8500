import ByteAccess

/// What an adapter's file may leave open, each with the option that answers it.
public enum OpenQuestion: String, Sendable, Hashable, CaseIterable {
    /// The whole factor of the update.
    case scale = "--scale"
    /// How the factors lie.
    case orientation = "--orientation"
    /// Which parts of a fused layer MergedLinear adapts.
    case enabledParts = "--enable-lora"
    /// How the columns of stacked experts run.
    case expertOrder = "--expert-order"
    /// How the base holds square matrices.
    case squareOrientation = "--square-orientation"

    /// Which files leave it open.
    public var concerns: String {
        switch self {
        case .scale: "files without a config that tells the scale"
        case .orientation: "bare factors without a config"
        case .enabledParts: "loralib's MergedLinear"
        case .expertOrder: "stacked experts that Unsloth trained"
        case .squareOrientation: "adapters with fan_in_fan_out, and files that have no word on it: loralib's, bare factors, llama.cpp's of GPT-2"
        }
    }

    /// Whether options answer it.
    public func isAnswered(by options: BindingOptions) -> Bool {
        switch self {
        case .scale: options.scale != nil
        case .orientation: options.orientation != .outIn
        case .enabledParts: !options.enableLoRA.isEmpty
        case .expertOrder: options.expertOrder != nil
        case .squareOrientation: options.squareOrientation != nil
        }
    }
}

extension Adapter {
    /// What the file leaves open.
    ///
    /// - Throws: what is wrong with its config.
    public func openQuestions() throws -> Set<OpenQuestion> {
        if let dialect {
            return dialect.openQuestions(dialectFile).union(try carriedOrientation() == nil ? [] : [.squareOrientation])
        }
        guard let config else { return [.scale, .orientation, .enabledParts, .squareOrientation] }
        var result: Set<OpenQuestion> = []
        if config["fan_in_fan_out"]?.boolValue == true { result.insert(.squareOrientation) }
        if try !UnslothExperts(of: self).stacks.isEmpty { result.insert(.expertOrder) }
        return result
    }
}

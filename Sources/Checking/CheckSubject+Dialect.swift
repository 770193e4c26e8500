import Adapters
import ByteAccess
import Checkpoints
import Containers

extension CheckSubject {
    /// Whose conventions the tensor names follow.
    enum Dialect: Sendable {
        /// `base_model.model.`, or components that PEFT registers.
        case peft
        /// Prompts, bottleneck adapters, and the files of other trainers.
        case other
    }

    var dialect: Dialect {
        if foreignDialect != nil { return .other }
        if keys.contains(where: \.hadPrefix) { return .peft }
        if config.config?.peftType != nil { return .peft }
        if (try? adapter())?.dialectName != nil { return .other }
        // diffusers takes PEFT's components under names of its own, without a config.
        guard !keys.contains(where: { key in PEFTNames.pipelines.contains { key.stored.text.hasPrefix($0) } }) else {
            return .other
        }
        return keys.contains { PEFTNames.components.contains($0.component ?? "") } ? .peft : .other
    }

    /// The dialect of names that stand beside a config of PEFT's and are not PEFT's.
    var foreignDialect: String? { config.config?.peftType == nil ? nil : (try? adapter())?.dialectName }

    /// Whether the weights are in a container of other tools that was named as such.
    var hasForeignWeights: Bool {
        guard let error = weights.error, let file = weights.file else { return false }
        return ContainerDefect(error, file: file) == .unread
    }

    /// Whether there is no config that can be read, and there should be one.
    var lacksConfig: Bool {
        switch config {
        case .read: false
        case .unreadable: true
        // Other tools' files carry what they need in themselves.
        case .missing:
            if weights.checkpoint != nil { dialect == .peft } else { !isFile && !hasForeignWeights && isNamedByPEFT }
        }
    }

    /// Whether the weights have the name that PEFT gives them, or are not there: what cannot be read under another name is any library's.
    private var isNamedByPEFT: Bool { weights.file.map { FileSystem.fileName(of: $0).hasPrefix("adapter_model.") } ?? true }

    /// Whether the file has components of PEFT's methods and the config's method knows none of them.
    var typeIsContradicted: Bool {
        guard let name = config.config?.peftType, let method = MethodRegistry.method(named: name),
            let adapter = try? adapter()
        else { return false }
        let trained = adapter.keys.filter { $0.component != nil }
        return !trained.isEmpty && trained.allSatisfy { !method.claims($0, of: adapter) }
    }

    /// Whether the tensors could be read and none of them is of an adapter: by the config's method, or by their names where
    /// there is no config.
    var holdsNoAdapter: Bool {
        guard let checkpoint = weights.checkpoint, !hasWholeModel else { return false }
        if checkpoint.tensors.isEmpty { return true }
        guard !keys.contains(where: { $0.component != nil || $0.isPrompt }), bottlenecks == nil else { return false }
        if let name = config.config?.peftType {
            guard let method = MethodRegistry.method(named: name), !method.configKeys.isEmpty, let adapter = try? adapter() else {
                return false
            }
            return !adapter.keys.contains { method.claims($0, of: adapter) }
        }
        return (try? Inspection(path: weights.file ?? path))?.kind == .checkpoint
    }

    /// Whether the config says that whole weights were trained, as mlx-lm's does.
    private var hasWholeModel: Bool { config.config?["fine_tune_type"]?.stringValue == "full" }

    /// Whether the config's method has a config key of this name.
    func methodReads(_ key: String) -> Bool {
        guard let name = config.config?.peftType, let method = MethodRegistry.method(named: name) else { return false }
        return method.configKeys.contains(key)
    }
}

/// Components that no other trainer writes.
private enum PEFTNames {
    static let components: Set<String> = ["lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"]
    /// The parts of a diffusers pipeline, which its LoRA files name first.
    static let pipelines = ["unet.", "transformer.", "text_encoder.", "text_encoder_2.", "text_encoder_3.", "prior."]
}

public import ByteAccess
import Checkpoints
public import Tensors

/// A stored tensor with its name freed of what trainers wrap around modules.
public struct PromptTensor: Sendable, Hashable {
    /// The name in the file.
    public let stored: ExactString
    /// The components of the name, without `_orig_mod` (torch.compile), `_fsdp_wrapped_module` (FSDP),
    /// `_checkpoint_wrapped_module` (activation checkpointing), and a leading `module` (DataParallel, DeepSpeed).
    public let parts: [String]
    /// The dtype in the file.
    public let dtype: DType
    /// The shape in the file.
    public let shape: Shape

    init(_ tensor: StoredTensor) {
        stored = tensor.name
        dtype = tensor.dtype
        shape = tensor.shape
        var parts = tensor.name.text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
            .map { String(Substring($0)) }
        parts.removeAll { $0 == "_orig_mod" || $0 == "_fsdp_wrapped_module" || $0 == "_checkpoint_wrapped_module" }
        while parts.count > 1, parts[0] == "module" { parts.removeFirst() }
        self.parts = parts
    }

    /// The name without wrappers.
    public var clean: ExactString { ExactString(parts.joined(separator: ".")) }

    /// Refuses a tensor that is not `rank`-dimensional, empty, or of a dtype without the numbers that are computed with.
    func requireNumbers(rank: Int) throws {
        guard dtype.isMergeable else {
            throw PeftfileError(
                .refused, "is \(dtype.rawValue), and only F64, F32, F16 and BF16 are computed with", tensor: stored,
                rule: "PromptDType", help: "save the training state again in one of these")
        }
        guard shape.count == rank, !shape.contains(0) else {
            throw PeftfileError(
                .refused, "has shape \(shape), and \(rank) dimensions that are not empty are needed", tensor: stored,
                rule: "PromptShape", help: "gather the shards of ZeRO-3 or FSDP into whole tensors first")
        }
    }

    /// Refuses any shape but `wanted`, which follows from `other`.
    func requireShape(_ wanted: Shape, dueTo other: PromptTensor) throws {
        guard shape != wanted else { return }
        throw PeftfileError(
            .refused,
            "has shape \(shape), and \"\(other.clean.text.printable)\" of shape \(other.shape) asks for \(wanted)",
            tensor: stored, rule: "PromptShape", help: "the two are not of one training state; save it again")
    }

    /// Refuses a dimension that a config's number of layers, each with a key and a value, contradicts.
    func requireSlots(_ width: ExactString, of config: AdapterConfig?, layers: ExactString, axis: Int) throws {
        guard let count = try config?.count(layers) else { return }
        let slots = count.multipliedReportingOverflow(by: 2)
        try requireClaim(
            width, of: config, axis: axis, factor: slots.overflow ? .max : slots.partialValue, dueTo: "\(layers) = \(count)")
    }

    /// Refuses a dimension that a config's number contradicts. Without config or key there is nothing to check.
    ///
    /// - Parameters:
    ///   - factor: what the config's number is multiplied with to give the dimension.
    ///   - reason: where the factor comes from.
    func requireClaim(
        _ key: ExactString, of config: AdapterConfig?, axis: Int, factor: Int = 1, dueTo reason: String? = nil
    ) throws {
        guard let config, let claim = try config.count(key) else { return }
        let (wanted, overflow) = claim.multipliedReportingOverflow(by: factor)
        guard overflow || shape[axis] != wanted else { return }
        var claimed = shape
        claimed[axis] = overflow ? .max : wanted
        throw PeftfileError(
            .refused, "has shape \(shape), and \(key) = \(claim)\(reason.map { " with \($0)" } ?? "") in the config asks for "
                + "\(claimed)", file: config.path, tensor: stored, rule: "ConfigContradiction", help: "the config belongs to another adapter; correct it")
    }
}

/// The tensors of one prompt encoder: those under one root, by their names below it.
public struct PromptGroup: Sendable {
    /// The path of the encoder's module, without wrappers; empty at the top.
    public let root: String
    /// What tells encoders of one root apart: `_enc`, `2`; mostly empty.
    public let variant: String
    /// The tensors by the rest of their name: `embedding.weight`, `transform.0.bias`.
    public private(set) var tensors: [String: PromptTensor] = [:]
    /// The same in file order.
    public private(set) var leaves: [String] = []

    init(root: String, variant: String) {
        self.root = root
        self.variant = variant
    }

    mutating func add(_ tensor: PromptTensor, as leaf: String) throws {
        if let other = tensors.updateValue(tensor, forKey: leaf) {
            throw PeftfileError(
                .refused, "means the same as \"\(other.stored.text.printable)\"", tensor: tensor.stored,
                rule: "AmbiguousKey", help: "keep one of the two")
        }
        leaves.append(leaf)
    }

    func has(_ prefix: String) -> Bool { leaves.contains { $0.hasPrefix(prefix) } }

    /// The tensor of a leaf that the form needs.
    func required(_ leaf: String) throws -> PromptTensor {
        if let tensor = tensors[leaf] { return tensor }
        throw PeftfileError(
            .refused, "is missing: the encoder at \"\(root.printable)\" has shapes "
                + leaves.prefix(6).map { "\($0.printable) \(tensors[$0]?.shape ?? [])" }.joined(separator: ", "),
            tensor: ExactString((root.isEmpty ? "" : "\(root).") + named(leaf)), rule: "PromptTensorMissing",
            help: "save the whole training state; what is missing cannot be guessed")
    }

    /// A leaf as the file has it: the variant stands behind its first component.
    private func named(_ leaf: String) -> String {
        let end = leaf.firstIndex(of: ".") ?? leaf.endIndex
        return "\(leaf[..<end])\(variant)\(leaf[end...])"
    }

    /// Refuses tensors under the root that the form has no use for: what is not understood may change the result.
    func requireOnly(_ known: Set<String>) throws {
        guard let leaf = leaves.first(where: { !known.contains($0) }), let tensor = tensors[leaf] else { return }
        throw PeftfileError(
            .refused, "of shape \(tensor.shape) has no known part in this prompt encoder", tensor: tensor.stored,
            rule: "PromptTensorUnknown", help: "use a newer peftfile, or the library that wrote it")
    }
}

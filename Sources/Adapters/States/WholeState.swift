public import ByteAccess
public import Checkpoints
import Tensors

/// A training state that holds the whole model: the frozen weights of the base beside the adapter's tensors.
///
/// `torch.save(model.state_dict())` of a model that PEFT wrapped, FSDP's full state, DeepSpeed's `mp_rank_00_model_states.pt`,
/// Lightning's checkpoints and Accelerate's `model.safetensors` are such states. PEFT wraps a layer X, whose own weight is then
/// `X.base_layer.weight` (before PEFT 0.6 `X.weight`); layers that it does not wrap keep their names, and all have the front
/// of the adapter's tensors:
///
/// | in the state | what it is |
/// |---|---|
/// | `X.lora_A.default.weight`, `X.modules_to_save.default.weight` | the adapter's |
/// | a bias that `bias` of the config says was trained | the adapter's |
/// | `Y.weight` where `modules_to_save` names Y and the state holds no copies | the adapter's: it was trained in place |
/// | `X.base_layer.weight`, `norm.weight`, `X.original_module.weight` of trained token rows | frozen |
/// | `X.base_layer.weight.absmax`, `X.base_layer.weight` as codes of bitsandbytes | frozen, and not to be compared |
/// | whatever stands beside the wrapped model, `optimizer.…` or `value_head.weight` | as in every adapter: refused, or named |
///
/// `save_pretrained` writes no weight of a layer that it wrapped, but for embeddings and heads; that tells the two apart.
///
/// Source: `get_peft_model_state_dict` in peft/utils/save_and_load.py; `BaseTunerLayer` in peft/tuners/tuners_utils.py;
/// `AuxiliaryTrainingWrapper` in peft/utils/other.py; `QuantState.as_dict` in bitsandbytes/functional.py.
public struct WholeState: Sendable {
    /// All tensors of the state.
    public let checkpoint: Checkpoint
    /// The adapter's tensors, taken apart.
    public let keys: [AdapterKey]
    /// The weights of the base, in file order.
    public let frozen: [AdapterKey]
    /// Codes of quantised weights and what belongs to them: no numbers to compare.
    public let codes: [ExactString]
    /// What stands before `base_model.model.` in every name: Lightning's `model.`.
    let front: String
    /// What came of the comparison with a base; nil before there was one.
    var comparison: FrozenComparison?

    /// - Parameter keys: the names of `checkpoint`, taken apart.
    /// - Returns: nil where the tensors are those of an adapter alone.
    init?(_ checkpoint: Checkpoint, keys: [AdapterKey], config: AdapterConfig?) {
        guard WholeState.isWhole(keys) else { return nil }
        let names = keys.map { WholeState.taken($0.stored) }
        let fronts = Set(zip(keys, names).filter { WholeState.isOfMethod($0.0) }.map(\.1.front))
        guard fronts.count == 1, let front = fronts.first else { return nil }
        let taken = zip(keys, names).map { AdapterKey($0.1.name, stored: $0.0.stored) }
        let sorting = Sorting(taken, config: config)
        let quantised = WholeState.codes(in: checkpoint)
        var own: [AdapterKey] = []
        var frozen: [AdapterKey] = []
        var codes: [ExactString] = []
        for (key, name) in zip(taken, names) {
            if name.front != front || !sorting.isFrozen(key) {
                own.append(key.sharing(own.last))
            } else if quantised.contains(key.stored) {
                codes.append(key.stored)
            } else {
                frozen.append(key.sharing(frozen.last))
            }
        }
        guard !frozen.isEmpty || !codes.isEmpty else { return nil }
        self.checkpoint = checkpoint
        self.front = front
        (self.keys, self.frozen, self.codes) = (own, frozen, codes)
    }

    /// Refuses the tensors of several wrapped models, as a trainer saves them that averages the weights: `model.base_model.…` beside
    /// `ema.base_model.…`, with the same modules.
    static func requireOneModel(_ keys: [AdapterKey], path: String) throws {
        // The names are asked for where there is more than one front alone: an adapter may have tens of thousands.
        var all: Set<String> = []
        for key in keys where isOfMethod(key) { all.insert(taken(key.stored).front) }
        guard all.count > 1 else { return }
        var names: [String: Set<ExactString>] = [:]
        for key in keys where isOfMethod(key) {
            let (front, name) = taken(key.stored)
            names[front, default: []].insert(name)
        }
        let fronts = names.keys.sorted()
        for (index, front) in fronts.enumerated() {
            guard let other = fronts[..<index].first(where: { !(names[$0] ?? []).isDisjoint(with: names[front] ?? []) }) else { continue }
            let first = keys.first { isOfMethod($0) && taken($0.stored).front == front }
            throw PeftfileError(
                .refused,
                "holds an adapter twice: under \"\(front.printable).\" and \(other.isEmpty ? "with nothing before base_model" : "under \"\(other.printable).\"")",
                file: path, tensor: first?.stored, rule: "SeveralAdapters", help: "keep one of the two, as a file of its own: the weights, or their average")
        }
    }

    /// The state in an open file.
    ///
    /// - Returns: nil where the tensors are those of an adapter alone, or in another library's dialect.
    public init?(_ checkpoint: Checkpoint, path: String, config: AdapterConfig?) {
        guard DialectRegistry.dialect(of: DialectFile(path: path, checkpoint: checkpoint, config: config)) == nil else { return nil }
        self.init(checkpoint, keys: checkpoint.tensors.map { AdapterKey($0.name) }, config: config)
    }

    /// The state without what is frozen.
    public var adapterCheckpoint: Checkpoint { checkpoint.without(Set(frozen.map(\.stored)).union(codes)) }

    /// How many tensors are no part of the adapter.
    public var leftOutCount: Int { frozen.count + codes.count }

    /// The counts as receipts have them.
    public var json: JSONValue {
        .object([
            "left_out": .number(JSONNumber(leftOutCount)),
            "compared": .number(JSONNumber(comparison?.compared ?? 0)),
            "rounded": .number(JSONNumber(comparison?.rounded ?? 0)),
        ])
    }

    /// What a reader should know before a base was there to compare with.
    ///
    /// Rows of an embedding that was made larger are taken for the base's too, as `save_pretrained` does where it does not find the base's
    /// config (`get_peft_model_state_dict`).
    var note: String {
        start + "are left out of the adapter and were not compared with a base, as --base does; that no vocabulary was resized is taken for granted"
    }

    /// The same where the base is another.
    public var refusedNote: String { start + "are no part of the adapter, and are not all the base's" }

    private var start: String {
        "\(fileName.printable) is a training state of the whole model: \(leftOutCount) weights of the base, by their names, "
    }

    /// Bytes of the weights that are compared with a base.
    public var comparedBytes: UInt64 { frozen.reduce(0) { $0 + (checkpoint[$1.stored]?.byteCount ?? 0) } }

    /// Whether codes among the frozen weights are those of bitsandbytes' four bits.
    var holdsFourBits: Bool { checkpoint.storedTensors.contains { $0.name.text.contains(".quant_state.bitsandbytes__") } }

    /// Whether their scales are codes too.
    var quantisesTwice: Bool { checkpoint.storedTensors.contains { $0.name.text.hasSuffix(".nested_absmax") } }

    /// The file that was read, or the index of several.
    var fileName: String {
        checkpoint.shards.count == 1 ? checkpoint.shards[0].fileName : checkpoint.indexFileName ?? FileSystem.fileName(of: checkpoint.path)
    }

    // MARK: Recognition

    /// Whether weights of wrapped layers stand beside what the method put there.
    private static func isWhole(_ keys: [AdapterKey]) -> Bool {
        var wrapped: Set<ExactString> = []
        var hasEmbeddingsAlone = true
        for key in keys {
            if key.isPrompt { return false }
            guard isOfMethod(key), !key.module.text.isEmpty else { continue }
            wrapped.insert(key.module)
            if !isVocabulary(key.module) { hasEmbeddingsAlone = false }
        }
        guard !wrapped.isEmpty else { return false }
        var own: Set<ExactString> = []
        var hasOthers = false
        for key in keys where key.component == nil && !isCopy(key) {
            guard key.leaf == "weight" || key.leaf == "qweight" || key.depth > 0 && key.leaf != "bias" else { continue }
            if wrapped.contains(key.module) {
                if hasEmbeddingsAlone || !isVocabulary(key.module) { own.insert(key.module) }
            } else if key.leaf == "weight", !isVocabulary(key.module), !KeyRepair.isTrainerState(key) {
                hasOthers = true
            }
        }
        // Accelerate leaves tensors out that others share; save_pretrained writes the weights of embeddings and heads.
        return own.count * 2 >= wrapped.count && !own.isEmpty && (hasOthers || !hasEmbeddingsAlone)
    }

    /// Whether a method put the tensor there.
    private static func isOfMethod(_ key: AdapterKey) -> Bool {
        guard let component = key.component else { return false }
        return component != "original_module" && component != "trainable_tokens_original"
    }

    private static func isVocabulary(_ module: ExactString) -> Bool {
        SavedParameters.isEmbedding(ExactString("\(module).weight"))
    }

    /// Whether the tensor is the copy that `modules_to_save` trains.
    private static func isCopy(_ key: AdapterKey) -> Bool { key.stored.text.dottedComponents.contains("modules_to_save") }

    private static let wrappers = AdapterKey.wrappers.union(["_checkpoint_wrapped_module"])

    /// A name as PEFT spells it, and what a trainer put before it.
    private static func taken(_ stored: ExactString) -> (front: String, name: ExactString) {
        var parts = stored.text.dottedComponents.map(String.init)
        while parts.count > 1, parts[0] == "module" { parts.removeFirst() }
        parts.removeAll { wrappers.contains($0) && $0 != "module" }
        guard let begin = parts.indices.last(where: { parts[$0...].starts(with: ["base_model", "model"]) })
            ?? parts.firstIndex(of: "base_model")
        else { return ("", ExactString(parts.joined(separator: "."))) }
        let isInner = begin > 0 && parts[..<begin].contains("base_model")
        return (
            isInner ? "" : parts[..<begin].joined(separator: "."), ExactString(parts[begin...].joined(separator: "."))
        )
    }

    // MARK: Codes

    /// What bitsandbytes keeps beside a weight's codes, by the last part of the name.
    private static let companions: Set<Substring> = ["absmax", "nested_absmax", "quant_map", "nested_quant_map", "SCB", "weight_format"]
    /// What GPTQ and AWQ have in a weight's place.
    private static let packed: Set<Substring> = ["qweight", "qzeros", "scales", "g_idx"]

    /// The tensors that are codes, or belong to some.
    private static func codes(in checkpoint: Checkpoint) -> Set<ExactString> {
        var result: Set<ExactString> = []
        for tensor in checkpoint.tensors {
            let parts = tensor.name.text.dottedComponents
            guard let last = parts.last else { continue }
            let isState = parts.dropLast().last == "quant_state"
            let owner = parts.dropLast(isState ? 2 : 1).joined(separator: ".")
            if packed.contains(last), checkpoint[ExactString(owner + ".qweight")] != nil { result.insert(tensor.name) }
            guard isState || companions.contains(last) else { continue }
            result.insert(tensor.name)
            // `X.weight.absmax` belongs to `X.weight`, and so does `X.SCB`.
            let weight = ExactString(owner.hasSuffix(".weight") ? owner : owner + ".weight")
            if checkpoint[weight]?.dtype.isMergeable == false { result.insert(weight) }
        }
        return result
    }

    /// Which tensors of a state are trained, by the config.
    private struct Sorting {
        private let modulesToSave: [String]
        private let copied: [Bool]
        private let bias: String
        private let wrapped: Set<ExactString>
        private let tokenModules: Set<ExactString>
        private let hasPrefix: Bool

        init(_ keys: [AdapterKey], config: AdapterConfig?) {
            modulesToSave = (try? config?.strings("modules_to_save")) ?? []
            copied = modulesToSave.map { name in
                keys.contains { WholeState.isCopy($0) && SavedParameters.isPart($0.module.text, of: name) }
            }
            bias = config?["bias"]?.stringValue ?? "none"
            let own = keys.filter(WholeState.isOfMethod)
            wrapped = Set(own.map(\.module))
            tokenModules = Set(own.filter { $0.component == "trainable_tokens_delta" }.map(\.module))
            hasPrefix = own.contains(where: \.hadPrefix)
        }

        func isFrozen(_ key: AdapterKey) -> Bool {
            if key.component == "original_module" { return tokenModules.contains(key.module) }
            guard key.component == nil, key.hadPrefix == hasPrefix, !KeyRepair.isTrainerState(key), !WholeState.isCopy(key)
            else { return false }
            // Trained in place: the config names it, and PEFT made no copy.
            for (name, isCopied) in zip(modulesToSave, copied) where !isCopied && SavedParameters.isPart(key.module.text, of: name) {
                return false
            }
            // PEFT takes every key with the word in it.
            guard bias != "none", key.stored.text.utf8Contains("bias") else { return true }
            return bias != "all" && !wrapped.contains(key.module)
        }
    }
}

extension Adapter {
    /// What a reader should know of the frozen weights beside the adapter: how many were left out, and whether a base had the same.
    /// Nil where the file holds the adapter alone.
    public var stateNote: String? { wholeState.map { $0.comparison?.note ?? $0.note } }
}

import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// The tensors that a strip writes, by file, with the config that speaks of them.
struct StripOutputs {
    struct Output {
        var name: ExactString
        var dtype: DType
        var shape: Shape
        var content: StripPlan.Content
    }
    struct Shard {
        var name: String
        var metadata: [(key: ExactString, value: String)]?
        var tensors: [Output]
    }

    var shards: [Shard] = []
    var leftOut: [ExactString] = []
    var config: JSONObject?
    var warnings: [String] = []
    /// Whether anything is computed, renamed or converted.
    var changes = false

    // MARK: PEFT's layout

    /// `prompt_embeddings`, for multitask prompts that are not baked their factors, and the modules that were trained whole.
    init(peft source: PromptSource, _ options: StripOptions) throws {
        let module = try StripOutputs.single(source)
        if let reason = module.noPEFTLayout {
            throw PeftfileError(
                .refused, "cannot become a PEFT adapter: \(reason)", rule: "NoPEFTLayout",
                help: "peftfile strip \(source.path.shellQuoted) --layout source -o OUT")
        }
        let shape = try PEFTPromptShape(module, options)
        var outputs = [try prompt("prompt_embeddings", [shape.tokens, shape.width], module, options, source)]
        if let factors = module.factors, options.task == nil {
            for (name, stored) in [("prefix_task_cols", factors.columns), ("prefix_task_rows", factors.rows)] {
                guard let tensor = source.checkpoint[stored] else { continue }
                let formula = PromptFormula.stored(stored)
                outputs.append(try output(ExactString(name), tensor.shape, formula, tensor.dtype, options, source))
            }
        }
        shards = [Shard(name: "adapter_model.safetensors", metadata: [("format", "pt")], tensors: outputs)]
        if let assumption = shape.assumption { warnings.append(assumption) }
        let saved = try source.savedModules()
        shards[0].tensors += saved.map { copy(of: $0.tensor, as: $0.name) }
        if saved.contains(where: { $0.name != $0.tensor.name }) { changes = true }
        let kept = Set(saved.map(\.tensor.name))
        leftOut = source.others.map(\.name).filter { !kept.contains($0) }
        config = try PEFTPromptConfig.object(module, shape, options, saved: saved, warnings: &warnings)
        shards[0].tensors.sort { SafetensorsLayout.referenceOrder(($0.name, $0.dtype), ($1.name, $1.dtype)) }
        if !module.isPEFT { changes = true }
    }

    /// The one prompt of a source; copies of one module count as one.
    private static func single(_ source: PromptSource) throws -> PromptModule {
        let module = source.modules[0]
        for other in source.modules.dropFirst() {
            let isCopy = other.form == module.form && other.elements == module.elements
                && other.root.split(separator: ".").suffix(2) == module.root.split(separator: ".").suffix(2)
                && zip(other.formula.tensors, module.formula.tensors).allSatisfy { left, right in
                    guard let a = source.checkpoint[left], let b = source.checkpoint[right], a.shape == b.shape,
                        let bytes = try? source.checkpoint.read(a)
                    else { return false }
                    return bytes == (try? source.checkpoint.read(b))
                }
            guard isCopy else {
                throw PeftfileError(
                    .refused, "holds \(source.modules.count) prompts, the first two \"\(module.sourceName.text.printable)\" "
                        + "and \"\(other.sourceName.text.printable)\", and a PEFT adapter has one", rule: "SeveralPrompts",
                    help: "peftfile strip \(source.path.shellQuoted) --layout source -o OUT")
            }
        }
        return module
    }

    // MARK: The source's layout

    /// Every tensor that is no prompt stays; every prompt is one tensor under the source's name for it.
    init(source: PromptSource, _ options: StripOptions) throws {
        let checkpoint = source.checkpoint
        shards = checkpoint.shards.map { Shard(name: $0.fileName, metadata: $0.file.metadata, tensors: []) }
        for tensor in source.others { add(copy(of: tensor, as: source.cleanName(of: tensor)), to: tensor.shard) }
        for module in source.modules {
            let formula = try options.task.map { try module.prompt(ofTask: $0) } ?? module.formula
            for part in try module.sourceTensors(layers: try layers(of: module, options), formula: formula) {
                guard let home = part.formula.tensors.first.flatMap({ checkpoint[$0]?.shard }) else { continue }
                add(try output(part.name, part.shape, part.formula, module.dtype, options, source), to: home)
            }
            guard let factors = module.factors, options.task == nil else { continue }
            for name in [factors.columns, factors.rows] {
                if let tensor = checkpoint[name] { add(copy(of: tensor, as: source.cleanName(of: tensor)), to: tensor.shard) }
            }
        }
        for index in shards.indices {
            shards[index].tensors.sort { SafetensorsLayout.referenceOrder(($0.name, $0.dtype), ($1.name, $1.dtype)) }
        }
        config = StripOutputs.withoutProjection(source)
    }

    private mutating func add(_ output: Output, to shard: Int) { shards[shard].tensors.append(output) }

    private func copy(of tensor: StoredTensor, as name: ExactString) -> Output {
        Output(name: name, dtype: tensor.dtype, shape: tensor.shape, content: .copied(tensor))
    }

    /// The layers that a prefix is for, where its slots are named after them; a number that is stated must be the base's.
    private mutating func layers(of module: PromptModule, _ options: StripOptions) throws -> Int? {
        guard let slots = module.slots, slots.isDerived, let width = module.width else { return nil }
        let base = try PromptFacts(of: options.base?.config)
        let own = try PromptFacts(of: module.config)
        let slot = options.stated.tokenWidth ?? base?.hidden ?? own?.hidden
        guard let layers = options.stated.layers ?? slot.map({ width / 2 / $0 }) ?? base?.layers ?? own?.layers else { return nil }
        if let known = base?.layers, known != layers {
            throw PeftfileError(
                .refused, "is for \(layers) attention modules, and the base has \(known) layers: which modules they are is not told",
                tensor: module.sourceName, rule: "NoSourceLayout",
                help: "peftfile strip ADAPTER --layout peft -o OUT, where the prefix is for one kind of attention")
        }
        warnings.append("the names of past_key and past_value follow from the first one's: the layers are taken to stand in a row")
        return layers
    }

    /// The source's config, with the switches that say whether there is a reparametrization turned off.
    private static func withoutProjection(_ source: PromptSource) -> JSONObject? {
        guard var config = source.config?.json else { return nil }
        for key: ExactString in ["prefix_projection", "reparameterize"] where config[key] != nil { config[key] = false }
        if var nested = config["config"]?.objectValue, nested["flat"] != nil {
            nested["flat"] = true
            config["config"] = .object(nested)
        }
        return config
    }

    // MARK: One tensor

    private mutating func prompt(
        _ name: ExactString, _ shape: Shape, _ module: PromptModule, _ options: StripOptions, _ source: PromptSource
    ) throws -> Output {
        let formula = try options.task.map { try module.prompt(ofTask: $0) } ?? module.formula
        return try output(name, shape, formula, module.dtype, options, source)
    }

    /// A stored prompt in its own dtype is copied, so that its bits stay; all else is computed.
    private mutating func output(
        _ name: ExactString, _ shape: Shape, _ formula: PromptFormula, _ own: DType, _ options: StripOptions,
        _ source: PromptSource
    ) throws -> Output {
        let dtype = options.dtype ?? own
        if case .stored(let stored) = formula, let tensor = source.checkpoint[stored], tensor.dtype == dtype {
            if name != stored { changes = true }
            return Output(name: name, dtype: dtype, shape: shape, content: .copied(tensor))
        }
        changes = true
        return Output(name: name, dtype: dtype, shape: shape, content: .computed(formula))
    }
}

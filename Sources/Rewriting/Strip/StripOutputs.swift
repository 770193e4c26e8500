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

    /// `prompt_embeddings`, and for multitask prompts that are not baked their factors.
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
        shards[0].tensors.sort { SafetensorsLayout.referenceOrder(($0.name, $0.dtype), ($1.name, $1.dtype)) }
        leftOut = source.others.map(\.name)
        config = try PEFTPromptConfig.object(module, shape, options, warnings: &warnings)
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
        for tensor in source.others { shards[tensor.shard].tensors.append(StripOutputs.copy(tensor)) }
        for module in source.modules {
            if let reason = module.noSourceLayout {
                throw PeftfileError(
                    .refused, "has no layout of its own without the reparametrization: \(reason)", rule: "NoSourceLayout",
                    help: "peftfile strip \(source.path.shellQuoted) --layout peft -o OUT")
            }
            guard let home = module.formula.tensors.first.flatMap({ checkpoint[$0]?.shard }) else { continue }
            shards[home].tensors.append(try prompt(module.sourceName, module.sourceShape, module, options, source))
            guard let factors = module.factors, options.task == nil else { continue }
            for name in [factors.columns, factors.rows] {
                if let tensor = checkpoint[name] { shards[tensor.shard].tensors.append(StripOutputs.copy(tensor)) }
            }
        }
        for index in shards.indices {
            shards[index].tensors.sort { SafetensorsLayout.referenceOrder(($0.name, $0.dtype), ($1.name, $1.dtype)) }
        }
        config = StripOutputs.withoutProjection(source)
    }

    private static func copy(_ tensor: StoredTensor) -> Output {
        Output(name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, content: .copied(tensor))
    }

    /// The source's config, with the switches that say whether there is a reparametrization turned off.
    private static func withoutProjection(_ source: PromptSource) -> JSONObject? {
        guard var config = source.config?.json else { return nil }
        if config["prefix_projection"] != nil { config["prefix_projection"] = false }
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

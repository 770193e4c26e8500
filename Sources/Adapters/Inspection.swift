public import ByteAccess
public import Checkpoints
import Containers
public import Tensors

/// What a path holds, told from headers, config and single numbers that are stored as tensors: alphas, a trained λ.
public struct Inspection: Sendable {
    /// What was found at the path.
    public enum Kind: String, Sendable {
        /// Weights of a model, an adapter, or a prompt with or without its encoder.
        case checkpoint, adapter, prompt
    }

    /// The path given by the caller.
    public let path: String
    /// What was found there.
    public let kind: Kind
    /// Its tensors.
    public let checkpoint: Checkpoint
    /// The adapter, where it is one.
    public let adapter: Adapter?
    /// `peft_type`, where a config names it.
    public let peftType: String?
    /// The convention of the tensor names: `peft`, or nil for a checkpoint.
    public let dialect: String?
    /// Modules that the adapter changes.
    public let targets: [AdapterTarget]
    /// Adapter tensors that the method does not know.
    public let unclaimed: [ExactString]
    /// What a merge or a loader would stumble over, in words.
    public let warnings: [String]
    /// Prompts, in an adapter or inside a whole model.
    public let prompts: [PromptSummary]
    /// Bottleneck adapters, where there are any.
    public let bottlenecks: BottleneckReport?
    /// Filled by `--stats`, in the order of the tensors.
    public var statistics: [TensorStatistics?]?

    /// Inspects a file, a shard set, a checkpoint directory or an adapter directory.
    ///
    /// - Throws: what `Checkpoint.open` throws, for an adapter ``Adapter/init(path:)``, and ``AdapterConfig/init(path:)`` for a config
    ///   beside other files; for an adapter in another library's dialect also what its method throws when it lists the modules. Why
    ///   an adapter cannot be merged, or a prompt cannot be stripped, is a warning.
    public init(path: String, options: BindingOptions = BindingOptions()) throws {
        self.path = path
        statistics = nil
        var warnings: [String] = []
        guard Inspection.looksLikeAdapter(path) else {
            checkpoint = try Checkpoint.open(path, entire: true)
            let config = try PromptSource.config(in: checkpoint.directory ?? FileSystem.directory(of: path))
            let found = Inspection.prompts(in: checkpoint, config: config, path: path, warnings: &warnings)
            prompts = found.map { source in source.modules.map { PromptSummary($0, in: source.checkpoint) } } ?? []
            bottlenecks = try? BottleneckReport(among: Inspection.candidates(checkpoint), config: config)
            warnings += prompts.flatMap(\.warnings) + (bottlenecks?.findings ?? [])
            if let problem = checkpoint.quantisation?.problem { warnings.append(problem.description) }
            warnings += checkpoint.quantisation?.warnings ?? []
            let isPrompt = found.map { !$0.modules.isEmpty && $0.others.isEmpty } ?? false
            kind = isPrompt ? .prompt : bottlenecks != nil ? .adapter : .checkpoint
            dialect = prompts.first?.module.dialect ?? bottlenecks?.modules.first?.library.rawValue
            (adapter, peftType, targets, unclaimed) = (nil, nil, [], [])
            self.warnings = warnings
            return
        }
        let adapter = try Adapter(path: path)
        self.adapter = adapter
        // Of a training checkpoint all tensors are shown.
        checkpoint =
            adapter.checkpoint.notes.isEmpty && adapter.wholeState == nil
            ? adapter.checkpoint : try Checkpoint.open(adapter.checkpoint.path, entire: true)
        let found = Inspection.prompts(
            in: adapter.checkpoint, config: adapter.config, path: path, warnings: &warnings)
        prompts = found?.modules.map { PromptSummary($0, in: adapter.checkpoint) } ?? []
        bottlenecks = try? BottleneckReport(
            among: adapter.checkpoint.tensors.map { PromptTensor($0) }, config: adapter.config)
        let own = adapter.dialectName
        dialect = own ?? prompts.first?.module.dialect ?? bottlenecks?.modules.first?.library.rawValue ?? "peft"
        // What is a prompt and cannot be read as one is warned of.
        kind = !prompts.isEmpty || !warnings.isEmpty || adapter.keys.contains(where: \.isPrompt) ? .prompt : .adapter
        if adapter.dialect != nil {
            var reading: BoundAdapter?
            do {
                reading = try BoundAdapter(adapter, base: nil, options: options)
            } catch {
                // What cannot be merged as it stands can still be looked at.
                warnings.append((error as? PeftfileError)?.description ?? "\(error)")
            }
            let types = Set(reading?.parts.map { $0.config?.peftType } ?? [])
            peftType = types.count == 1 ? types.first ?? nil : nil
            do {
                targets = try reading?.parts.flatMap { try MethodRegistry.method(of: $0).targets(of: $0) } ?? []
            } catch let error as PeftfileError { throw error.inFile(path) }
            unclaimed = reading == nil ? adapter.keys.map(\.stored) : []
            self.warnings = warnings + (reading?.warnings ?? [])
            return
        }
        peftType = adapter.config?.peftType
        // What is said of keys without PEFT's prefix is said of PEFT's adapters alone.
        warnings += prompts.isEmpty && bottlenecks == nil ? adapter.warnings + [adapter.stateNote].compactMap { $0 } : []
        var targets: [AdapterTarget] = []
        let saved = (try? found?.savedModules()) ?? []
        let claimed = Set(prompts.flatMap(\.module.tensors) + saved.map(\.tensor.name))
        var unclaimed = adapter.keys.filter { !claimed.contains($0.stored) }
        do {
            let method = try MethodRegistry.method(of: adapter)
            unclaimed.removeAll { method.claims($0, of: adapter) }
            targets = try method.targets(of: adapter)
            warnings += method.remarks(on: adapter)
            if adapter.checkpoint.tensors.isEmpty {
                warnings.append("\(path): the file of the adapter holds no tensors: save it after training, or fetch it again")
            }
            if let refusal = try LoadedModules(of: adapter).refusal(of: adapter) { warnings.append("\(path): \(refusal)") }
        } catch let error as PeftfileError {
            // An adapter that cannot be merged can still be looked at.
            warnings.append(error.inFile(path).description)
        }
        warnings += prompts.flatMap(\.warnings) + (bottlenecks?.findings ?? [])
        self.targets = targets
        self.unclaimed = unclaimed.map(\.stored)
        self.warnings = warnings
    }

    /// The prompts of a file; what is wrong with them is a warning here, and a refusal when they are stripped.
    private static func prompts(
        in checkpoint: Checkpoint, config: AdapterConfig?, path: String, warnings: inout [String]
    ) -> PromptSource? {
        guard config?.peftType != nil || !candidates(checkpoint).isEmpty else { return nil }
        do {
            return try PromptSource(path: path, directory: nil, checkpoint: checkpoint, config: config)
        } catch {
            warnings.append((error as? PeftfileError)?.description ?? "\(error)")
            return nil
        }
    }

    /// Tensors of a checkpoint whose names can be of a prompt encoder or a bottleneck adapter: most models have none,
    /// and then no name is taken apart.
    private static func candidates(_ checkpoint: Checkpoint) -> [PromptTensor] {
        let marks = TextMarks(["prompt_", "prefix_", "control_trans", "lstm_head", "reparams", "adapter_", "modulelist", "past_"])
        return checkpoint.tensors.filter { marks.occur(in: $0.name.text) }.map { PromptTensor($0) }
    }

    /// The bottleneck adapters whose up-projection is zero everywhere; nil before `--stats` read the numbers.
    public var untrained: [String]? {
        guard let statistics, let bottlenecks else { return nil }
        return bottlenecks.untrained { name in
            checkpoint.position(of: name).flatMap { statistics[$0] }.map { $0.zeroCount == checkpoint[name]?.info.elementCount }
                ?? false
        }
    }

    /// The type of a stored tensor's elements: its dtype, or in a GGUF file the type of its blocks.
    public func storedType(of tensor: StoredTensor) -> String { checkpoint.storedType(of: tensor) }

    /// The shape of a stored tensor's elements.
    public func storedShape(of tensor: StoredTensor) -> Shape { blocks(of: tensor)?.shape ?? tensor.shape }

    private func blocks(of tensor: StoredTensor) -> TensorBlocks? { checkpoint.shards[tensor.shard].file.blocks(of: tensor.info) }

    /// The statistics of a stored tensor; codes have those of the weight that they stand for, their companions have none.
    public func figures(of tensor: StoredTensor) -> TensorStatistics? {
        guard let statistics else { return nil }
        let position = checkpoint.quantisation.flatMap { $0.position(ofCodes: tensor, in: checkpoint) }
            ?? checkpoint.position(of: tensor.name)
        return position.flatMap { statistics[$0] }
    }

    /// A directory with a config of its own or in a subdirectory, or a file whose keys are an adapter's.
    public static func looksLikeAdapter(_ path: String) -> Bool {
        guard FileSystem.isDirectory(path) else { return Adapter.isAdapter(path) }
        if Adapter.configPath(in: path) != nil || Adapter.dialectFile(in: path) != nil { return true }
        let hasWeights = (try? FileSystem.list(path))?.contains {
            TorchFileNames.mayBeWeights($0) || TorchFileNames.hasEnding($0)
        } ?? false
        return !hasWeights && Adapter.isAdapter(path)
    }

    /// The item of `inspect --json`.
    public var json: JSONValue {
        var metadata = JSONObject()
        for shard in checkpoint.shards {
            for entry in shard.file.metadata ?? [] where metadata[entry.key] == nil {
                metadata[entry.key] = .string(entry.value)
            }
        }
        return .object([
            "path": .string(path),
            "kind": .string(kind.rawValue),
            "container": .string((checkpoint.shards.first?.file.kind ?? .safetensors).rawValue),
            "dialect": dialect.map { .string($0) } ?? .null,
            "peft_type": peftType.map { .string($0) } ?? .null,
            "metadata": .object(metadata),
            "parameters": .number(JSONNumber(checkpoint.parameterCount)),
            "bytes": .number(JSONNumber(checkpoint.tensorBytes)),
            "quantisation": checkpoint.quantisation?.json ?? .null,
            "tensors": .sequence { add in for tensor in checkpoint.storedTensors { add(json(tensor)) } },
            "targets": .array(targets.map(Inspection.json)),
            "settings": .object(JSONObject((adapter?.config?.settings ?? []).map { (key: $0.key, value: $0.value) })),
            "unclaimed": .array(unclaimed.map { .string($0.text) }),
            "prompts": .array(prompts.map(\.json)),
            "bottlenecks": bottlenecks?.json(untrained: untrained) ?? .null,
        ])
    }

    private func json(_ tensor: StoredTensor) -> JSONValue {
        var object: JSONObject = [
            "name": .string(tensor.name.text),
            "dtype": .string(storedType(of: tensor)),
            "shape": .array(storedShape(of: tensor).map { .number(JSONNumber(UInt64(UInt(bitPattern: $0)))) }),
            "file": .string(checkpoint.shards[tensor.shard].fileName),
            "begin": tensor.info.isContiguous ? .number(JSONNumber(tensor.info.begin)) : .null,
            "end": tensor.info.isContiguous ? .number(JSONNumber(tensor.info.end)) : .null,
        ]
        if statistics != nil { object["stats"] = figures(of: tensor).map(Inspection.json) ?? .null }
        return .object(object)
    }

    private static func json(_ target: AdapterTarget) -> JSONValue {
        .object([
            "module": .string(target.module.text),
            "tensor": .string(target.tensorName),
            "method": .string(target.method),
            "rank": target.rank.map { .number(JSONNumber($0)) } ?? .null,
            "alpha": target.alpha.map { .number(JSONNumber($0)) } ?? .null,
            "scale": target.scale.map { .number(JSONNumber($0)) } ?? .null,
            "parameters": .object(JSONObject(target.details.map { (key: ExactString($0.name), value: $0.json) })),
        ])
    }

    private static func json(_ statistics: TensorStatistics) -> JSONValue {
        func number(_ value: Double) -> JSONValue { statistics.count > 0 ? .number(JSONNumber(value)) : .null }
        return .object([
            "min": number(statistics.minimum),
            "max": number(statistics.maximum),
            "mean": number(statistics.mean),
            "std": number(statistics.standardDeviation),
            "nan": .number(JSONNumber(statistics.nanCount)),
            "inf": .number(JSONNumber(statistics.infinityCount)),
            "zeros": .number(JSONNumber(statistics.zeroCount)),
        ])
    }
}

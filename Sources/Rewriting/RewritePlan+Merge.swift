public import Adapters
import ByteAccess
public import Checkpoints
public import Containers
public import Tensors

/// What a merge may be told beyond its inputs; the defaults keep the base's layout and dtypes.
public struct MergeSettings: Sendable {
    /// The dtype to convert the weights to; nil keeps each tensor's own.
    public var dtype: DType?
    /// Whether `dtype` also reaches tensors that the base keeps in another floating-point dtype than most.
    public var convertsAllDTypes: Bool
    /// The largest shard in bytes; nil keeps the base's shards.
    public var maximumShardSize: UInt64?
    /// Whether a directory gets a README.md with a model card.
    public var writesCard: Bool
    /// The type of blocks in which a merge into a GGUF file writes the matrices that an update reaches, Q8_0; nil for the types that
    /// ``dtype`` asks for, or their own.
    public var blockType: GGUFType?
    /// What is written: as the base is, or for a GGUF base what the output's name says.
    public var form = OutputForm.likeBase

    /// Settings that keep each tensor's dtype and the base's shards, and give a directory its model card, unless told otherwise; ``form``
    /// and ``blockType`` are set on their own.
    public init(
        dtype: DType? = nil, convertsAllDTypes: Bool = false, maximumShardSize: UInt64? = nil, writesCard: Bool = true
    ) {
        self.dtype = dtype
        self.convertsAllDTypes = convertsAllDTypes
        self.maximumShardSize = maximumShardSize
        self.writesCard = writesCard
    }
}

/// What a merge writes.
public enum OutputForm: Sendable, Hashable {
    /// A file for a base that is a file, a directory for a directory; safetensors.
    case likeBase
    /// A directory with safetensors.
    case directory
    /// One safetensors file.
    case safetensorsFile
    /// A GGUF file, from a GGUF base.
    case gguf

    /// The form that an output's name asks for; where it has no ending, the base decides.
    ///
    /// - Throws: `.usage` where a GGUF file is asked for and the base is none.
    public init(output: String, base: Checkpoint) throws {
        let name = FileSystem.fileName(of: output)
        guard base.shards.first?.file.kind == .gguf else {
            guard !ConvertOutput.isGGUF(name) else {
                throw PeftfileError(
                    .usage, "\(output): a merge writes a GGUF file from a GGUF base alone, and this one is "
                        + "\(base.shards.first?.file.kind.rawValue ?? "empty")", rule: "OutputForm",
                    help: "merge into a directory, then convert that with convert_hf_to_gguf.py of llama.cpp")
            }
            self = ConvertOutput.isSingleFile(name) ? .safetensorsFile : .likeBase
            return
        }
        self = ConvertOutput.isGGUF(name) ? .gguf : ConvertOutput.isSingleFile(name) ? .safetensorsFile : .directory
    }
}

extension RewritePlan {
    /// Plans a merge: the base's tensors in their order and shards, with the binding's updates.
    ///
    /// - Throws: `.refused` where the binding changes nothing or the settings do not fit the base.
    public static func merge(_ binding: consuming Binding, settings: MergeSettings = MergeSettings()) throws -> RewritePlan {
        let base = binding.base
        var outputs = binding.outputs
        var warnings = binding.warnings
        var configChanges = binding.configChanges
        if settings.form == .gguf { return try gguf(binding, settings, warnings) }
        if let type = settings.blockType {
            throw PeftfileError(
                .usage, "--dtype \(type.name.lowercased()): GGUF files have such blocks, and this output is none", rule: "OutputDType",
                help: "give an output that ends in .gguf, or --dtype bf16, f16, f32 or f64")
        }
        if let dtype = settings.dtype {
            try convert(&outputs, to: dtype, all: settings.convertsAllDTypes, base: base)
            configChanges += dtypeChanges(base.config, to: dtype)
            warnings += [codesNote(outputs, dtype: dtype)].compactMap { $0 }
        }
        configChanges += binding.quantisationChanges(dtype: settings.dtype)
        if let note = base.gguf?.roundingNote(dtype: settings.dtype, of: base) { warnings.append(note) }
        if let note = base.gguf?.logarithmNote { warnings.append(note) }
        warnings += PlanEffort.warnings(outputs.map(\.recipe))
        try requireChange(binding, outputs)
        let isSingleFile = settings.form == .likeBase ? base.directory == nil : settings.form == .safetensorsFile
        var shards = try shardNames(outputs, base: base, settings: settings, isSingleFile: isSingleFile)
        if base.quantisation != nil { for index in shards.indices { shards[index].arrange(outputs) } }
        let files = try shards.map { try File($0, of: outputs) }
        var sidecars: [Sidecar] = []
        if !isSingleFile, let directory = sidecarDirectory(base) {
            sidecars = try mergeSidecars(
                binding, directory: directory, files: files, configChanges: configChanges,
                settings: settings, warnings: &warnings)
        } else if !isSingleFile {
            if files.count > 1 { sidecars.append(index(of: files, base: base)) }
            warnings.append(
                "no config.json stands beside the GGUF file: transformers needs the one of the model's repository, and the tokenizer's files")
        } else if base.directory != nil, settings.form == .safetensorsFile, base.shards.first?.file.kind != .gguf {
            warnings.append(
                "the output is one file: config.json and the tokenizer's files stay with the base"
                    + (configChanges.isEmpty ? "" : ", and the config needs "
                        + configChanges.map { "\($0.path.map(\.text).joined(separator: ".")) = \($0.value.serialized())" }.joined(separator: ", ")))
        } else if !configChanges.isEmpty {
            warnings.append(
                "the base is a bare file: its config.json needs "
                    + configChanges.map { "\($0.path.map(\.text).joined(separator: ".")) = \($0.value.serialized())" }
                    .joined(separator: ", "))
        }
        var plan = RewritePlan(
            operation: "merge", binding: binding.withoutOutputs, files: files, sidecars: sidecars, isSingleFile: isSingleFile,
            options: optionsObject(binding, settings), warnings: warnings, configChanges: binding.configChanges, id: "")
        plan.id = try plan.identity()
        return plan
    }

    /// The directory whose files go with the weights: the base's, or that of a GGUF file with a config.json beside it.
    private static func sidecarDirectory(_ base: Checkpoint) -> String? {
        guard base.shards.first?.file.kind == .gguf else { return base.directory }
        return base.config == nil ? nil : base.directory ?? FileSystem.directory(of: base.path)
    }

    /// A GGUF file out of a GGUF base.
    private static func gguf(_ binding: Binding, _ settings: MergeSettings, _ warnings: [String]) throws -> RewritePlan {
        guard settings.maximumShardSize == nil else {
            throw PeftfileError(.usage, "--max-shard-size: a GGUF file is written whole", rule: "ShardSize")
        }
        try requireChange(binding, binding.outputs)
        let warnings = warnings + PlanEffort.warnings(binding.outputs.map(\.recipe))
        let file = try GGUFOutput(binding, dtype: settings.dtype, blocks: settings.blockType).file()
        var plan = RewritePlan(
            operation: "merge", binding: binding.withoutOutputs, files: [file], sidecars: [], isSingleFile: true,
            options: optionsObject(binding, settings), warnings: warnings, id: "")
        let requantised = file.tensors.filter { $0.encoding?.type == .q8_0 && $0.recipe.changesValues }.count
        if requantised > 0 {
            plan.warnings.append(
                "\(requantised) tensors are requantised to Q8_0, whose rounding is of the size of many updates: the receipt has its share")
        }
        plan.id = try plan.identity()
        return plan
    }

    /// Refuses a merge that would be a copy.
    private static func requireChange(_ binding: Binding, _ outputs: [Binding.Output]) throws {
        try LostModules.requireBiases(binding)
        guard outputs.contains(where: { $0.recipe.changesValues || !$0.recipe.isCopy && !$0.recipe.isDequantised || $0.isAdded })
            || binding.changesSource
        else {
            throw PeftfileError(
                .refused, "the adapter changes no tensor of the base", file: binding.adapters.first?.path,
                rule: "NothingToMerge",
                help: "its tensors are empty, so it was not trained or not gathered before saving (ZeRO-3, FSDP): save it again")
        }
    }

    /// Sets the dtype of the outputs that are to change it.
    static func convert(
        _ outputs: inout [Binding.Output], to dtype: DType, all: Bool, base: Checkpoint, operation: String = "merge"
    ) throws {
        guard dtype.isMergeable else {
            throw PeftfileError(
                .usage, "--dtype \(dtype.rawValue): a \(operation) writes F64, F32, F16 or BF16", rule: "OutputDType")
        }
        // Tensors in another floating-point dtype than most of the base were kept there on purpose (routers, norms). In a GGUF file
        // that was llama.cpp's purpose, which keeps them so whatever the model had.
        let main = base.mainDType
        let all = all || base.shards.first?.file.kind == .gguf
        for index in outputs.indices {
            let own = outputs[index].recipe.dtype
            guard own.isMergeable, all || own == main || outputs[index].recipe.isDequantised else { continue }
            outputs[index].recipe.dtype = dtype
        }
    }

    /// Which floating-point tensors `--dtype` does not reach, for it makes no numbers of codes; nil where there are none.
    static func codesNote(_ outputs: [Binding.Output], dtype: DType) -> String? {
        let kept = outputs.map(\.recipe.dtype).filter { $0.isFloatCode }
        guard !kept.isEmpty else { return nil }
        let types = DType.allCases.filter(kept.contains).map(\.rawValue).joined(separator: ", ")
        return "\(kept.count) tensor\(kept.count == 1 ? "" : "s") of \(types) "
            + "\(kept.count == 1 ? "is" : "are") copied: --dtype \(dtype.rawValue) makes no numbers of codes of 8 bits and fewer, whose scales may be elsewhere"
    }

    /// The config's own dtype, and those of its parts (`text_config`, `vision_config`) that say the same.
    static func dtypeChanges(_ config: JSONObject?, to dtype: DType) -> [Binding.ConfigChange] {
        guard let config else { return [] }
        var changes: [Binding.ConfigChange] = []
        for key: ExactString in ["dtype", "torch_dtype"] {
            if config[key] != nil { changes.append(.init(path: [key], value: .string(dtype.torchName))) }
            for member in config.members {
                guard let own = member.value.objectValue?[key]?.stringValue, config[key] == nil || config[key]?.stringValue == own
                else { continue }
                changes.append(.init(path: [member.key, key], value: .string(dtype.torchName)))
            }
        }
        return changes
    }

    /// The tensors of one output file, counted in the outputs.
    struct ShardOutputs {
        var name: String
        var metadata: [(key: ExactString, value: String)]?
        var outputs: [Int]

        /// The order of a file that safetensors itself writes: dtypes from the last to the first, and names. Codes lie where their
        /// dtypes put them, so that a file of codes has no order to keep; this way a base gives one file however it was stored.
        /// Source: `prepare` in safetensors/src/tensor.rs.
        mutating func arrange(_ all: [Binding.Output]) {
            func rank(_ index: Int) -> Int { DType.allCases.firstIndex(of: all[index].recipe.dtype) ?? 0 }
            outputs.sort { (rank($1), all[$0].recipe.name) < (rank($0), all[$1].recipe.name) }
        }
    }

    private static func shardNames(
        _ outputs: [Binding.Output], base: Checkpoint, settings: MergeSettings, isSingleFile: Bool
    ) throws -> [ShardOutputs] {
        if let limit = settings.maximumShardSize {
            guard !isSingleFile else {
                throw PeftfileError(
                    .usage, "--max-shard-size needs a base directory; a base given as one file gives one file",
                    rule: "ShardSize")
            }
            let planner = try ShardPlanner(
                tensors: outputs.map { (name: $0.recipe.name, dtype: $0.recipe.dtype, shape: $0.recipe.shape) },
                maxShardBytes: limit)
            let metadata = base.shards.first?.outputMetadata
            return planner.shards.map { ShardOutputs(name: $0.fileName, metadata: metadata, outputs: $0.tensors) }
        }
        if isSingleFile, let first = base.shards.first {
            return [ShardOutputs(name: first.outputName, metadata: first.outputMetadata, outputs: Array(outputs.indices))]
        }
        var result = base.shards.map { ShardOutputs(name: $0.outputName, metadata: $0.outputMetadata, outputs: []) }
        for (index, output) in outputs.enumerated() { result[output.shard].outputs.append(index) }
        return result
    }

    static func optionsObject(_ binding: Binding, _ settings: MergeSettings) -> JSONObject {
        var options = JSONObject()
        options["rounding"] = .string("exact")
        options["tie"] = .string(binding.options.tie.rawValue)
        options["base_as"] = .string(binding.options.baseRole.rawValue)
        options["weights"] = .array(
            (binding.options.weights.isEmpty ? binding.adapters.map { _ in 1 } : binding.options.weights)
                .map { .number(JSONNumber($0)) })
        options["dtype"] = (settings.dtype?.rawValue ?? settings.blockType?.name).map { .string($0) } ?? .null
        options["dtype_all"] = .bool(settings.convertsAllDTypes)
        options["max_shard_size"] = settings.maximumShardSize.map { .number(JSONNumber($0)) } ?? .null
        options["scale"] = binding.options.scale.map { .number(JSONNumber($0)) } ?? .null
        options["orientation"] = .string(binding.options.orientation.rawValue)
        options["task"] = binding.options.task.map { .number(JSONNumber($0)) } ?? .null
        options["component"] = binding.options.component.map { .string($0) } ?? .null
        options["enable_lora"] = .array(binding.options.enableLoRA.map { .bool($0) })
        options["expert_order"] = binding.options.expertOrder.map { .string($0.rawValue) } ?? .null
        options["square_orientation"] = binding.options.squareOrientation.map { .string($0.rawValue) } ?? .null
        options["base_values"] = binding.options.baseValues.json
        return options
    }

    /// 16 hex digits of the SHA-256 over what decides the output: the inputs' headers and sizes, configs and options.
    func identity() throws -> String {
        var hash = SHA256()
        func add(_ text: String) { hash.update(Array((text + "\n").utf8)) }
        add(operation)
        add(JSONValue.object(options).serialized())
        for checkpoint in [binding.base] + binding.adapters.map(\.checkpoint) {
            for shard in checkpoint.shards {
                add("\(shard.fileName) \(shard.file.reader.size) \(SHA256.hex(try shard.file.headerSHA256()))")
            }
        }
        for adapter in binding.adapters { add(adapter.config.map { JSONValue.object($0.json).serialized() } ?? "") }
        for file in files { add("\(file.name) \(file.byteCount)") }
        return String(SHA256.hex(hash.finalize()).prefix(16))
    }
}

extension RewritePlan.File {
    /// Lays a file out.
    init(_ shard: RewritePlan.ShardOutputs, of outputs: [Binding.Output]) throws {
        let tensors = shard.outputs.lazy.map { outputs[$0] }
        let layout = try SafetensorsLayout(
            metadata: shard.metadata,
            tensors: tensors.map { (name: $0.recipe.name, dtype: $0.recipe.dtype, shape: $0.recipe.shape) })
        self.init(
            name: shard.name, header: layout.headerBytes,
            tensors: zip(tensors, layout.tensors).map { .init(recipe: $0.recipe, info: $1, isAdded: $0.isAdded) },
            byteCount: layout.totalBytes)
    }
}

extension Binding {
    /// Whether a tensor is replaced by an adapter's, which may be of the same dtype and so looks like a copy.
    var changesSource: Bool {
        outputs.contains { if case .adapter = $0.recipe.source { true } else { false } }
    }
}

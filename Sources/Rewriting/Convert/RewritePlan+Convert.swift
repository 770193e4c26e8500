public import Adapters
public import ByteAccess
public import Checkpoints
import Containers
public import Tensors

/// What the conversion of a checkpoint may be told.
public struct ConvertSettings: Sendable {
    /// The dtype to convert the weights to; nil keeps each tensor's own.
    public var dtype: DType?
    /// Whether `dtype` also reaches tensors in another floating-point dtype than most.
    public var convertsAllDTypes: Bool
    /// The largest shard in bytes; nil keeps the input's shards.
    public var maximumShardSize: UInt64?
    /// Whether quantised weights are written as numbers.
    public var dequantises: Bool
    /// Whether a tensor with several names is written under each of them.
    public var keepsShared: Bool
    /// Whether the output is one file, and not a directory.
    public var isSingleFile: Bool

    /// Settings that change nothing unless told to: no dtype, no shard, and no codes that safetensors can hold. The output is a
    /// directory, and a tensor with several names is written under one of them where loaders tie them.
    public init(
        dtype: DType? = nil, convertsAllDTypes: Bool = false, maximumShardSize: UInt64? = nil, dequantises: Bool = false,
        keepsShared: Bool = false, isSingleFile: Bool = false
    ) {
        self.dtype = dtype
        self.convertsAllDTypes = convertsAllDTypes
        self.maximumShardSize = maximumShardSize
        self.dequantises = dequantises
        self.keepsShared = keepsShared
        self.isSingleFile = isSingleFile
    }
}

extension RewritePlan {
    /// Opens a checkpoint that is to be converted: with every tensor of a training checkpoint, and with its codes as they are
    /// stored unless they are to be dequantised.
    ///
    /// - Throws: `.refused` where there is nothing to dequantise, or another dtype is asked for codes.
    public static func openForConversion(_ path: String, _ settings: ConvertSettings) throws -> Checkpoint {
        let plain = try Checkpoint.open(path, entire: true)
        // A GGUF file's blocks have no place in safetensors, and loaders of safetensors know the Hub's names and rows.
        if plain.shards.contains(where: { $0.file.kind == .gguf }) {
            let named = try Checkpoint.openUnderAnyNames(path)
            if let problem = named.quantisation?.problem { throw problem }
            return named
        }
        if settings.dequantises {
            guard let quantisation = plain.quantisation else {
                throw PeftfileError(
                    .refused, "holds no quantised weights", file: path, rule: "NothingToDequantise", help: "leave out --dequantise")
            }
            if let problem = quantisation.problem { throw problem }
            return plain
        }
        guard let quantisation = plain.quantisation, !quantisation.weights.isEmpty || quantisation.problem != nil else { return plain }
        guard settings.dtype == nil else {
            throw PeftfileError(
                .refused, "its weights are stored as codes (\(quantisation.scheme)), whose scales belong to them as they are",
                file: path, rule: "QuantisedDType", help: "give --dequantise as well, which makes numbers of the codes first")
        }
        return try Checkpoint.openStored(path, entire: true)
    }

    /// Plans a conversion: a merge without adapters, into files and dtypes of its own.
    ///
    /// - Throws: `.refused` where the weights cannot be read; `.usage` where the settings contradict each other.
    public static func convert(_ source: Checkpoint, settings: ConvertSettings = ConvertSettings()) throws -> RewritePlan {
        let binding = try Binding(base: source, adapters: [])
        var warnings = binding.warnings
        if let note = source.gguf?.roundingNote(dtype: settings.dtype, of: source) { warnings.append(note) }
        if let note = source.gguf?.logarithmNote { warnings.append(note) }
        if let architecture = source.unnamedArchitecture {
            warnings.append(
                "the names of the architecture \"\(architecture.printable)\" are not known: the tensors keep llama.cpp's names and order of "
                    + "rows, which loaders of safetensors do not expect")
            let exact = source.tensors.filter { $0.quantised == nil && $0.dtype == .f32 }.count
            if exact > 0, let dtype = settings.dtype, dtype.bits < 32 {
                warnings.append(
                    "\(exact) tensor\(exact == 1 ? "" : "s") that the GGUF file has in F32 \(exact == 1 ? "is" : "are") written in "
                        + "\(dtype.rawValue) like the rest: --dtype f32 keeps every bit")
            }
        }
        if let whole = wholeName(source) {
            warnings.append(
                "\(source.shards[0].fileName.printable) is one of \(whole.count) shards: the output has its tensors, and is no whole model")
        }
        let ties = SharedTensorChoice(source, keepsAll: settings.keepsShared)
        warnings += ties.notes
        var outputs = binding.outputs.filter { output in !ties.dropped.contains { $0.tensor == output.recipe.name } }
        var configChanges: [Binding.ConfigChange] = []
        if let dtype = settings.dtype {
            try convert(&outputs, to: dtype, all: settings.convertsAllDTypes, base: source, operation: "conversion")
            configChanges += dtypeChanges(source.config, to: dtype)
            warnings += [codesNote(outputs, dtype: dtype)].compactMap { $0 }
        }
        configChanges += binding.quantisationChanges(dtype: settings.dtype)
        let files = try shards(of: outputs, source, settings, dropped: ties.dropped).map { try File($0, of: outputs) }
        var sidecars: [Sidecar] = []
        if settings.isSingleFile || source.directory == nil {
            if files.count > 1 { sidecars.append(index(of: files, base: source)) }
            if !configChanges.isEmpty || !binding.configRemovals.isEmpty && source.config != nil {
                warnings.append(
                    "only weights are written: their config.json needs "
                        + (configChanges.map { "\($0.path.map(\.text).joined(separator: ".")) = \($0.value.serialized())" }
                            + (binding.configRemovals.isEmpty ? [] : ["no quantization_config"])).joined(separator: ", "))
            }
        } else if let directory = source.directory {
            sidecars = try ConvertSidecars(binding, directory, files, configChanges, settings, &warnings).sidecars
        }
        var plan = RewritePlan(
            operation: "convert", binding: binding.withoutOutputs, files: files, sidecars: sidecars, isSingleFile: settings.isSingleFile,
            options: options(settings), warnings: warnings, configChanges: configChanges,
            dropped: ties.dropped, id: "")
        plan.id = try plan.identity()
        return plan
    }

    /// What a shard is called that was given alone, `model.safetensors` of `model-00001-of-00002.safetensors`, and of how many it is;
    /// nil for anything else.
    private static func wholeName(_ source: Checkpoint) -> (name: String, count: Int)? {
        guard source.index == nil, source.shards.count == 1 else { return nil }
        return CheckpointDirectory.whole(ofShard: source.shards[0].outputName)
    }

    private static func options(_ settings: ConvertSettings) -> JSONObject {
        [
            "to": "safetensors", "dtype": settings.dtype.map { .string($0.rawValue) } ?? .null,
            "dtype_all": .bool(settings.convertsAllDTypes),
            "max_shard_size": settings.maximumShardSize.map { .number(JSONNumber($0)) } ?? .null,
            "dequantise": .bool(settings.dequantises), "keep_shared": .bool(settings.keepsShared),
        ]
    }

    /// One file, shards of a size, or the input's own shards.
    private static func shards(
        of outputs: [Binding.Output], _ source: Checkpoint, _ settings: ConvertSettings,
        dropped: [(tensor: ExactString, kept: ExactString)]
    ) throws -> [ShardOutputs] {
        /// What safetensors' own writer records of a tensor that it leaves out: its name, and the one that is kept.
        func metadata(_ shards: ArraySlice<Shard>) -> [(key: ExactString, value: String)] {
            var entries: [(key: ExactString, value: String)] = []
            var keys: Set<ExactString> = []
            for entry in shards.flatMap({ $0.outputMetadata ?? [] }) where keys.insert(entry.key).inserted { entries.append(entry) }
            if keys.insert("format").inserted { entries.append((key: "format", value: "pt")) }
            let names = Set(shards.flatMap { $0.file.tensors.map(\.name) })
            for pair in dropped where names.contains(pair.tensor) && keys.insert(pair.tensor).inserted {
                entries.append((key: pair.tensor, value: pair.kept.text))
            }
            return entries
        }
        if settings.isSingleFile {
            guard settings.maximumShardSize == nil else {
                throw PeftfileError(
                    .usage, "--max-shard-size goes with a directory, and the output is one file", rule: "ShardSize",
                    help: "name a directory: -o OUT")
            }
            return [ShardOutputs(name: "", metadata: metadata(source.shards[...]), outputs: Array(outputs.indices))]
        }
        if let limit = settings.maximumShardSize {
            let planner = try ShardPlanner(
                tensors: outputs.map { (name: $0.recipe.name, dtype: $0.recipe.dtype, shape: $0.recipe.shape) },
                maxShardBytes: limit)
            let all = metadata(source.shards[...])
            return planner.shards.map { ShardOutputs(name: $0.fileName, metadata: all, outputs: $0.tensors) }
        }
        var result = source.shards.indices.map {
            ShardOutputs(name: source.shards[$0].outputName, metadata: metadata(source.shards[$0...$0]), outputs: [])
        }
        for (index, output) in outputs.enumerated() { result[output.shard].outputs.append(index) }
        // Under a shard's name and without an index nothing would read it.
        if let name = wholeName(source) { result[0].name = name.name }
        guard Set(result.map(\.name)).count == result.count else {
            throw PeftfileError(
                .refused, "two of its shards would have one name as safetensors", file: source.path, rule: "ShardName",
                help: "name them anew: --max-shard-size 5GB")
        }
        return result
    }
}

public import ByteAccess
public import Checkpoints
import Containers
import Tensors

/// What a path holds, told from headers and config alone: no tensor bytes are read.
public struct Inspection: Sendable {
    public enum Kind: String, Sendable {
        case checkpoint, adapter, prompt
    }

    public let path: String
    public let kind: Kind
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
    public let warnings: [String]
    /// Filled by `--stats`, in the order of the tensors.
    public var statistics: [TensorStatistics?]?

    /// Inspects a file, a shard set, a checkpoint directory or an adapter directory.
    public init(path: String) throws {
        self.path = path
        statistics = nil
        guard Inspection.looksLikeAdapter(path) else {
            kind = .checkpoint
            checkpoint = try Checkpoint.open(path)
            (adapter, peftType, dialect, targets, unclaimed, warnings) = (nil, nil, nil, [], [], [])
            return
        }
        let adapter = try Adapter(path: path)
        self.adapter = adapter
        checkpoint = adapter.checkpoint
        peftType = adapter.config?.peftType
        dialect = "peft"
        kind = adapter.keys.contains(where: \.isPrompt) ? .prompt : .adapter
        var warnings = adapter.warnings
        var targets: [AdapterTarget] = []
        var unclaimed = adapter.keys
        do {
            let method = try MethodRegistry.method(of: adapter)
            unclaimed.removeAll { method.claims($0, of: adapter) }
            targets = try method.targets(of: adapter)
            warnings += method.remarks(on: adapter)
        } catch let error as PeftfileError {
            // An adapter that cannot be merged can still be looked at.
            warnings.append(error.description)
        }
        self.targets = targets
        self.unclaimed = unclaimed.map(\.stored)
        self.warnings = warnings
    }

    /// A directory with a config of its own or in a subdirectory, or a file whose keys are an adapter's.
    private static func looksLikeAdapter(_ path: String) -> Bool {
        guard FileSystem.isDirectory(path) else { return Adapter.isAdapter(path) }
        if FileSystem.exists(FileSystem.join(path, "adapter_config.json")) { return true }
        let hasWeights = (try? FileSystem.list(path))?.contains { $0.hasSuffix(".safetensors") } ?? false
        return !hasWeights && Adapter.isAdapter(path)
    }

    /// The item of `inspect --json`.
    public var json: JSONValue {
        var tensors: [JSONValue] = []
        for (index, tensor) in checkpoint.tensors.enumerated() {
            var object: JSONObject = [
                "name": .string(tensor.name.text),
                "dtype": .string(tensor.dtype.rawValue),
                "shape": .array(tensor.shape.map { .number(JSONNumber(UInt64(UInt(bitPattern: $0)))) }),
                "file": .string(checkpoint.shards[tensor.shard].fileName),
                "begin": .number(JSONNumber(tensor.info.begin)),
                "end": .number(JSONNumber(tensor.info.end)),
            ]
            if let statistics { object["stats"] = statistics[index].map(Inspection.json) ?? .null }
            tensors.append(.object(object))
        }
        var metadata = JSONObject()
        for shard in checkpoint.shards {
            for entry in shard.file.metadata ?? [] where metadata[entry.key] == nil {
                metadata[entry.key] = .string(entry.value)
            }
        }
        return .object([
            "path": .string(path),
            "kind": .string(kind.rawValue),
            "container": "safetensors",
            "dialect": dialect.map { .string($0) } ?? .null,
            "peft_type": peftType.map { .string($0) } ?? .null,
            "metadata": .object(metadata),
            "parameters": .number(JSONNumber(checkpoint.parameterCount)),
            "bytes": .number(JSONNumber(checkpoint.tensorBytes)),
            "tensors": .array(tensors),
            "targets": .array(targets.map(Inspection.json)),
            "unclaimed": .array(unclaimed.map { .string($0.text) }),
        ])
    }

    private static func json(_ target: AdapterTarget) -> JSONValue {
        .object([
            "module": .string(target.module.text),
            "tensor": .string(target.tensorName),
            "method": .string(target.method),
            "rank": target.rank.map { .number(JSONNumber($0)) } ?? .null,
            "alpha": target.alpha.map { .number(JSONNumber($0)) } ?? .null,
            "scale": target.scale.map { .number(JSONNumber($0)) } ?? .null,
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

public import Adapters
import ByteAccess
import Containers
import Tensors

/// The inputs and options of an earlier merge, read back from its receipt.
public struct MergeRecord: Sendable {
    /// The base's path as it was given.
    public let base: String
    /// The adapters' paths as they were given.
    public let adapters: [String]
    /// How the adapters were bound.
    public let options: BindingOptions
    /// Dtypes and shards of the output.
    public let settings: MergeSettings
    /// What the receipt says of the files.
    public let evidence: ReceiptEvidence

    private static let keys: [ExactString] = [
        "rounding", "tie", "base_as", "weights", "dtype", "dtype_all", "max_shard_size", "scale", "orientation", "task", "component", "enable_lora",
        "expert_order", "square_orientation", "base_values",
    ]

    /// Reads the receipt in a merged directory or beside a merged file.
    ///
    /// - Throws: `.notFound` where there is none, `.malformed` where it lacks what a merge writes.
    public init(besides path: String) throws {
        let file = FileSystem.isDirectory(path)
            ? FileSystem.join(path, Receipt.fileName) : path + ".receipt.json"
        guard FileSystem.exists(file) else {
            throw PeftfileError(
                .notFound, "has no receipt, so base and adapters must be named", file: path, rule: "ReceiptMissing",
                help: "peftfile verify \(path.shellQuoted) --base BASE --adapter ADAPTER")
        }
        let bytes = try FileReader(path: file).allBytes(limit: 1 << 28)
        let document = try JSONValue.parse(bytes, file: file, allowing: .strict)
        let predicate = document["predicate"]
        func malformed(_ key: String) -> PeftfileError {
            PeftfileError(
                .malformed, "the receipt has no usable \(key)", file: file, rule: "Receipt",
                help: "peftfile verify \(path.shellQuoted) --base BASE --adapter ADAPTER")
        }
        guard let base = predicate?["base"]?["path"]?.stringValue else { throw malformed("base") }
        guard let adapters = predicate?["adapters"]?.arrayValue?.map({ $0["path"]?.stringValue }), !adapters.isEmpty,
            adapters.allSatisfy({ $0 != nil })
        else { throw malformed("adapters") }
        let options = try ReceiptOptions(predicate?["options"], known: MergeRecord.keys, malformed: malformed)
        guard try options.value("rounding", \.stringValue) ?? "exact" == "exact" else { throw malformed("option rounding") }
        _ = try options.value("max_shard_size", \.uint64Value)
        let weights = try options.list("weights", \.doubleValue)
        guard weights.count == adapters.count else { throw malformed("option weights") }
        self.base = base
        self.adapters = adapters.compactMap { $0 }
        evidence = try ReceiptEvidence(
            result: path, document: document, schema: "peftfile.merge/1",
            inputs: [predicate?["base"]] + (predicate?["adapters"]?.arrayValue ?? []), malformed: malformed)
        var bindingOptions = BindingOptions(
            tie: try options.required("tie", options.choice("tie")), baseRole: try options.required("base_as", options.choice("base_as")),
            orientation: try options.required("orientation", options.choice("orientation")), scale: try options.value("scale", \.doubleValue),
            weights: weights, task: try options.value("task", \.intValue))
        bindingOptions.component = try options.value("component", \.stringValue)
        bindingOptions.enableLoRA = try options.list("enable_lora", \.boolValue)
        bindingOptions.expertOrder = try options.choice("expert_order")
        bindingOptions.squareOrientation = try options.choice("square_orientation")
        bindingOptions.baseValues = try options.value("base_values") { BaseValues(json: $0) } ?? .unspecified
        self.options = bindingOptions
        let isBlocks = (try? options.value("dtype", \.stringValue)) == GGUFType.q8_0.name
        var settings = MergeSettings(
            dtype: isBlocks ? nil : try options.choice("dtype"), convertsAllDTypes: try options.value("dtype_all", \.boolValue) ?? false)
        settings.blockType = isBlocks ? .q8_0 : nil
        self.settings = settings
    }

    /// The inputs must be where the receipt says, and be what they were.
    ///
    /// - Throws: `.notFound` where one is not there; `.refused` where size or header changed since the merge.
    public func requireInputs() throws {
        try evidence.requireInputs(
            [base] + adapters, operation: "merge", help: "peftfile verify \(evidence.result.shellQuoted) --base BASE --adapter ADAPTER")
    }

    /// Whether the merge was told other numbers or dtypes than these.
    public func differs(from options: BindingOptions, _ settings: MergeSettings) -> Bool {
        func weights(_ options: BindingOptions) -> [Double] { options.weights.allSatisfy { $0 == 1 } ? [] : options.weights }
        return self.settings.dtype != settings.dtype || self.settings.blockType != settings.blockType || self.settings.convertsAllDTypes != settings.convertsAllDTypes
            || self.options.scale != options.scale || weights(self.options) != weights(options)
            || self.options.baseValues != options.baseValues || self.options.task != options.task
    }
}

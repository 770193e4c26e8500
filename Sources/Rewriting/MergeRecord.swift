public import Adapters
import ByteAccess
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
    private let evidence: ReceiptEvidence

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
        guard let options = predicate?["options"]?.objectValue,
            let tie = options["tie"]?.stringValue.flatMap(BindingOptions.Tie.init(rawValue:)),
            let role = options["base_as"]?.stringValue.flatMap(BindingOptions.BaseRole.init(rawValue:)),
            let orientation = options["orientation"]?.stringValue.flatMap(BindingOptions.Orientation.init(rawValue:)),
            let weights = options["weights"]?.arrayValue?.map(\.doubleValue), weights.allSatisfy({ $0 != nil }),
            let baseValues = BaseValues(json: options["base_values"])
        else { throw malformed("options") }
        self.base = base
        self.adapters = adapters.compactMap { $0 }
        evidence = ReceiptEvidence(
            result: path, document: document, inputs: [predicate?["base"]] + (predicate?["adapters"]?.arrayValue ?? []))
        var bindingOptions = BindingOptions(
            tie: tie, baseRole: role, orientation: orientation, scale: options["scale"]?.doubleValue,
            weights: weights.compactMap { $0 }, task: options["task"]?.intValue)
        bindingOptions.component = options["component"]?.stringValue
        bindingOptions.enableLoRA = options["enable_lora"]?.arrayValue?.compactMap(\.boolValue) ?? []
        bindingOptions.expertOrder = options["expert_order"]?.stringValue.flatMap(BindingOptions.ExpertOrder.init(rawValue:))
        bindingOptions.squareOrientation = options["square_orientation"]?.stringValue.flatMap(BindingOptions.Orientation.init(rawValue:))
        bindingOptions.baseValues = baseValues
        self.options = bindingOptions
        settings = MergeSettings(
            dtype: options["dtype"]?.stringValue.flatMap(DType.init(rawValue:)),
            convertsAllDTypes: options["dtype_all"]?.boolValue ?? false)
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
        return self.settings.dtype != settings.dtype || self.settings.convertsAllDTypes != settings.convertsAllDTypes
            || self.options.scale != options.scale || weights(self.options) != weights(options)
            || self.options.baseValues != options.baseValues || self.options.task != options.task
    }

    /// The files of the result that are not what the merge wrote: changed, or gone. Without hashes only the latter.
    ///
    /// - Parameter progress: called with bytes that have just been hashed.
    /// - Throws: `.io` where a file of the result cannot be read; `.refused` where something that is no regular file is in its place;
    ///   `.notFound` where a link is there that leads nowhere; `.interrupted` where a signal came.
    public func changedFiles(progress: ((UInt64) -> Void)? = nil) throws -> [String] { try evidence.changedFiles(progress: progress) }

    /// Bytes of the result that ``changedFiles(progress:)`` hashes.
    public var hashedBytes: UInt64 { evidence.hashedBytes }
}

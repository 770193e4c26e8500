public import ByteAccess
public import Checkpoints
public import Tensors

/// The input and options of an earlier conversion of a checkpoint, read back from its receipt.
public struct ConvertRecord: Sendable {
    /// The path of the input, as it was given.
    public let source: String
    /// What it was told.
    public let settings: ConvertSettings
    /// Tensors of the input that were left out as second names of others.
    public let dropped: [ExactString]
    /// What the receipt says of the files.
    public let evidence: ReceiptEvidence

    /// Reads the receipt in a directory or beside a file; nil where there is none, or one of another operation.
    ///
    /// - Throws: `.malformed` where the receipt is no JSON, or lacks what a conversion writes.
    public init?(besides path: String) throws {
        let file = FileSystem.isDirectory(path) ? FileSystem.join(path, Receipt.fileName) : path + ".receipt.json"
        guard FileSystem.exists(file) else { return nil }
        let bytes = try FileReader(path: file).allBytes(limit: 1 << 28)
        let document = try JSONValue.parse(bytes, file: file, allowing: .strict)
        guard document["schema"]?.stringValue == "peftfile.convert/1" else { return nil }
        let predicate = document["predicate"]
        // An adapter's is read by `AdapterConvertRecord`.
        if let to = predicate?["options"]?["to"]?.stringValue, to != "safetensors" { return nil }
        func malformed(_ key: String) -> PeftfileError {
            PeftfileError(
                .malformed, "the receipt has no usable \(key)", file: file, rule: "Receipt", help: "peftfile diff INPUT \(path.shellQuoted)")
        }
        guard let source = predicate?["base"]?["path"]?.stringValue else { throw malformed("base") }
        let options = try ReceiptOptions(
            predicate?["options"], known: ["to", "dtype", "dtype_all", "max_shard_size", "dequantise", "keep_shared"], malformed: malformed)
        self.source = source
        settings = ConvertSettings(
            dtype: try options.choice("dtype"),
            convertsAllDTypes: try options.required("dtype_all", options.value("dtype_all", \.boolValue)),
            dequantises: try options.required("dequantise", options.value("dequantise", \.boolValue)))
        dropped = (predicate?["dropped"]?.arrayValue ?? []).compactMap { $0["tensor"]?.stringValue.map { ExactString($0) } }
        evidence = try ReceiptEvidence(
            result: path, document: document, schema: "peftfile.convert/1", inputs: [predicate?["base"]], malformed: malformed)
    }

    /// The input must be where the receipt says, and be what it was.
    ///
    /// - Throws: `.notFound` where it is not there; `.refused` where size or header changed since the conversion.
    public func requireInputs() throws {
        try evidence.requireInputs(
            [source], operation: "conversion", help: "peftfile diff INPUT \(evidence.result.shellQuoted)")
    }

    /// The input as the conversion read it.
    ///
    /// - Throws: what ``RewritePlan/openForConversion(_:_:)`` throws: what opening the input throws, and `.refused` with rule
    ///   `NothingToDequantise` or `QuantisedDType` where the recorded settings do not fit what is there now.
    public func openSource() throws -> Checkpoint { try RewritePlan.openForConversion(source, settings) }

    /// The result with its tensors as they are stored, or as numbers where the conversion made numbers of them.
    ///
    /// - Throws: what `Checkpoint` throws at opening: `.notFound` where the result is gone, `.io` where it cannot be read, and the
    ///   rule that it breaks where a file, index or directory is not well-formed.
    public func openResult() throws -> Checkpoint {
        settings.dequantises ? try Checkpoint.open(evidence.result) : try Checkpoint.openStored(evidence.result)
    }
}

import ByteAccess
public import Tensors

/// The input and options of an earlier strip, read back from its receipt.
public struct StripRecord: Sendable {
    /// The path of the unstripped source, as it was given.
    public let source: String?
    /// The baked task.
    public let task: Int?
    /// The dtype that was asked for.
    public let dtype: DType?
    /// What the receipt says of the files.
    public let evidence: ReceiptEvidence

    /// Reads the receipt in a directory; nil where there is none, or one of another operation.
    ///
    /// - Throws: `.malformed` where the receipt is no JSON.
    public init?(in path: String) throws {
        let file = FileSystem.join(path, Receipt.fileName)
        guard FileSystem.isDirectory(path), FileSystem.exists(file) else { return nil }
        let bytes = try FileReader(path: file).allBytes(limit: 1 << 28)
        let document = try JSONValue.parse(bytes, file: file, allowing: .strict)
        guard document["schema"]?.stringValue == "peftfile.strip/1" else { return nil }
        let predicate = document["predicate"]
        func malformed(_ key: String) -> PeftfileError {
            PeftfileError(
                .malformed, "the receipt has no usable \(key)", file: file, rule: "Receipt",
                help: "peftfile verify \(path.shellQuoted) --from UNSTRIPPED")
        }
        let options = try ReceiptOptions(predicate?["options"], known: ["layout", "task", "dtype", "base"], malformed: malformed)
        source = predicate?["source"]?["path"]?.stringValue
        task = try options.value("task", \.intValue)
        dtype = try options.choice("dtype")
        evidence = try ReceiptEvidence(
            result: path, document: document, schema: "peftfile.strip/1", inputs: [predicate?["source"]], malformed: malformed)
    }

    /// The source must be where the receipt says, and be what it was.
    ///
    /// - Throws: `.notFound` where it is not there; `.refused` where size or header changed since the strip.
    public func requireInputs() throws {
        try evidence.requireInputs(
            source.map { [$0] } ?? [], operation: "strip",
            help: "peftfile verify \(evidence.result.shellQuoted) --from UNSTRIPPED")
    }
}

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
    private let evidence: ReceiptEvidence

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
        source = predicate?["source"]?["path"]?.stringValue
        task = predicate?["options"]?["task"]?.intValue
        dtype = predicate?["options"]?["dtype"]?.stringValue.flatMap(DType.init(rawValue:))
        evidence = ReceiptEvidence(result: path, document: document, inputs: [predicate?["source"]])
    }

    /// The source must be where the receipt says, and be what it was.
    ///
    /// - Throws: `.notFound` where it is not there; `.refused` where size or header changed since the strip.
    public func requireInputs() throws {
        try evidence.requireInputs(
            source.map { [$0] } ?? [], operation: "strip",
            help: "peftfile verify \(evidence.result.shellQuoted) --from UNSTRIPPED")
    }

    /// The files of the result that are not what the strip wrote: changed, or gone. Without hashes only the latter.
    ///
    /// - Throws: `.io` where a file of the result cannot be read; `.refused` where something that is no regular file is in its place;
    ///   `.notFound` where a link is there that leads nowhere; `.interrupted` where a signal came.
    public func changedFiles() throws -> [String] { try evidence.changedFiles() }
}

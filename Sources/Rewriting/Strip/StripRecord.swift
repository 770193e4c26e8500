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
    }
}

import ByteAccess
public import Tensors

/// The options of an earlier strip that a verification must know, read back from its receipt.
public struct StripRecord: Sendable {
    /// The baked task.
    public var task: Int?
    /// The dtype that was asked for.
    public var dtype: DType?

    /// Reads the receipt in a stripped directory; without one nothing was asked for.
    ///
    /// - Throws: `.malformed` where the receipt is not of a strip.
    public init(in path: String) throws {
        let file = FileSystem.join(path, Receipt.fileName)
        guard FileSystem.isDirectory(path), FileSystem.exists(file) else { return }
        let bytes = try FileReader(path: file).allBytes(limit: 1 << 28)
        let document = try JSONValue.parse(bytes, file: file, allowing: .strict)
        guard document["schema"]?.stringValue == "peftfile.strip/1",
            let options = document["predicate"]?["options"]?.objectValue
        else {
            throw PeftfileError(
                .malformed, "is not the receipt of a strip", file: file, rule: "Receipt",
                help: "give the directory that peftfile strip wrote")
        }
        task = options["task"]?.intValue
        dtype = options["dtype"]?.stringValue.flatMap(DType.init(rawValue:))
    }
}

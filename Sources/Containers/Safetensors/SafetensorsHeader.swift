public import ByteAccess
public import Tensors

/// The directory of a safetensors file: its metadata and where each tensor lies.
///
/// Source: README.md and safetensors/src/tensor.rs of the reference, version 0.8.0; `Formats/safetensors.md` has the
/// rules by number.
public struct SafetensorsHeader: Sendable {
    /// The longest header that is read or written, in bytes: the reference's `MAX_HEADER_SIZE`.
    public static let sizeLimit: UInt64 = 100_000_000
    /// The key that holds the metadata and can name no tensor.
    public static let metadataKey: ExactString = "__metadata__"

    /// The `__metadata__` map in file order; nil where the header has none, or null.
    public internal(set) var metadata: [(key: ExactString, value: String)]?
    /// The tensors, sorted by (begin, end, name); `begin` and `end` count from the start of the file.
    public internal(set) var tensors: [TensorInfo] = []
    var names = NameIndex()

    /// The tensor called `name`.
    public subscript(name: ExactString) -> TensorInfo? { index(of: name).map { tensors[$0] } }

    /// The position in `tensors` of the tensor called `name`.
    public func index(of name: ExactString) -> Int? { names.find(name) { tensors[$0].name } }

    /// Reads the JSON of a header and checks rules 4 to 9: everything that can be known without the rest of the file.
    ///
    /// Time is linear in the bytes for tensors in file order, and n log n where they have to be sorted.
    ///
    /// - Parameters:
    ///   - json: the header without the 8 bytes of its length, with its padding.
    ///   - file: the file that errors name; in it the header begins at byte 8.
    /// - Throws: `.malformed` with rule `InvalidHeader`, `LeadingWhitespace`, `InvalidHeaderDeserialization`, `DuplicateKey`,
    ///   `InvalidOffset`, `ValidationOverflow`, `MisalignedSlice` or `TensorInvalidInfo`; with `MetadataIncompleteBuffer` where the
    ///   offsets from the start of the file do not fit 64 bits.
    public init(json: UnsafeRawBufferPointer, file: String? = nil) throws {
        // Rule 4.
        if let index = UTF8Validation.firstInvalidByte(in: json) {
            throw SafetensorsRule.invalidHeader.broken(
                "the header is not UTF-8", file: file, offset: Self.jsonOffset + UInt64(index))
        }
        // The format's text: "the header data MUST begin with a { character".
        if let first = json.first, [0x20, 0x09, 0x0A, 0x0D].contains(first) {
            throw SafetensorsRule.leadingWhitespace.broken(
                "the header begins with whitespace instead of \"{\"", file: file, offset: Self.jsonOffset)
        }
        // Rule 5.
        try parse(json, file: file)
        // Rule 6 speaks of the tensors by offset. Files list them in that order, save for very old ones.
        if !tensors.isSorted(by: Self.precedes) { tensors.sort(by: Self.precedes) }
        try checkNames(file: file)
        try checkLayout(file: file)
        try moveOffsets(to: Self.jsonOffset + UInt64(json.count), file: file)
    }

    /// Where the JSON begins: after the 8 bytes of its length.
    static let jsonOffset: UInt64 = 8

    private static func precedes(_ left: TensorInfo, _ right: TensorInfo) -> Bool {
        if left.begin != right.begin { return left.begin < right.begin }
        if left.end != right.end { return left.end < right.end }
        return left.name < right.name
    }

    /// The format's text: "duplicate keys are disallowed". The reference reader keeps the last of two silently, so that
    /// two readers can see two different models in one file.
    private mutating func checkNames(file: String?) throws {
        names = NameIndex(count: tensors.count)
        for index in tensors.indices where names.insert(index, name: { tensors[$0].name }) != nil {
            throw SafetensorsRule.duplicateKey.broken(
                "the header names this tensor twice", file: file, tensor: tensors[index].name)
        }
    }
}

extension Array {
    /// Whether no element precedes the one before it.
    fileprivate func isSorted(by precedes: (Element, Element) -> Bool) -> Bool {
        !indices.dropFirst().contains { precedes(self[$0], self[$0 - 1]) }
    }
}

public import ByteAccess
public import Tensors

/// A GGUF file, opened: its directory is read and checked, its tensors are not.
///
/// Plain numbers are tensors of their dtype. Blocks (Q8_0 and so on) are tensors of U8 whose rows are the bytes of their
/// blocks; `blocks(of:)` says which they are and what shape the elements have.
public struct GGUFFile: TensorFile {
    public var kind: ContainerKind { .gguf }
    public let reader: FileReader
    public let tensors: [TensorInfo]
    private let directory: GGUFDirectory

    /// Opens a file and checks every rule of the format.
    ///
    /// Throws a `PeftfileError` whose `rule` is a `GGUFRule`.
    public static func open(_ path: String) throws -> GGUFFile { try open(FileReader(path: path)) }

    /// The same for a file that is open already.
    ///
    /// - Throws: `.unsupported` with rule `GGUFVersion`, `GGUFByteOrder` or `GGUFType`; `.malformed` with any other `GGUFRule`; `.io`
    ///   where the file cannot be read.
    public static func open(_ reader: FileReader) throws -> GGUFFile { try GGUFFile(reader) }

    private init(_ reader: FileReader) throws {
        let directory = try GGUFDirectory(reader)
        self.reader = reader
        self.directory = directory
        tensors = directory.entries.map { entry in
            let begin = directory.dataStart + entry.offset
            return TensorInfo(
                name: entry.name, dtype: entry.type.dtype ?? .u8, shape: entry.type.storedShape(entry.shape),
                begin: begin, end: begin + entry.byteCount)
        }
    }

    /// 2 or 3.
    public var version: Int { Int(directory.version) }
    /// The multiple on which every tensor begins.
    public var alignment: Int { Int(directory.alignment) }

    // MARK: Metadata

    /// The metadata in file order, in words.
    public var metadata: [(key: ExactString, value: String)]? { values.map { ($0.key, $0.value.text) } }
    /// The metadata in file order.
    public var values: [(key: ExactString, value: GGUFValue)] { directory.metadata }
    /// The value of a key; nil where there is none.
    public func value(_ key: ExactString) -> GGUFValue? { position(of: key).map { directory.metadata[$0].value } }

    private func position(of key: ExactString) -> Int? { directory.keys.find(key) { directory.metadata[$0].key } }

    /// The elements of an array of this file's metadata.
    ///
    /// - Throws: `.io` where the file cannot be read; `.malformed` with rule `GGUFTruncated` or `GGUFValue` where the bytes at its
    ///   place are no such elements, as for an array of another file.
    public func elements(of array: GGUFArray) throws -> [GGUFValue] {
        var cursor = GGUFCursor(reader, in: array.range)
        return try (0..<array.count).map { _ in try cursor.value(array.elementType, "an element") }
    }

    /// The bytes of a key's value as they stand in the file, its type before it: what a writer carries over.
    ///
    /// - Throws: `.io` where the file cannot be read.
    public func encodedValue(_ key: ExactString) throws -> [UInt8]? {
        guard let range = position(of: key).map({ directory.valueRanges[$0] }) else { return nil }
        return try reader.bytes(at: range.lowerBound, count: range.count)
    }

    // MARK: Tensors

    /// The type of a tensor's elements.
    public func type(of tensor: TensorInfo) -> GGUFType? { entry(of: tensor)?.type }

    public func blocks(of tensor: TensorInfo) -> TensorBlocks? {
        guard let entry = entry(of: tensor), entry.type.dtype == nil else { return nil }
        return TensorBlocks(type: entry.type, shape: entry.shape)
    }

    private func entry(of tensor: TensorInfo) -> GGUFDirectory.Entry? {
        directory.names.find(tensor.name) { directory.entries[$0].name }.map { directory.entries[$0] }
    }

    /// A tensor's bytes as they lie in the file: numbers, or blocks.
    ///
    /// - Throws: `.io` where `offset` and the buffer's length do not lie in the tensor, or the file cannot be read.
    public func read(_ tensor: TensorInfo, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        try check(tensor, at: offset, count: buffer.count)
        try reader.read(at: tensor.begin + offset, into: buffer)
    }

    /// The SHA-256 of the file's bytes up to the first tensor.
    ///
    /// - Throws: `.io` where the file cannot be read.
    public func headerSHA256() throws -> [UInt8] {
        try reader.sha256(of: 0..<min(directory.dataStart, reader.size))
    }
}

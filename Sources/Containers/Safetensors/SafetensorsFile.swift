public import ByteAccess
public import Tensors

/// A safetensors file, opened: its header is read and checked, its tensors are not.
///
/// Memory is the header's bytes while it is parsed, and after that about 200 bytes a tensor.
public struct SafetensorsFile: TensorFile {
    public var kind: ContainerKind { .safetensors }
    public let reader: FileReader
    /// The header, held to every rule of `Formats/safetensors.md`.
    public let header: SafetensorsHeader
    /// Where the header's JSON with its padding stands in the file.
    public let headerBytes: Range<UInt64>

    /// The `__metadata__` map in file order; nil where the header has none.
    public var metadata: [(key: ExactString, value: String)]? { header.metadata }
    /// The tensors, sorted by (begin, end, name); offsets count from the start of the file.
    public var tensors: [TensorInfo] { header.tensors }
    /// The tensor called `name`.
    public subscript(name: ExactString) -> TensorInfo? { header[name] }

    /// Opens a file and checks every rule of the format.
    ///
    /// Throws a `PeftfileError` whose `rule` is a `SafetensorsRule`, or a `ForeignFile` where the file is known to be
    /// something else: a Git LFS pointer, an HTML page, a torch checkpoint and so on.
    public static func open(_ path: String) throws -> SafetensorsFile { try open(FileReader(path: path)) }

    /// The same for a file that is open already.
    ///
    /// - Throws: `.malformed` with a `SafetensorsRule`; the refusal of a `ForeignFile` where the file has no safetensors outline and is
    ///   known to be something else; `.io` where it cannot be read.
    public static func open(_ reader: FileReader) throws -> SafetensorsFile {
        do {
            return try SafetensorsFile(reader)
        } catch let error as PeftfileError where error.code == .malformed {
            // Only a file without the outline of a safetensors file is looked at for what else it may be: the length of
            // a header, 640 for example, can also be the first bytes of a pickle.
            if try !ContainerKind.hasSafetensorsOutline(reader), let foreign = try ForeignFile.identify(reader) {
                throw foreign.refusal(file: reader.path)
            }
            throw error
        }
    }

    private init(_ reader: FileReader) throws {
        let path = reader.path
        // Rule 1.
        guard reader.size >= 8 else {
            let message =
                reader.size == 0
                ? "the file is empty" : "the file has \(reader.size) bytes, fewer than a header's length"
            throw SafetensorsRule.headerTooSmall.broken(
                message, file: path, help: "it was not written or not downloaded to its end: fetch it again")
        }
        let length = try reader.bytes(at: 0, count: 8).reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        // Rule 2.
        guard length <= SafetensorsHeader.sizeLimit else {
            throw SafetensorsRule.headerTooLarge.broken(
                "the header's length is given as \(length); at most \(SafetensorsHeader.sizeLimit) is allowed",
                file: path, offset: 0, help: "the file is damaged or no safetensors file: fetch it again")
        }
        // Rule 3.
        guard length <= reader.size - 8 else {
            throw SafetensorsRule.invalidHeaderLength.broken(
                "the header's length is given as \(length), and the file has \(reader.size) bytes", file: path,
                offset: 0, help: "the file is cut short or no safetensors file: fetch it again")
        }
        self.reader = reader
        headerBytes = 8..<(8 + length)
        // Rules 4 to 9.
        header = try reader.bytes(at: 8, count: Int(length)).withUnsafeBytes {
            try SafetensorsHeader(json: $0, file: path)
        }
        // Rule 10.
        let end = header.tensors.last?.end ?? headerBytes.upperBound
        guard end == reader.size else {
            let problem =
                end > reader.size
                ? "\(end - reader.size) bytes are missing" : "\(reader.size - end) bytes follow that no tensor has"
            throw SafetensorsRule.metadataIncompleteBuffer.broken(
                "the tensors end at byte \(end), and the file has \(reader.size) bytes: \(problem)", file: path,
                offset: min(end, reader.size),
                help: end > reader.size ? "the file is cut short: fetch it again" : nil)
        }
    }

    /// The bytes of the header's JSON with its padding, as they stand in the file.
    ///
    /// - Throws: `.io` where the file cannot be read.
    public func readHeaderBytes() throws -> [UInt8] {
        try reader.bytes(at: headerBytes.lowerBound, count: headerBytes.count)
    }

    /// A tensor's bytes, which lie in the file as they are.
    ///
    /// - Throws: `.io` where `offset` and the buffer's length do not lie in the tensor, or the file cannot be read.
    public func read(_ tensor: TensorInfo, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        try check(tensor, at: offset, count: buffer.count)
        try reader.read(at: tensor.begin + offset, into: buffer)
    }

    /// The SHA-256 of the file's bytes up to the first tensor: the length, the JSON, the padding. Hashed anew at each
    /// call.
    ///
    /// With the file's size it names the inputs of a receipt where the whole file is not hashed; `head -c N FILE |
    /// sha256sum` gives the same, N being `headerBytes.upperBound`.
    ///
    /// - Throws: `.io` where the file cannot be read.
    public func headerSHA256() throws -> [UInt8] {
        try reader.sha256(of: 0..<headerBytes.upperBound)
    }
}

import ByteAccess
import Tensors

/// The directory of a GGUF file: version, metadata, and what there is of tensors, read in file order and checked.
///
/// Source: docs/gguf.md of ggml-org/ggml; the checks of `gguf_init_from_reader` in ggml/src/gguf.cpp of
/// ggml-org/llama.cpp, which grew with CVE-2024-21802, CVE-2025-53630 and CVE-2026-27940.
struct GGUFDirectory {
    /// A tensor as the directory has it.
    struct Entry {
        var name: ExactString
        /// Outermost dimension first; the file has them innermost first.
        var shape: Shape
        var type: GGUFType
        /// Bytes of its elements.
        var byteCount: UInt64
        /// Counted from the first byte of the data.
        var offset: UInt64
    }

    private(set) var version: UInt32 = 0
    private(set) var metadata: [(key: ExactString, value: GGUFValue)] = []
    /// Where each value stands in the file, with its type before it.
    private(set) var valueRanges: [Range<UInt64>] = []
    private(set) var keys = NameIndex()
    private(set) var alignment: UInt64 = 32
    private(set) var entries: [Entry] = []
    private(set) var names = NameIndex()
    /// The byte behind the directory, and the first of the data.
    private(set) var end: UInt64 = 0
    private(set) var dataStart: UInt64 = 0

    /// The most bytes that a directory may have: with vocabularies of a million entries it has a tenth of that.
    static let sizeLimit: UInt64 = 1 << 30
    /// The largest alignment, that of a huge page.
    static let alignmentLimit: UInt32 = 1 << 21

    private let path: String

    init(_ reader: FileReader) throws {
        path = reader.path
        var cursor = GGUFCursor(reader, in: 0..<min(reader.size, GGUFDirectory.sizeLimit))
        try readVersion(&cursor)
        let tensorCount = try count(&cursor, "tensors", leastBytes: 24 + 1)
        let keyCount = try count(&cursor, "metadata keys", leastBytes: 8 + 1 + 4 + 1)
        try readMetadata(&cursor, count: keyCount)
        try readAlignment()
        try readTensors(&cursor, count: tensorCount)
        end = cursor.position
        dataStart = aligned(end)
        try checkLayout(size: reader.size)
    }

    // MARK: In file order

    private mutating func readVersion(_ cursor: inout GGUFCursor) throws {
        let magic: UInt32 = try cursor.integer("the header")
        let version: UInt32 = try cursor.integer("the header")
        self.version = version
        guard magic == 0x4655_4747, version & 0xFFFF != 0 || version == 0 else {
            throw GGUFRule.byteOrder.broken(
                "is big-endian, for machines of another byte order than this file's readers", file: path, offset: 4,
                help: "turn it round with gguf_convert_endian.py of llama.cpp: gguf-convert-endian FILE little")
        }
        guard (2...3).contains(version) else {
            throw GGUFRule.version.broken(
                "is GGUF version \(version); 2 and 3 are read", file: path, offset: 4,
                help: version == 1 ? "convert the model anew; llama.cpp gave version 1 up as well" : nil)
        }
    }

    /// A count, each of whose things takes at least so many bytes.
    private func count(_ cursor: inout GGUFCursor, _ what: String, leastBytes: UInt64) throws -> Int {
        let count: UInt64 = try cursor.integer("the header")
        guard count <= cursor.remaining / leastBytes else {
            throw GGUFRule.count.broken(
                "counts \(count) \(what), for which its \(cursor.reader.size) bytes have no room", file: path,
                offset: cursor.position - 8, help: "the file is damaged or cut short: fetch it again")
        }
        return Int(count)
    }

    private mutating func readMetadata(_ cursor: inout GGUFCursor, count: Int) throws {
        keys = NameIndex(count: count)
        for number in 0..<count {
            let start = cursor.position
            let key = ExactString(try cursor.string("key \(number)", rule: .key, limit: 65535))
            guard !key.text.isEmpty else { throw GGUFRule.key.broken("key \(number) is empty", file: path, offset: start) }
            let what = "the value of \(key)"
            let valueStart = cursor.position
            let type = try cursor.valueType(what)
            metadata.append((key, try cursor.value(type, what)))
            valueRanges.append(valueStart..<cursor.position)
            guard keys.insert(number, name: { metadata[$0].key }) == nil else {
                throw GGUFRule.key.broken("the key \(key) is there twice", file: path, offset: start)
            }
        }
    }

    private mutating func readAlignment() throws {
        guard let place = keys.find("general.alignment", name: { metadata[$0].key }) else { return }
        guard case .uint32(let value) = metadata[place].value, value.nonzeroBitCount == 1, value <= GGUFDirectory.alignmentLimit
        else {
            throw GGUFRule.alignment.broken(
                "general.alignment is \(metadata[place].value.text); a UINT32 power of two up to "
                    + "\(GGUFDirectory.alignmentLimit) is expected", file: path, offset: valueRanges[place].lowerBound)
        }
        alignment = UInt64(value)
    }

    private mutating func readTensors(_ cursor: inout GGUFCursor, count: Int) throws {
        names = NameIndex(count: count)
        for number in 0..<count {
            let start = cursor.position
            let name = ExactString(try cursor.string("the name of tensor \(number)", rule: .name, limit: 64))
            guard !name.text.isEmpty else {
                throw GGUFRule.name.broken("the name of tensor \(number) is empty", file: path, offset: start)
            }
            entries.append(try entry(&cursor, name))
            guard names.insert(number, name: { entries[$0].name }) == nil else {
                throw GGUFRule.name.broken("is in the file twice", file: path, tensor: name, offset: start)
            }
        }
    }

    private func entry(_ cursor: inout GGUFCursor, _ name: ExactString) throws -> Entry {
        let what = "what it says of tensor \(name)"
        let dimensions: UInt32 = try cursor.integer(what)
        guard dimensions <= 4 else {
            throw GGUFRule.shape.broken(
                "has \(dimensions) dimensions; at most 4 are allowed", file: path, tensor: name, offset: cursor.position - 4)
        }
        var shape: Shape = []
        for _ in 0..<dimensions {
            let dimension: UInt64 = try cursor.integer(what)
            guard dimension > 0, let size = Int(exactly: dimension) else {
                throw GGUFRule.shape.broken(
                    "has a dimension of \(dimension)", file: path, tensor: name, offset: cursor.position - 8)
            }
            shape.insert(size, at: 0)
        }
        let number: UInt32 = try cursor.integer(what)
        guard let type = GGUFType(rawValue: number) else {
            throw GGUFRule.type.broken(
                "has elements of ggml type \(number), which is not known here", file: path, tensor: name,
                offset: cursor.position - 4)
        }
        guard (shape.last ?? 1) % type.blockElements == 0 else {
            throw GGUFRule.shape.broken(
                "has rows of \(shape.last ?? 1) elements, and \(type.name) holds \(type.blockElements) in a block", file: path,
                tensor: name)
        }
        // Eight times over, for elements widened to float64.
        guard let count = shape.elementCount, count <= Int.max / 64, let bytes = type.byteCount(shape) else {
            throw GGUFRule.shape.broken("has more elements than can be counted: \(shape)", file: path, tensor: name)
        }
        return Entry(name: name, shape: shape, type: type, byteCount: UInt64(bytes), offset: try cursor.integer(what))
    }

    // MARK: The data

    /// The next multiple of the alignment. Positions are in the file, far below 2^64.
    private func aligned(_ position: UInt64) -> UInt64 { (position + alignment - 1) & ~(alignment - 1) }

    /// Tensors follow each other in the order of the directory, each on the next multiple of the alignment.
    private func checkLayout(size: UInt64) throws {
        var expected: UInt64 = 0
        var last = end
        for entry in entries {
            guard entry.offset == expected else {
                throw GGUFRule.offset.broken(
                    "has its data at offset \(entry.offset); the tensor before it and its padding end at \(expected)", file: path,
                    tensor: entry.name)
            }
            let (stop, overflow) = (dataStart + expected).addingReportingOverflow(entry.byteCount)
            guard !overflow, stop <= size else {
                throw GGUFRule.truncated.broken(
                    "has \(entry.byteCount) bytes from byte \(dataStart + expected) on, and the file ends at \(size)", file: path,
                    tensor: entry.name, help: "the file is cut short or damaged: fetch it again")
            }
            last = stop
            expected = aligned(expected + entry.byteCount)
        }
        guard size <= aligned(last) else {
            throw GGUFRule.trailing.broken(
                "the tensors end at byte \(last), and \(size - last) bytes follow that no tensor has", file: path, offset: last)
        }
    }
}

public import ByteAccess
public import Tensors

/// A GGUF file of version 3 before it is written: its first bytes, and where every tensor goes.
///
/// Tensors keep the order that they are given in. Each begins on a multiple of the alignment, and the file is filled up to
/// one, with zeros, as llama.cpp writes it (`gguf_write_to_buf` in ggml/src/gguf.cpp).
public struct GGUFLayout: Sendable {
    /// A tensor to be written.
    public struct Tensor: Sendable {
        /// At most 63 bytes.
        public var name: ExactString
        /// The type of its elements.
        public var type: GGUFType
        /// Outermost dimension first.
        public var shape: Shape

        /// A tensor to be written. ``GGUFLayout`` refuses it where the format has no place for its name, its shape or its rows of blocks.
        public init(name: ExactString, type: GGUFType, shape: Shape) {
            self.name = name
            self.type = type
            self.shape = shape
        }
    }

    /// The bytes before the first tensor's, padding included.
    public let headerBytes: [UInt8]
    /// The tensors with their places in the file; blocks as U8 (`GGUFFile`).
    public let tensors: [TensorInfo]
    /// Zero bytes that follow each tensor.
    public let padding: [Int]
    /// Bytes of the whole file.
    public let totalBytes: UInt64

    /// Lays a file out.
    ///
    /// - Parameter metadata: keys, in order, with their values' bytes, as `GGUFValue.encoded` and `GGUFFile.encodedValue`
    ///   give them. `general.alignment`, where it is among them, must be `alignment`.
    /// - Throws: a `GGUFRule`, for what no reader would take: a name of more than 63 bytes (llama.cpp's limit), five
    ///   dimensions, rows of broken blocks.
    public init(metadata: [(key: ExactString, value: [UInt8])], tensors: [Tensor], alignment: Int = 32) throws {
        precondition(alignment > 0 && alignment.nonzeroBitCount == 1, "an alignment is a power of two")
        func padding(_ count: Int) -> Int { -count & (alignment - 1) }
        var bytes = Array("GGUF".utf8)
        bytes.append(little: UInt32(3))
        bytes.append(little: UInt64(tensors.count))
        bytes.append(little: UInt64(metadata.count))
        for (key, value) in metadata {
            bytes.append(string: key.text)
            bytes += value
        }
        var offset = 0
        var infos: [(Tensor, offset: Int, count: Int)] = []
        for tensor in tensors {
            guard (1..<64).contains(tensor.name.text.utf8.count) else {
                throw GGUFRule.name.broken("a name in GGUF has at most 63 bytes", tensor: tensor.name)
            }
            guard tensor.shape.count <= 4, !tensor.shape.contains(0), let count = tensor.type.byteCount(tensor.shape),
                count < Int.max >> 8
            else { throw GGUFRule.shape.broken("GGUF has no \(tensor.type.name) of \(tensor.shape)", tensor: tensor.name) }
            bytes.append(string: tensor.name.text)
            bytes.append(little: UInt32(tensor.shape.count))
            for dimension in tensor.shape.reversed() { bytes.append(little: UInt64(dimension)) }
            bytes.append(little: tensor.type.rawValue)
            bytes.append(little: UInt64(offset))
            infos.append((tensor, offset, count))
            let (next, overflow) = offset.addingReportingOverflow(count + padding(count))
            guard !overflow, next < Int.max >> 8 else { throw GGUFRule.shape.broken("no file is that long", tensor: tensor.name) }
            offset = next
        }
        if !tensors.isEmpty { bytes += [UInt8](repeating: 0, count: padding(bytes.count)) }
        let start = bytes.count
        headerBytes = bytes
        self.tensors = infos.map { tensor, offset, count in
            TensorInfo(
                name: tensor.name, dtype: tensor.type.dtype ?? .u8, shape: tensor.type.storedShape(tensor.shape),
                begin: UInt64(start + offset), end: UInt64(start + offset + count))
        }
        self.padding = infos.map { padding($0.count) }
        totalBytes = UInt64(start + offset)
    }
}

extension GGUFValue {
    /// The value's bytes in a file, its type before them; nil for an array, which `encoded(array:)` writes.
    public var encoded: [UInt8]? {
        var bytes: [UInt8] = []
        func put(_ type: GGUFValueType, _ value: some FixedWidthInteger) {
            bytes.append(little: type.rawValue)
            bytes.append(little: value)
        }
        switch self {
        case .uint8(let value): put(.uint8, value)
        case .int8(let value): put(.int8, value)
        case .uint16(let value): put(.uint16, value)
        case .int16(let value): put(.int16, value)
        case .uint32(let value): put(.uint32, value)
        case .int32(let value): put(.int32, value)
        case .uint64(let value): put(.uint64, value)
        case .int64(let value): put(.int64, value)
        case .float32(let value): put(.float32, value.bitPattern)
        case .float64(let value): put(.float64, value.bitPattern)
        case .bool(let value): put(.bool, UInt8(value ? 1 : 0))
        case .string(let value):
            bytes.append(little: GGUFValueType.string.rawValue)
            bytes.append(string: value)
        case .array: return nil
        }
        return bytes
    }

    /// The bytes of an array of values of one type, no arrays among them.
    public static func encoded(array values: [GGUFValue], of type: GGUFValueType) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(little: GGUFValueType.array.rawValue)
        bytes.append(little: type.rawValue)
        bytes.append(little: UInt64(values.count))
        for value in values { bytes += value.encoded?.dropFirst(4) ?? [] }
        return bytes
    }
}

extension [UInt8] {
    fileprivate mutating func append(little value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    fileprivate mutating func append(string: String) {
        append(little: UInt64(string.utf8.count))
        append(contentsOf: string.utf8)
    }
}

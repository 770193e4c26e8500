/// Writes GGUF files for tests, right ones and wrong ones, after docs/gguf.md and without the code under test.
public struct GGUFBuilder: Sendable {
    public struct Tensor: Sendable {
        public var name: [UInt8]
        /// Innermost first, as the file has them.
        public var dimensions: [UInt64]
        public var type: UInt32
        public var data: [UInt8]
        /// What the directory says, where it is not the right offset.
        public var offset: UInt64?

        public init(_ name: String, _ dimensions: [UInt64], type: UInt32 = 0, _ data: [UInt8], offset: UInt64? = nil) {
            (self.name, self.dimensions, self.type, self.data, self.offset) = (Array(name.utf8), dimensions, type, data, offset)
        }
    }

    public var magic = Array("GGUF".utf8)
    public var version: UInt32 = 3
    public var metadata: [(key: [UInt8], value: [UInt8])] = []
    public var tensors: [Tensor] = []
    public var alignment = 32
    public var tensorCount: UInt64?
    public var keyCount: UInt64?
    public var dimensionCount: UInt32?
    /// Bytes behind the last tensor's padding.
    public var tail: [UInt8] = []

    public init() {}

    public static func little(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    /// A length and the bytes.
    public static func string(_ text: [UInt8]) -> [UInt8] { little(UInt64(text.count)) + text }

    public mutating func add(_ key: String, type: UInt32, _ value: [UInt8]) {
        metadata.append((Array(key.utf8), Self.little(type) + value))
    }

    public mutating func add(_ key: String, _ text: String) { add(key, type: 8, Self.string(Array(text.utf8))) }
    public mutating func add(_ key: String, _ number: UInt32) { add(key, type: 4, Self.little(number)) }
    public mutating func add(_ key: String, _ number: Float) { add(key, type: 6, Self.little(number.bitPattern)) }
    public mutating func add(_ key: String, texts: [String]) {
        add(key, type: 9, Self.little(8 as UInt32) + Self.little(UInt64(texts.count)) + texts.flatMap { Self.string(Array($0.utf8)) })
    }
    public mutating func add(_ key: String, numbers: [UInt32]) {
        add(key, type: 9, Self.little(4 as UInt32) + Self.little(UInt64(numbers.count)) + numbers.flatMap { Self.little($0) })
    }

    public static func bytes(_ values: [Float]) -> [UInt8] { values.flatMap { little($0.bitPattern) } }

    public func file() -> [UInt8] {
        var bytes = magic + Self.little(version)
        bytes += Self.little(tensorCount ?? UInt64(tensors.count)) + Self.little(keyCount ?? UInt64(metadata.count))
        for (key, value) in metadata { bytes += Self.string(key) + value }
        var data: [UInt8] = []
        for tensor in tensors {
            bytes += Self.string(tensor.name) + Self.little(dimensionCount ?? UInt32(tensor.dimensions.count))
            for dimension in tensor.dimensions { bytes += Self.little(dimension) }
            bytes += Self.little(tensor.type) + Self.little(tensor.offset ?? UInt64(data.count))
            data += tensor.data
            while data.count % alignment != 0 { data.append(0) }
        }
        if !tensors.isEmpty { while bytes.count % alignment != 0 { bytes.append(0) } }
        return bytes + data + tail
    }
}

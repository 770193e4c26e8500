import ByteAccess
import Tensors

/// Rule 5: the header's JSON has the prescribed form. The parser reads it in file order, one field a line.
extension SafetensorsHeader {
    /// Reads all entries; offsets are as the header has them, counted from the end of the header.
    mutating func parse(_ json: UnsafeRawBufferPointer, file: String?) throws {
        var reader = JSONReader(
            json, file: file, origin: Self.jsonOffset, rule: SafetensorsRule.invalidHeaderDeserialization.rawValue)
        try reader.beginObject()
        // The shortest entry, `"":{"dtype":"F4","shape":[],"data_offsets":[0,0]},`, has 50 bytes; common ones have 100
        // to 160. Room for those, so that nothing grows: an array that does is held twice for a moment.
        tensors.reserveCapacity(json.count / 100)
        var shapes = SharedShapes()
        var hasMetadata = false
        while let key = try reader.nextKey() {
            if reader.matches(key, "__metadata__") {
                guard !hasMetadata else { throw reader.failure("__metadata__ stands in the header twice") }
                hasMetadata = true
                metadata = try Self.parseMetadata(&reader, file: file)
            } else {
                let name = ExactString(reader.decoded(key))
                do {
                    tensors.append(try Self.parseTensor(&reader, name: name, &shapes))
                } catch var error as PeftfileError {
                    error.tensor = name
                    throw error
                }
            }
        }
        try reader.finish()
    }

    /// A map of string to string, or `null`, which MLX writes where it has no metadata; the reference reader takes it
    /// for absent.
    private static func parseMetadata(
        _ reader: inout JSONReader, file: String?
    ) throws -> [(key: ExactString, value: String)]? {
        if try reader.peek() == .null {
            try reader.readNull()
            return nil
        }
        guard try reader.peek() == .object else { throw reader.failure("__metadata__ is not an object") }
        var metadata: [(key: ExactString, value: String)] = []
        var keys: Set<ExactString> = []
        try reader.beginObject()
        while let text = try reader.nextKey() {
            let key = ExactString(reader.decoded(text))
            guard try reader.peek() == .string else { throw reader.failure("a value in __metadata__ is not a string") }
            metadata.append((key, try reader.readString()))
            guard keys.insert(key).inserted else {
                throw SafetensorsRule.duplicateKey.broken(
                    "__metadata__ holds the key \"\(key.text)\" twice", file: file,
                    offset: jsonOffset + UInt64(reader.position))
            }
        }
        return metadata
    }

    /// An object with `dtype`, `shape` and `data_offsets`, each once, in any order. Other keys are ignored, as the
    /// reference reader ignores them, once their values are seen to be JSON.
    private static func parseTensor(
        _ reader: inout JSONReader, name: ExactString, _ shapes: inout SharedShapes
    ) throws -> TensorInfo {
        var dtype: DType?
        var shape: Shape?
        var offsets: (begin: UInt64, end: UInt64)?
        guard try reader.peek() == .object else { throw reader.failure("the tensor's entry is not an object") }
        try reader.beginObject()
        while let key = try reader.nextKey() {
            if reader.matches(key, "dtype") {
                guard dtype == nil else { throw reader.failure("dtype stands there twice") }
                dtype = try parseDType(&reader)
            } else if reader.matches(key, "shape") {
                guard shape == nil else { throw reader.failure("shape stands there twice") }
                shape = try parseShape(&reader, &shapes)
            } else if reader.matches(key, "data_offsets") {
                guard offsets == nil else { throw reader.failure("data_offsets stands there twice") }
                offsets = try parseOffsets(&reader)
            } else {
                try reader.skipValue()
            }
        }
        guard let dtype else { throw reader.failure("dtype is missing") }
        guard let shape else { throw reader.failure("shape is missing") }
        guard let offsets else { throw reader.failure("data_offsets is missing") }
        return TensorInfo(name: name, dtype: dtype, shape: shape, begin: offsets.begin, end: offsets.end)
    }

    private static func parseDType(_ reader: inout JSONReader) throws -> DType {
        guard try reader.peek() == .string else { throw reader.failure("dtype is not a string") }
        let position = reader.position
        let text = try reader.readText()
        guard let dtype = SafetensorsDType.named(text, in: reader) else {
            throw reader.failure("unknown dtype \"\(reader.decoded(text))\"", at: position)
        }
        return dtype
    }

    private static func parseShape(_ reader: inout JSONReader, _ shapes: inout SharedShapes) throws -> Shape {
        shapes.begin()
        try reader.beginArray()
        while try reader.nextElement() {
            // A dimension of 2^63 or more can only stand behind a zero (rule 7): the tensor is empty, and the bit
            // pattern keeps what the file says. `Shape.unsignedDimensions` gives it back.
            shapes.append(Int(bitPattern: UInt(try reader.readUInt64())))
        }
        return shapes.end()
    }

    private static func parseOffsets(_ reader: inout JSONReader) throws -> (begin: UInt64, end: UInt64) {
        try reader.beginArray()
        guard try reader.nextElement() else { throw reader.failure("data_offsets holds no number, not two") }
        let begin = try reader.readUInt64()
        guard try reader.nextElement() else { throw reader.failure("data_offsets holds one number, not two") }
        let end = try reader.readUInt64()
        guard try !reader.nextElement() else { throw reader.failure("data_offsets holds more than two numbers") }
        return (begin, end)
    }
}

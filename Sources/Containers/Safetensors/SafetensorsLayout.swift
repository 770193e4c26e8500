public import ByteAccess
public import Tensors

/// A safetensors file before it is written: its header, and where each tensor's bytes go.
///
/// Everything is known before the first byte is written, so that tensors can be written in any order and by parts. The
/// header is compact JSON as the reference writer's, `__metadata__` first, padded with spaces so that the tensors begin
/// at a multiple of 8. Header and bytes keep the order that is given: the caller decides it.
public struct SafetensorsLayout: Sendable {
    /// The first bytes of the file: the length, the JSON, the padding.
    public let headerBytes: [UInt8]
    /// The tensors in the order given; `begin` and `end` count from the start of the file.
    public let tensors: [TensorInfo]
    /// Bytes of the whole file.
    public let totalBytes: UInt64

    /// Lays out a file.
    ///
    /// Throws with the rule ReservedName for a tensor called `__metadata__`, which no reader would read though the
    /// reference writer writes it; DuplicateKey, MisalignedSlice, ValidationOverflow and HeaderTooLarge as for reading.
    public init(
        metadata: [(key: ExactString, value: String)]?, tensors: [(name: ExactString, dtype: DType, shape: Shape)]
    ) throws {
        var infos: [TensorInfo] = []
        infos.reserveCapacity(tensors.count)
        var names = NameIndex(count: tensors.count)
        var end: UInt64 = 0
        for (index, tensor) in tensors.enumerated() {
            guard tensor.name != SafetensorsHeader.metadataKey else {
                throw Self.refusal(.reservedName, "no tensor can have this name in a safetensors file", tensor.name)
            }
            guard names.insert(index, name: { tensors[$0].name }) == nil else {
                throw Self.refusal(.duplicateKey, "two tensors of this name in one file", tensor.name)
            }
            let size = try SafetensorsHeader.byteCount(tensor.shape, tensor.dtype, name: tensor.name, file: nil)
            let (sum, overflow) = end.addingReportingOverflow(size)
            guard !overflow else {
                throw Self.refusal(.validationOverflow, "the file's size does not fit 64 bits", tensor.name)
            }
            infos.append(
                TensorInfo(name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, begin: end, end: sum))
            end = sum
        }
        let json = try Self.json(metadata: metadata, tensors: infos)
        let start = UInt64(8 + json.count)
        let (total, overflow) = end.addingReportingOverflow(start)
        guard !overflow, Int64(exactly: total) != nil else {
            throw Self.refusal(.validationOverflow, "the file's size does not fit 63 bits", infos.last?.name)
        }
        for index in infos.indices {
            infos[index].begin += start
            infos[index].end += start
        }
        headerBytes = withUnsafeBytes(of: UInt64(json.count).littleEndian) { Array($0) } + json
        self.tensors = infos
        totalBytes = total
    }

    /// The header's JSON with its padding.
    private static func json(
        metadata: [(key: ExactString, value: String)]?, tensors: [TensorInfo]
    ) throws -> [UInt8] {
        var json: [UInt8] = [UInt8(ascii: "{")]
        json.reserveCapacity(160 * (tensors.count + 1))
        if let metadata {
            var keys: Set<ExactString> = []
            json.append(contentsOf: "\"__metadata__\":{".utf8)
            for (index, member) in metadata.enumerated() {
                guard keys.insert(member.key).inserted else {
                    throw refusal(.duplicateKey, "__metadata__ would hold the key \"\(member.key.text)\" twice", nil)
                }
                if index > 0 { json.append(UInt8(ascii: ",")) }
                JSONValue.appendQuoted(member.key.text, to: &json)
                json.append(UInt8(ascii: ":"))
                JSONValue.appendQuoted(member.value, to: &json)
            }
            json.append(UInt8(ascii: "}"))
        }
        for tensor in tensors {
            if json.count > 1 { json.append(UInt8(ascii: ",")) }
            JSONValue.appendQuoted(tensor.name.text, to: &json)
            let shape = tensor.shape.unsignedDimensions.map(String.init).joined(separator: ",")
            json.append(contentsOf: ":{\"dtype\":\"\(tensor.dtype.rawValue)\",\"shape\":[\(shape)],".utf8)
            json.append(contentsOf: "\"data_offsets\":[\(tensor.begin),\(tensor.end)]}".utf8)
        }
        json.append(UInt8(ascii: "}"))
        while json.count % 8 != 0 { json.append(0x20) }
        guard json.count <= SafetensorsHeader.sizeLimit else {
            throw refusal(
                .headerTooLarge,
                "the header would have \(json.count) bytes; at most \(SafetensorsHeader.sizeLimit) is allowed", nil)
        }
        return json
    }

    private static func refusal(_ rule: SafetensorsRule, _ message: String, _ tensor: ExactString?) -> PeftfileError {
        PeftfileError(.refused, message, tensor: tensor, rule: rule.rawValue)
    }
}

extension SafetensorsLayout {
    /// The order in which the reference writer puts tensors: by element size from the largest, so that each begins at a
    /// multiple of its element's size, then by name. For tensors of one dtype it is the order of the names.
    ///
    /// Source: `prepare` in safetensors/src/tensor.rs, which sorts by its dtype enum (declared in the order of
    /// `DType.allCases`) from the last to the first. Loaders that view a tensor's bytes in place need that alignment.
    public static func referenceOrder(
        _ left: (name: ExactString, dtype: DType), _ right: (name: ExactString, dtype: DType)
    ) -> Bool {
        let (leftRank, rightRank) = (rank[left.dtype] ?? 0, rank[right.dtype] ?? 0)
        return leftRank != rightRank ? leftRank > rightRank : left.name < right.name
    }

    /// The bytes that a tensor takes in a file; throws ValidationOverflow or MisalignedSlice.
    public static func byteCount(of tensor: (name: ExactString, dtype: DType, shape: Shape)) throws -> UInt64 {
        try SafetensorsHeader.byteCount(tensor.shape, tensor.dtype, name: tensor.name, file: nil)
    }

    private static let rank = Dictionary(uniqueKeysWithValues: DType.allCases.enumerated().map { ($1, $0) })
}

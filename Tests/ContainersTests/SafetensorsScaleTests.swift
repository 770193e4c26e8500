import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Large headers: time grows with the bytes, not with their square.
@Suite(.serialized) struct SafetensorsScaleTests {
    /// A header with `count` tensors of 16 bytes, in file order or reversed, and names that share long prefixes.
    static func header(_ count: Int, reversed: Bool = false) -> [UInt8] {
        let prefix = "base_model.model.model.layers.17.mlp.experts.11.down_proj.lora_A.weight."
        let entries = (0..<count).map { index in
            "\"\(prefix)\(index)\":{\"dtype\":\"BF16\",\"shape\":[4,2],\"data_offsets\":[\(index * 16),\(index * 16 + 16)]}"
        }
        return Array("{\((reversed ? entries.reversed() : entries).joined(separator: ","))}".utf8)
    }

    static func seconds(_ json: [UInt8]) throws -> Double {
        try (0..<3).map { _ in
            try ThreadTime.seconds {
                let header = try json.withUnsafeBytes { try SafetensorsHeader(json: $0) }
                #expect(header.tensors.count > 0)
            }
        }.min() ?? 0
    }

    @Test func timeGrowsWithTheBytes() throws {
        let small = try Self.seconds(Self.header(25_000))
        let large = try Self.seconds(Self.header(200_000))
        // Eight times the bytes: 8 where time is linear, 64 where it is quadratic. 24 leaves room for caches.
        #expect(large < small * 24, "\(small) s for 25 000 tensors, \(large) s for 200 000")
    }

    @Test func tensorsInReverseAreSorted() throws {
        let json = Self.header(20_000, reversed: true)
        let header = try json.withUnsafeBytes { try SafetensorsHeader(json: $0) }
        #expect(header.tensors.first?.begin == UInt64(8 + json.count))
        #expect(zip(header.tensors, header.tensors.dropFirst()).allSatisfy { $0.end == $1.begin })
    }

    /// Shapes that were seen before share their array: each tensor has its own all the same, whatever stood before it.
    @Test func everyTensorHasItsOwnShape() throws {
        var random = SplitMix64(seed: 7)
        var end = 0
        var shapes: [Shape] = []
        let entries = (0..<4000).map { index in
            let shape = (0..<Int(random.next() % 4)).map { _ in Int(random.next() % 6) }
            shapes.append(shape)
            let begin = end
            end += shape.reduce(1, *)
            return "\"\(index)\":{\"dtype\":\"U8\",\"shape\":\(shape),\"data_offsets\":[\(begin),\(end)]}"
        }
        let header = try Array("{\(entries.joined(separator: ","))}".utf8).withUnsafeBytes { try SafetensorsHeader(json: $0) }
        for (index, shape) in shapes.enumerated() { #expect(header[ExactString("\(index)")]?.shape == shape) }
    }
}

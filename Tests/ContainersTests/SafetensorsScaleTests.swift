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
        try ThreadTime.least {
            let header = try json.withUnsafeBytes { try SafetensorsHeader(json: $0) }
            #expect(header.tensors.count > 0)
        }
    }

    @Test func doublingTheHeaderDoublesTheTime() throws {
        let small = try Self.seconds(Self.header(25_000))
        let large = try Self.seconds(Self.header(100_000))
        // Four times the bytes: 4 where time is linear, 16 where it is quadratic. 8 leaves room for a busy machine.
        #expect(large < small * 8, "\(small) s for 25 000 tensors, \(large) s for 100 000")
    }

    @Test func tensorsInReverseAreSorted() throws {
        let json = Self.header(20_000, reversed: true)
        let header = try json.withUnsafeBytes { try SafetensorsHeader(json: $0) }
        #expect(header.tensors.first?.begin == UInt64(8 + json.count))
        #expect(zip(header.tensors, header.tensors.dropFirst()).allSatisfy { $0.end == $1.begin })
    }
}

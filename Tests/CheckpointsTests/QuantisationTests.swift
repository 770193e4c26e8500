import ByteAccess
import Checkpoints
import Tensors
import TestSupport
import Testing

/// Every case of Fixtures/quantised against the float64 values that an independent reference computed.
@Suite struct QuantisationTests {
    static let cases = ((try? FileSystem.list(Fixtures.path("quantised"))) ?? []).filter { $0 != "index.json" }
    /// Bases that are stored as codes and can be read.
    static let readable = cases.filter { !$0.hasPrefix("refuse-") && !$0.hasPrefix("qlora-") }
    static let refused = cases.filter { $0.hasPrefix("refuse-") }

    static func base(_ name: String) throws -> Checkpoint { try Checkpoint.open(Fixtures.path("quantised/\(name)/base")) }

    static func description(_ name: String) throws -> JSONValue {
        try JSONValue.parse(TestFile.bytes(Fixtures.path("quantised/\(name)/case.json")), file: name)
    }

    @Test func thereAreCases() { #expect(Self.readable.count >= 32 && Self.refused.count >= 7) }

    /// The reference is the float64 value rounded to F32: ours, rounded so, must have the same bits.
    @Test(arguments: readable) func valuesAreTheReferences(_ name: String) throws {
        let base = try Self.base(name)
        _ = try base.requireReadableWeights()
        let expected = try Checkpoint.open(Fixtures.path("quantised/\(name)/expected/dequantised.safetensors"))
        let isExact = try Self.description(name)["f32_is_exact"]?.boolValue ?? false
        #expect(!expected.tensors.isEmpty)
        for tensor in expected.tensors {
            let found = try #require(base[tensor.name], "\(tensor.name) is missing")
            #expect(found.quantised != nil && found.shape == tensor.shape, "\(tensor.name)")
            let values = try Conversion.widened(base.read(found), as: .f64, count: found.info.elementCount)
            #expect(try Conversion.narrowed(values, to: .f32) == expected.read(tensor), "\(tensor.name)")
            if isExact { #expect(values.allSatisfy { Double(Float($0)) == $0 || $0.isNaN }, "\(tensor.name)") }
        }
        #expect(base.quantisation?.weights.count == expected.tensors.count)
    }

    /// Any part of a weight is the same part of the whole.
    @Test(arguments: readable) func partsAreTheWhole(_ name: String) throws {
        let base = try Self.base(name)
        var random = SplitMix64(seed: 5)
        for tensor in base.tensors where tensor.quantised != nil {
            let whole = try base.read(tensor)
            for _ in 0..<12 {
                let begin = Int.random(in: 0..<whole.count, using: &random)
                let end = Int.random(in: begin...whole.count, using: &random)
                #expect(try base.read(tensor, bytes: UInt64(begin)..<UInt64(end)) == Array(whole[begin..<end]), "\(tensor.name) \(begin)..<\(end)")
            }
        }
    }

    /// A plain checkpoint has no companion of a code left.
    @Test(arguments: readable) func companionsAreGone(_ name: String) throws {
        let base = try Self.base(name)
        let dropped = (try Self.description(name)["dropped_from_base"]?.arrayValue ?? []).compactMap(\.stringValue)
        #expect(!dropped.isEmpty || name.hasPrefix("gguf-"))
        for tensor in dropped { #expect(base[ExactString(tensor)] == nil, "\(tensor)") }
    }

    @Test(arguments: refused) func badBasesAreRefused(_ name: String) throws {
        let base = try Self.base(name)
        let error = #expect(throws: PeftfileError.self) { _ = try base.requireReadableWeights() }
        #expect(error?.tensor != nil && QuantisationRule(rawValue: error?.rule ?? "") != nil, "\(error as Any)")
    }
}

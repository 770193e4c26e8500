import ByteAccess
import Checking
import Checkpoints
import Containers
import Foundation
import Tensors
import TestSupport
import Testing

/// Adapters without a formula, with a tensor taken out of a genuine file or given another shape. Which tensors a module has, and of
/// what shapes, is what the constructors in peft/tuners make (`LilyLayer.update_layer`, `OrthLayer`, `_BaseAdaptedAttention`,
/// `XLoraClassifier`).
@Suite struct TensorFormTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var fixture: String
        var part: String
        var testDescription: String { "\(fixture) \(part)" }
    }

    static let cases: [Case] = [
        .init(fixture: "lily", part: "lily_A"), .init(fixture: "lily", part: "lily_B"), .init(fixture: "lily", part: "lily_router"),
        .init(fixture: "psoft", part: "psoft_R.weight"), .init(fixture: "psoft", part: "vector_a"), .init(fixture: "psoft", part: "vector_b"),
        .init(fixture: "refuse-adaption-prompt", part: "adaption_gate"), .init(fixture: "refuse-adaption-prompt", part: "adaption_prompt"),
        .init(fixture: "shadow", part: "shadow_down"), .init(fixture: "shadow", part: "shadow_update_transform.default.0.weight"),
        .init(fixture: "shadow", part: "shadow_update_transform.default.0.bias"), .init(fixture: "shadow", part: "shadow_update_gate.default.0.weight"),
        .init(fixture: "shadow", part: "shadow_update_gate.default.0.bias"),
        .init(fixture: "refuse-xlora", part: "layers.3.weight"), .init(fixture: "refuse-xlora", part: "layers.3.bias"),
    ]

    /// Writes the fixture again with the first tensor of `part` changed by `edit`.
    static func write(_ item: Case, to path: String, _ edit: (SmallAdapter.Values) -> SmallAdapter.Values?) throws {
        try FileManager.default.copyItem(atPath: Fixtures.path("merge/\(item.fixture)/adapter"), toPath: path)
        let checkpoint = try Checkpoint.open("\(path)/adapter_model.safetensors")
        var tensors = try checkpoint.tensors.map { tensor in
            var values = SmallAdapter.Values(tensor.name.text, tensor.shape, dtype: tensor.dtype)
            values.values = try Conversion.widened(checkpoint.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
            return values
        }
        let position = try #require(tensors.firstIndex { $0.name.contains(item.part) })
        if let edited = edit(tensors[position]) { tensors[position] = edited } else { tensors.remove(at: position) }
        try SmallAdapter.write(tensors, to: "\(path)/adapter_model.safetensors")
    }

    static func errors(_ path: String) throws -> Set<String> {
        Set(try Checker().check(path).findings.filter { $0.severity == .error }.map(\.rule))
    }

    @Test(arguments: cases) func aTensorThatIsGoneIsFound(_ item: Case) throws {
        let folder = try TemporaryDirectory()
        try Self.write(item, to: folder.path("a")) { _ in nil }
        #expect(try Self.errors(folder.path("a")) == ["missing-pair"])
        try Self.write(item, to: folder.path("b")) { $0 }
        #expect(try Self.errors(folder.path("b")) == [])
    }

    /// One more row.
    @Test(arguments: cases) func anotherShapeIsFound(_ item: Case) throws {
        let folder = try TemporaryDirectory()
        try Self.write(item, to: folder.path("a")) { tensor in
            var tensor = tensor
            tensor.values += tensor.values.suffix(tensor.shape.dropFirst().reduce(1, *))
            tensor.shape[0] += 1
            return tensor
        }
        #expect(try Self.errors(folder.path("a")) == ["shape-mismatch"])
    }
}

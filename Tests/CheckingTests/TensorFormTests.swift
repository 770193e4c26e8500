import Adapters
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

    /// A side of nothing, in each tensor of each method that has a formula, and beside it one of 2⁶²: whatever a formula divides by,
    /// multiplies or reshapes, it is not stated, and the tensor is named.
    @Test(arguments: PrecisionTests.cases.filter { !$0.hasPrefix("arch") && !$0.hasPrefix("refuse") && $0 != "lora-bin" && !$0.contains("f16") })
    func aSideOfNothingIsFound(_ fixture: String) throws {
        let folder = try TemporaryDirectory()
        let base = try Checkpoint.open(Fixtures.path("merge/\(fixture)/base"))
        var adapter = try AlteredAdapter(Fixtures.path("merge/\(fixture)/adapter"), in: folder.path("a"))
        let genuine = adapter.tensors
        var kinds: Set<String> = []
        for index in genuine.indices {
            let name = genuine[index].name
            let kind = name.split(separator: ".").filter { Int($0) == nil }.suffix(2).joined(separator: ".")
            guard kinds.count < 6, kinds.insert(kind).inserted else { continue }
            for axis in genuine[index].shape.indices {
                let shape = genuine[index].shape
                // Of more such sides the parser says that they fit no integer.
                for other in [shape, shape.map { _ in 1 << 62 }].prefix(shape.count == 2 ? 2 : 1) {
                    adapter.tensors = genuine
                    adapter.tensors[index].shape = other
                    adapter.tensors[index].shape[axis] = 0
                    adapter.tensors[index].bytes = Data()
                    try adapter.write()
                    for base in [nil, base] {
                        let found = try Checker(options: CheckOptions(base: base, jobs: 1)).check(adapter.path).findings
                        #expect(found.contains { $0.rule == "empty-tensor" && $0.tensor?.text == name }, "\(name) \(adapter.tensors[index].shape): \(found)")
                    }
                    _ = try Inspection(path: adapter.path)
                }
            }
        }
    }
}

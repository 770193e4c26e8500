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

    /// Writes the fixture again without one tensor, whatever the types of the others.
    static func drop(_ tensor: String, of fixture: String, to path: String) throws {
        try FileManager.default.copyItem(atPath: Fixtures.path("merge/\(fixture)/adapter"), toPath: path)
        let bytes = try TestFile.bytes("\(path)/adapter_model.safetensors")
        let length = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        var header = try #require(JSONSerialization.jsonObject(with: Data(bytes[8..<(8 + length)])) as? [String: [String: Any]])
        try #require(header.removeValue(forKey: tensor) != nil)
        var data: [UInt8] = []
        for name in header.keys.sorted() where name != "__metadata__" {
            let offsets = try #require(header[name]?["data_offsets"] as? [Int])
            header[name]?["data_offsets"] = [data.count, data.count + offsets[1] - offsets[0]]
            data += bytes[(8 + length + offsets[0])..<(8 + length + offsets[1])]
        }
        var text = Array(try JSONSerialization.data(withJSONObject: header))
        while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
        let size = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) }
        try TestFile.write(size + text + data, to: "\(path)/adapter_model.safetensors")
    }

    /// Methods that store what a file of theirs may lack: projections and indices that a seed or the base tells, copies of one tensor.
    /// `_get_adapter_state_dict` in peft/tuners stores all of them or none.
    static let inventories = ["randlora", "frod", "adamss", "shira", "supertuning", "shadow"]

    @Test(arguments: inventories) func everyTensorThatIsGoneIsNamed(_ fixture: String) throws {
        let folder = try TemporaryDirectory()
        let base = try Checkpoint.open(Fixtures.path("merge/\(fixture)/base"))
        let tensors = try Checkpoint.open(Fixtures.path("merge/\(fixture)/adapter")).tensors.map(\.name)
        for (index, tensor) in tensors.enumerated() {
            let path = folder.path("\(index)")
            try Self.drop(tensor.text, of: fixture, to: path)
            for options in [CheckOptions(base: base), CheckOptions()] {
                // Which norms and layers a class has, only a base tells; the layers that the adapter changes are known without one.
                let isTold = options.base != nil || !tensor.text.contains("shadow_backbone") || tensor.text.contains("q_proj")
                    || tensor.text.contains("o_proj")
                let errors = try Checker(options: options).check(path).findings.filter { $0.severity == .error }
                #expect(errors.map(\.rule) == (isTold ? ["missing-pair"] : []), "\(tensor)")
                #expect(errors.map(\.tensor) == (isTold ? [tensor] : []))
            }
        }
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

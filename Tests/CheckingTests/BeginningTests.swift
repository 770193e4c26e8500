import ByteAccess
import Checking
import Checkpoints
import Foundation
import TestSupport
import Testing

/// Adapters as their initialisation leaves them, where that is neither zeros nor one number: what PEFT 0.21.2 saves without a step of
/// training, in small; and the same after a step of 10⁻⁴.
@Suite struct BeginningTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        /// A (2, 4) and B (4, 2), row by row.
        var a, b: [Double]
        var testDescription: String { name }
    }

    private static let (root2, root3) = (1.4142135623730951, 1.7320508075688772)

    static let cases: [Case] = [
        // Two rows alike, and two columns of opposite sign.
        .init(name: "orthogonal", a: [0.1, 0.3, -0.2, 0.5, 0.1, 0.3, -0.2, 0.5], b: [0.4, -0.4, 0.2, -0.2, -0.3, 0.3, 0.1, -0.1]),
        // √3 and √2 along orthonormal directions: the roots of two singular values.
        .init(
            name: "pissa", a: [root3 * 0.6, root3 * 0.8, 0, 0, root2 * -0.8, root2 * 0.6, 0, 0],
            b: [0, root2, 0, 0, root3 * 0.8, 0, root3 * -0.6, 0]),
        .init(name: "olora", a: [-2, 0.3, 0.7, 1.1, 0, 1.5, -0.4, 0.2], b: [0.6, -0.8, 0.8, 0.6, 0, 0, 0, 0]),
    ]

    private static func errors(_ path: String, base: String? = nil) throws -> [Finding] {
        let options = CheckOptions(base: try base.map { try Checkpoint.open($0) }, jobs: 2)
        return try Checker(options: options).check(path).findings.filter { $0.severity == .error }
    }

    @Test(arguments: cases, [false, true]) func factorsAsTheyBegin(_ item: Case, _ isTrained: Bool) throws {
        let folder = try TemporaryDirectory()
        try SmallAdapter.lora(in: folder.path("a"), out: 4, in: 4, config: #", "init_lora_weights": "\#(item.name)""#)
        var a = SmallAdapter.Values("\(SmallAdapter.root).lora_A.weight", [2, 4]), b = SmallAdapter.Values("\(SmallAdapter.root).lora_B.weight", [4, 2])
        (a.values, b.values) = (item.a, item.b)
        // A step moves every number.
        if isTrained { for index in b.values.indices { b.values[index] += 1e-4 * Double(index % 3 - 1) } }
        try SmallAdapter.write([a, b], to: folder.path("a/adapter_model.safetensors"))
        #expect(try Self.errors(folder.path("a")).map(\.rule) == (isTrained ? [] : ["untrained"]))
    }

    @Test(arguments: [1.0, 1.0001]) func aRotationByNothing(_ diagonal: Double) throws {
        let folder = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: folder.path("a"), withIntermediateDirectories: true)
        var rotation = SmallAdapter.Values("\(SmallAdapter.root).psoft_R.weight", [2, 2])
        rotation.values = [1, 0, 0, diagonal]
        try SmallAdapter.write([rotation], to: folder.path("a/adapter_model.safetensors"))
        try TestFile.write(
            #"{"peft_type": "PSOFT", "r": 2, "psoft_alpha": 2, "psoft_orth": false, "psoft_mag_a": false, "psoft_mag_b": false, "target_modules": ["q_proj"]}"#,
            to: folder.path("a/adapter_config.json"))
        #expect(try Self.errors(folder.path("a")).map(\.rule) == (diagonal == 1 ? ["untrained"] : []))
    }

    /// A factor of a kernel's Kronecker product, whose form only the base tells.
    @Test func aKroneckerFactorOfZeros() throws {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("merge/lokr-conv2d/adapter"), in: folder.path("a"))
        #expect(try Self.errors(adapter.path) == [])
        for index in adapter.tensors.indices where adapter.tensors[index].name.contains("lokr_w1") { adapter.tensors[index] = adapter.tensors[index].zeroed }
        try adapter.write()
        for base in [nil, Fixtures.path("merge/lokr-conv2d/base")] { #expect(try Self.errors(adapter.path, base: base).map(\.rule) == ["untrained"]) }
    }

    /// GLoRA's vectors, which tell no width.
    @Test(arguments: [0.0, 0.5]) func vectorsOfZeros(_ value: Double) throws {
        let folder = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: folder.path("a"), withIntermediateDirectories: true)
        let root = SmallAdapter.root
        try SmallAdapter.write(
            [
                .init("\(root).glora_A.X", [8, 1], 0), .init("\(root).glora_B.X", [8, 1], value), .init("\(root).glora_C.zeros", [8, 1], 0),
                .init("\(root).glora_D.zeros", [8], 0), .init("\(root).glora_E.zeros", [8], 0),
            ], to: folder.path("a/adapter_model.safetensors"))
        try TestFile.write(
            #"{"peft_type": "GLORA", "r": 2, "config_A_B": "vector", "config_C": "vector", "config_D_E": "vector", "target_modules": ["q_proj"]}"#,
            to: folder.path("a/adapter_config.json"))
        #expect(try Self.errors(folder.path("a")).map(\.rule) == (value == 0 ? ["untrained"] : []))
    }

    /// Zeros everywhere, in methods whose formula does not say what becomes of a module then.
    @Test(arguments: ["psoft", "lily"]) func anAdapterOfZeros(_ fixture: String) throws {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("merge/\(fixture)/adapter"), in: folder.path("a"))
        for index in adapter.tensors.indices { adapter.tensors[index] = adapter.tensors[index].zeroed }
        try adapter.write()
        #expect(try Self.errors(adapter.path).map(\.rule) == ["untrained"])
    }
}

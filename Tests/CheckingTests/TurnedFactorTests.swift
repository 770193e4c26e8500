import ByteAccess
import Checking
import Checkpoints
import Foundation
import TestSupport
import Testing

/// Genuine files of other trainers in which the header gives one tensor the first two dimensions the other way round. The partner's rank says
/// so without a base; that a convolution of theirs has no groups is in `LoRAModule.__init__` of networks/lora.py in sd-scripts, where both
/// factors have the whole rank, and `LoConModule.__init__` of lycoris/modules/locon.py, whose lora_down has the inputs of one group.
@Suite struct TurnedFactorTests {
    static let cases: [(fixture: String, ending: String)] = [
        ("mlx-lora", "down_proj.lora_a"), ("mlx-lora", "down_proj.lora_b"), ("mlx-dora", "q_proj.lora_a"), ("mlx-dora", "q_proj.lora_b"),
        ("diffusers-lora-old", "to_q_lora.down.weight"), ("diffusers-lora-old", "to_q_lora.up.weight"),
        ("diffusers-lora", "conv1.lora_A.weight"), ("diffusers-lora", "conv1.lora_B.weight"), ("diffusers-lora", "to_q.lora_A.weight"),
        ("kohya-lora", "conv1.lora_down.weight"), ("kohya-lora", "conv1.lora_up.weight"), ("kohya-lora", "to_k.lora_down.weight"),
        ("lycoris-locon", "conv1.lora_down.weight"), ("lycoris-lokr-cp", "time_emb_proj.lokr_w2_a"),
        ("lycoris-lokr-cp", "time_emb_proj.lokr_w2_b"), ("lycoris-loha", "conv1.hada_w1_a"), ("lycoris-loha", "conv1.hada_w2_b"),
    ]

    /// - Returns: the tensor that was turned.
    static func turn(_ ending: String, of fixture: String, to path: String) throws -> String {
        try FileManager.default.copyItem(atPath: Fixtures.path("dialects/\(fixture)/adapter"), toPath: path)
        let names = try FileManager.default.contentsOfDirectory(atPath: path)
        let file = "\(path)/\(try #require(names.first { $0.hasSuffix(".safetensors") }))"
        let bytes = try TestFile.bytes(file)
        let length = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        var header = try #require(JSONSerialization.jsonObject(with: Data(bytes[8..<(8 + length)])) as? [String: Any])
        let tensor = try #require(header.keys.filter { $0.hasSuffix(ending) }.min())
        var entry = try #require(header[tensor] as? [String: Any])
        var shape = try #require(entry["shape"] as? [Int])
        try #require(shape[0] != shape[1])
        shape.swapAt(0, 1)
        entry["shape"] = shape
        header[tensor] = entry
        var text = Array(try JSONSerialization.data(withJSONObject: header))
        while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
        let size = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) }
        try TestFile.write(size + text + bytes[(8 + length)...], to: file)
        return tensor
    }

    @Test(arguments: cases) func aTurnedFactorIsNamed(_ fixture: String, _ ending: String) throws {
        let folder = try TemporaryDirectory()
        let tensor = try Self.turn(ending, of: fixture, to: folder.path("a"))
        let base = try Checkpoint.open(Fixtures.path("dialects/\(fixture)/base"))
        for options in [CheckOptions(base: base), CheckOptions()] {
            let errors = try Checker(options: options).check(folder.path("a")).findings.filter { $0.severity == .error }
            #expect(errors.map(\.rule) == ["transposed"])
            #expect(errors.map(\.tensor) == [ExactString(tensor)])
        }
    }
}

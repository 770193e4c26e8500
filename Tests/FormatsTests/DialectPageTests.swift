import Adapters
import ByteAccess
import Checkpoints
import Tensors
import TestSupport
import Testing

/// The pages of dialects against the code: every example is written to a file and read.
@Suite struct DialectPageTests {
    static let pages = [
        "kohya.md", "lycoris.md", "diffusers.md", "mlx.md", "gguf-adapter.md", "xlabs.md", "torchtune.md", "adapterhub.md", "loralib.md",
    ]

    @Test(arguments: pages) func examplesAreReadAsThePageSays(_ name: String) throws {
        let examples = try FormatPage(name).examples.filter { $0.kind == "dialect" }
        #expect(!examples.isEmpty)
        #expect(examples.allSatisfy { $0.isAccepted || $0.isRejected })
        for example in examples {
            let document = try JSONValue.parse(Array(example.text.utf8), file: name)
            let directory = try TemporaryDirectory()
            let name = try Self.write(document, to: directory)
            let inspection = try Inspection(path: directory.path(name))
            if let rule = example.rule {
                #expect(inspection.warnings.contains { $0.contains("[\(rule)]") }, "\(example): \(inspection.warnings)")
                continue
            }
            #expect(inspection.warnings.isEmpty && inspection.unclaimed.isEmpty, "\(example): \(inspection.warnings)")
            #expect(inspection.dialect == document["dialect"]?.stringValue)
            let wanted = try #require(document["targets"]?.objectValue)
            #expect(Set(inspection.targets.map(\.module)) == Set(wanted.keys), "\(example)")
            for target in inspection.targets {
                let parts = try #require(wanted[target.module]?.arrayValue)
                #expect(target.method == parts[0].stringValue, "\(example): \(target)")
                #expect(target.rank == parts[1].intValue, "\(example): \(target)")
                #expect(target.alpha == parts[2].doubleValue, "\(example): \(target)")
                #expect(target.scale == parts[3].doubleValue, "\(example): \(target)")
            }
        }
    }

    /// The example as a file of F32, GGUF or safetensors: ones, or the number that stands for a scalar.
    private static func write(_ document: JSONValue, to directory: TemporaryDirectory) throws -> String {
        if document["dialect"]?.stringValue == "gguf" { return try writeGGUF(document, to: directory) }
        var header = "{"
        var data: [UInt8] = []
        if let metadata = document["metadata"] { header += "\"__metadata__\":\(metadata.serialized())," }
        let tensors = document["tensors"]?.objectValue?.members ?? []
        header += tensors.map { name, value in
            let shape = (value.arrayValue ?? []).compactMap(\.intValue)
            let number = Float(value.doubleValue ?? 1)
            let begin = data.count
            for _ in 0..<shape.reduce(1, *) { withUnsafeBytes(of: number.bitPattern.littleEndian) { data += $0 } }
            return "\"\(name)\":{\"dtype\":\"F32\",\"shape\":\(shape),\"data_offsets\":[\(begin),\(data.count)]}"
        }.joined(separator: ",") + "}"
        while header.utf8.count % 8 != 0 { header += " " }
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
        try directory.write(length + Array(header.utf8) + data, to: "adapter.safetensors")
        if let config = document["config"] { try directory.write(config.serialized(), to: "adapter_config.json") }
        return "adapter.safetensors"
    }

    private static func writeGGUF(_ document: JSONValue, to directory: TemporaryDirectory) throws -> String {
        var file = GGUFBuilder()
        for (key, value) in document["metadata"]?.objectValue?.members ?? [] {
            if let text = value.stringValue { file.add(key.text, text) } else { file.add(key.text, Float(value.doubleValue ?? 0)) }
        }
        for (name, value) in document["tensors"]?.objectValue?.members ?? [] {
            let shape = (value.arrayValue ?? []).compactMap(\.intValue)
            file.tensors.append(.init(
                name.text, shape.reversed().map { UInt64($0) }, GGUFBuilder.bytes([Float](repeating: 1, count: shape.reduce(1, *)))))
        }
        try directory.write(file.file(), to: "adapter.gguf")
        return "adapter.gguf"
    }

    /// The page's bytes are a file, and the numbers in it are those that the page says.
    @Test func theBytesOfAGGUFAdapterAreAFile() throws {
        let page = try FormatPage("gguf-adapter.md")
        let example = try #require(page.examples.first { $0.kind == "gguf-adapter" })
        let directory = try TemporaryDirectory()
        try directory.write(TorchPageTests.bytes(example.text), to: "adapter.gguf")
        let inspection = try Inspection(path: directory.path("adapter.gguf"))
        #expect(inspection.warnings.isEmpty && inspection.unclaimed.isEmpty)
        #expect(inspection.targets.map(\.module) == ["model.layers.0.self_attn.v_proj"])
        #expect(inspection.targets.first?.rank == 2 && inspection.targets.first?.scale == 2)
        let factors = try Adapter(path: directory.path("adapter.gguf")).checkpoint
        for (name, shape, count) in [("lora_a", [2, 3], 6), ("lora_b", [4, 2], 8)] {
            let tensor = try #require(factors[ExactString("blk.0.attn_v.weight.\(name)")])
            #expect(tensor.shape == shape)
            #expect(try Conversion.widened(factors.read(tensor), as: .f32, count: count) == (1...count).map(Double.init))
        }
    }
}

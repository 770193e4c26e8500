import Adapters
import ByteAccess
import Checkpoints
import TestSupport
import Testing

/// The pages of dialects against the code: every example is written to a file and read.
@Suite struct DialectPageTests {
    static let pages = ["kohya.md", "lycoris.md", "diffusers.md", "mlx.md", "other-lora.md"]

    @Test(arguments: pages) func examplesAreReadAsThePageSays(_ name: String) throws {
        let examples = try FormatPage(name).examples.filter { $0.kind == "dialect" }
        #expect(examples.count >= 3)
        #expect(examples.allSatisfy { $0.isAccepted || $0.isRejected })
        for example in examples {
            let document = try JSONValue.parse(Array(example.text.utf8), file: name)
            let directory = try TemporaryDirectory()
            try Self.write(document, to: directory)
            let inspection = try Inspection(path: directory.path("adapter.safetensors"))
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

    /// The example as a safetensors file of F32: ones, or the number that stands for a scalar.
    private static func write(_ document: JSONValue, to directory: TemporaryDirectory) throws {
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
    }
}

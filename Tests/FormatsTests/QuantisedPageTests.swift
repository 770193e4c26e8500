import ByteAccess
import Checkpoints
import Containers
import Tensors
import TestSupport
import Testing

/// The pages of quantised bases against the readers: every example is written to a file, opened, and its values compared.
@Suite struct QuantisedPageTests {
    static let schemes = ["bitsandbytes.md", "gptq.md", "awq.md", "fp8.md", "mxfp4.md", "compressed-tensors.md", "mlx-affine.md"]
    static let pages = schemes + ["quantised-bases.md"]

    @Test func everyRuleStandsOnThePage() throws {
        let page = try FormatPage("quantised-bases.md")
        #expect(page.boldNames == QuantisationRule.allCases.map(\.rawValue))
        let numbers = try page.text.matches(of: /(?m)^(\d+)\. \*\*/).compactMap { Int(String($0.1)) }
        #expect(numbers == Array(1...QuantisationRule.allCases.count))
    }

    @Test func everySchemeHasAPage() throws {
        let overview = try FormatPage("quantised-bases.md").text
        for page in Self.schemes { #expect(overview.contains("](\(page))"), "\(page)") }
        for scheme in QuantisationSchemes.all {
            #expect(scheme.methods.allSatisfy { $0 == "mlx" || $0.hasSuffix("bit") || overview.contains("`\($0)`") }, "\(scheme.name)")
        }
        // GGUF, whose files are no safetensors, has a page of its own (`GGUFPageTests`).
        #expect(QuantisationSchemes.all.count == Self.schemes.count + 1 && overview.contains("](gguf.md)"))
    }

    @Test(arguments: pages) func examplesAreRead(_ name: String) throws {
        let examples = try FormatPage(name).examples.filter { $0.kind == "dequantise" }
        #expect(examples.count >= 2 && (name == "quantised-bases.md" || examples.contains(where: \.isAccepted)))
        for example in examples {
            let document = try JSONValue.parse(Array(example.text.utf8), file: name)
            let directory = try TemporaryDirectory()
            try directory.write(try #require(document["config"]).serialized(), to: "config.json")
            try directory.write(try Self.file(try #require(document["tensors"]?.arrayValue)), to: "model.safetensors")
            let base = try Checkpoint.open(directory.path)
            if example.isRejected {
                let error = #expect(throws: PeftfileError.self) { _ = try base.requireReadableWeights() }
                #expect(error?.rule == example.rule, "\(name) \(example): \(error as Any)")
                #expect(example.rule == "QuantisationSettings" || error?.tensor != nil, "\(name) \(example)")
                continue
            }
            #expect(example.isAccepted, "\(name) \(example)")
            _ = try base.requireReadableWeights()
            let values = try #require(document["values"]?.objectValue)
            #expect(Set(base.tensors.map(\.name)) == Set(values.keys), "\(name) \(example)")
            for (weight, wanted) in values.members {
                let tensor = try #require(base[weight])
                let shape = (wanted["shape"]?.arrayValue ?? []).compactMap { $0.intValue }
                #expect(tensor.shape == shape, "\(name) \(example)")
                let found = try Conversion.widened(base.read(tensor), as: .f64, count: tensor.info.elementCount)
                let right = (wanted["values"]?.arrayValue ?? []).compactMap { $0.doubleValue }
                #expect(found == right, "\(name) \(example)")
            }
        }
    }

    private static func file(_ tensors: [JSONValue]) throws -> [UInt8] {
        var data: [UInt8] = []
        var list: [(name: ExactString, dtype: DType, shape: Shape)] = []
        // In the order in which the layout puts them.
        let parsed = try tensors.map { tensor -> (name: ExactString, dtype: DType, shape: Shape, bytes: [UInt8]) in
            let hex = Array(try #require(tensor["hex"]?.stringValue).utf8)
            let bytes = try stride(from: 0, to: hex.count, by: 2).map { start in
                try #require(UInt8(String(decoding: hex[start..<(start + 2)], as: UTF8.self), radix: 16))
            }
            let shape = (tensor["shape"]?.arrayValue ?? []).compactMap { $0.intValue }
            return (
                ExactString(try #require(tensor["name"]?.stringValue)),
                try #require(tensor["dtype"]?.stringValue.flatMap(DType.init(rawValue:))),
                shape, bytes
            )
        }
        for tensor in parsed {
            list.append((tensor.name, tensor.dtype, tensor.shape))
            data += tensor.bytes
        }
        let layout = try SafetensorsLayout(metadata: nil, tensors: list)
        var result = layout.headerBytes
        for info in layout.tensors {
            let tensor = parsed.first { $0.name == info.name }
            result += try #require(tensor).bytes
        }
        #expect(result.count == layout.headerBytes.count + data.count)
        return result
    }
}

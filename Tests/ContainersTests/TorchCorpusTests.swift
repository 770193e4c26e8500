import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Every file of the corpus against the verdicts that a reader may give, and the tensors that torch 2.15.0 saw.
@Suite struct TorchCorpusTests {
    /// A line of `manifest.jsonl`.
    struct Case: Sendable {
        let line: JSONObject
        var file: String { line["file"]?.stringValue ?? "?" }
        var allowed: [String] { (line["allowed"]?.arrayValue ?? []).compactMap(\.stringValue) }

        func bytes() throws -> [UInt8] {
            let isPacked = line["stored"]?.stringValue == "gzip"
            let bytes = try TestFile.bytes(Fixtures.path("containers/torch/files/\(file)\(isPacked ? ".gz" : "")"))
            return isPacked ? try Gzip.unpacked(bytes) : bytes
        }
    }

    static func cases() throws -> [Case] {
        try TestFile.text(Fixtures.path("containers/torch/manifest.jsonl")).split(separator: "\n").dropFirst().map {
            guard case .object(let line) = try JSONValue.parse(Array($0.utf8)) else {
                throw TestSupportError("a line of the manifest is no object")
            }
            return Case(line: line)
        }
    }

    /// The rules that a refusal may stand under; a hostile file that is refused for an unforeseen reason shows here.
    static let rules = Set(
        ZipRule.allCases.map(\.rawValue) + TorchRule.allCases.map(\.rawValue) + ForeignFile.rules
            + SafetensorsRule.allCases.map(\.rawValue) + ["UnknownContainer"])

    @Test func everyFileGetsAnAllowedVerdict() throws {
        let directory = try TemporaryDirectory()
        let cases = try Self.cases()
        #expect(cases.count == 374)
        var accepted: [String] = []
        for item in cases {
            let bytes = try item.bytes()
            try #require(SHA256.hex(SHA256.hash(bytes)) == item.line["sha256"]?.stringValue, "\(item.file)")
            let path = try directory.write(bytes, to: "file.bin")
            do {
                let file = try ContainerKind.open(path)
                accepted.append(item.file)
                #expect(item.allowed.contains("ACCEPT"), "\(item.file) was accepted")
                try Self.compare(file, item)
            } catch let error as PeftfileError {
                #expect(item.allowed.contains("REJECT"), "\(item.file): \(error)")
                #expect(error.rule.map(Self.rules.contains) == true, "\(item.file): \(error)")
                #expect(error.file == path, "\(item.file): \(error)")
                #expect(!error.description.utf8.contains { $0 < 0x20 }, "\(item.file)")
            }
        }
        #expect(!FileSystem.exists("peftfile-canary"))
        // Every file that must be accepted, and 44 of those where both verdicts are allowed, one of them a GGUF file.
        #expect(accepted.count == 71)
    }

    /// Names, dtypes, shapes and bytes against what torch loaded.
    private static func compare(_ file: any TensorFile, _ item: Case) throws {
        guard let expected = item.line["tensors"]?.arrayValue else { return }
        var names: Set<ExactString> = []
        for tensor in expected {
            let path = (tensor["path"]?.arrayValue ?? []).map { part -> String in
                if let text = part.stringValue { return text }
                return part.uint64Value.map { String($0) } ?? "?"
            }
            let name = ExactString(path.joined(separator: "."))
            names.insert(name)
            guard let info = file.tensors.first(where: { $0.name == name }) else {
                Issue.record("\(item.file): no tensor \(name)")
                continue
            }
            #expect(info.dtype.rawValue == tensor["dtype"]?.stringValue, "\(item.file): \(name)")
            #expect(info.shape == tensor["shape"]?.arrayValue?.compactMap(\.intValue), "\(item.file): \(name)")
            guard let digest = tensor["sha256"]?.stringValue, info.byteCount < 1 << 26 else { continue }
            var bytes = [UInt8](repeating: 0, count: Int(info.byteCount))
            do {
                try bytes.withUnsafeMutableBytes { try file.read(info, at: 0, into: $0) }
                #expect(SHA256.hex(SHA256.hash(bytes)) == digest, "\(item.file): \(name)")
            } catch let error as PeftfileError where error.rule == ZipRule.crc.rawValue {
                #expect(item.allowed.contains("REJECT"), "\(item.file): \(error)")
            }
        }
        #expect(names.count == file.tensors.count, "\(item.file)")
    }
}

import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Every file of the corpus against the verdict of the reference reader, safetensors 0.8.0.
@Suite struct SafetensorsCorpusTests {
    /// A line of `manifest.jsonl`.
    struct Case: Sendable, CustomTestStringConvertible {
        let line: JSONObject
        var file: String { line["file"]?.stringValue ?? "?" }
        var name: String { line["case"]?.stringValue ?? file }
        var testDescription: String { file }
        func strings(_ key: ExactString) -> [String] { (line[key]?.arrayValue ?? []).compactMap(\.stringValue) }
    }

    static func cases() throws -> [Case] {
        try TestFile.text(Fixtures.path("containers/safetensors/manifest.jsonl")).split(separator: "\n").dropFirst().map
        {
            guard case .object(let line) = try JSONValue.parse(Array($0.utf8)) else {
                throw TestSupportError("a line of the manifest is no object")
            }
            return Case(line: line)
        }
    }

    /// Files that the reference reader lets pass or refuses later, and that we refuse under a rule of our own: what the
    /// format's text demands. The value is our rule.
    static func ownRule(_ item: Case) -> String? {
        let quirks = item.strings("quirks")
        if quirks.contains("dup_tensor_key") || quirks.contains("dup_metadata_key") { return "DuplicateKey" }
        if quirks.contains("leading_whitespace") { return "LeadingWhitespace" }
        if quirks.contains(where: ["info_is_array", "dtype_is_map"].contains) {
            return "InvalidHeaderDeserialization"
        }
        return [
            "dup_tensor_key_last_loses": "DuplicateKey", "file_is_zip": "ZipArchive", "file_is_gguf": "GGUF",
            "file_is_lfs_pointer": "GitLFSPointer", "file_is_html": "HTMLPage", "file_is_pickle": "Pickle",
            // Mutants with two faults, of which the one that only we see comes first.
            "mut_0118.safetensors": "DuplicateKey", "mut_0229.safetensors": "DuplicateKey",
            "mut_0256.safetensors": "InvalidHeaderDeserialization", "mut_0390.safetensors": "LeadingWhitespace",
        ][item.name]
    }

    @Test func theWholeCorpusIsHere() throws {
        let cases = try Self.cases()
        #expect(cases.count == 631)
        #expect(Set(cases.map { ExactString($0.file) }).count == 631)
    }

    @Test func everyFileGetsAnAllowedVerdict() throws {
        let directory = try TemporaryDirectory()
        var accepted = 0
        var refused = 0
        for item in try Self.cases() {
            let isPacked = item.line["stored"]?.stringValue == "gzip"
            var bytes = try TestFile.bytes(
                Fixtures.path("containers/safetensors/files/\(item.file)\(isPacked ? ".gz" : "")"))
            if isPacked { bytes = try Gzip.unpacked(bytes) }
            try #require(SHA256.hex(SHA256.hash(bytes)) == item.line["sha256"]?.stringValue, "\(item.file)")
            let path = try directory.write(bytes, to: "file.safetensors")

            let allowed = item.strings("allowed")
            do {
                let file = try SafetensorsFile.open(path)
                accepted += 1
                #expect(allowed.contains("ACCEPT"), "\(item.file) was accepted")
                #expect(Self.ownRule(item) == nil, "\(item.file) was accepted")
                // The truth of the reference reader, by its hash.
                let start = file.headerBytes.upperBound
                #expect(
                    Self.digest(file.tensors, start: start) == item.line["tensors_sha256"]?.stringValue, "\(item.file)")
                #expect(Int(start) - 8 == item.line["header_len"]?.intValue, "\(item.file)")
                if let metadata = item.line["metadata"]?.objectValue {
                    let ours = (file.metadata ?? []).map { "\($0.key.text)=\($0.value)" }
                    #expect(
                        ours.sorted()
                            == metadata.members.map { "\($0.key.text)=\($0.value.stringValue ?? "")" }.sorted())
                }
                for tensor in file.tensors { #expect(file[tensor.name] == tensor, "\(item.file)") }
            } catch let error as PeftfileError {
                refused += 1
                #expect(allowed.contains("REJECT"), "\(item.file): \(error)")
                let rules = Self.ownRule(item).map { [$0] } ?? item.strings("error_classes")
                #expect(error.rule.map(rules.contains) == true, "\(item.file): \(error), not \(rules)")
                #expect(error.file == path, "\(item.file): \(error)")
                #expect(!error.description.utf8.contains { $0 < 0x20 }, "\(item.file)")
            }
        }
        #expect(accepted + refused == 631)
        // 165 files must be accepted. Of those where both verdicts are allowed we accept two: the one with an unknown
        // key twice, because unknown keys are not ours to judge, and `"__metadata__":null`, because MLX writes it.
        #expect(accepted == 167)
    }

    /// SHA-256 of the compact JSON [[name, dtype, shape, begin, end], ...], as corpus/README.md defines it.
    static func digest(_ tensors: [TensorInfo], start: UInt64) -> String {
        var json = Array("[".utf8)
        for (index, tensor) in tensors.enumerated() {
            if index > 0 { json.append(UInt8(ascii: ",")) }
            json.append(UInt8(ascii: "["))
            JSONValue.appendQuoted(tensor.name.text, to: &json)
            let shape = tensor.shape.unsignedDimensions.map(String.init).joined(separator: ",")
            json += Array(
                ",\"\(tensor.dtype.rawValue)\",[\(shape)],\(tensor.begin - start),\(tensor.end - start)]".utf8)
        }
        json.append(UInt8(ascii: "]"))
        return SHA256.hex(SHA256.hash(json))
    }
}

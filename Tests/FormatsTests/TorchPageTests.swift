import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// `Formats/torch.md` against the reader.
@Suite struct TorchPageTests {
    let page: FormatPage
    init() throws { page = try FormatPage("torch.md") }

    /// The bytes at the heads of the lines; a comment begins with what is no pair of hexadecimal digits.
    static func bytes(_ text: String) -> [UInt8] {
        text.split(separator: "\n").flatMap { line in
            var bytes: [UInt8] = []
            for word in line.split(separator: " ") {
                guard word.utf8.count == 2, let byte = UInt8(word, radix: 16) else { break }
                bytes.append(byte)
            }
            return bytes
        }
    }

    @Test func thePicklesReadAsThePageSays() throws {
        #expect(page.examples.count >= 15)
        let directory = try TemporaryDirectory()
        for example in page.examples {
            #expect(example.kind == "torch-pickle" && (example.isAccepted || example.isRejected), "\(example)")
            let storage = (0..<24).map { UInt8($0) }
            let path = try directory.write(
                ZipFile.archive([.init("a/data.pkl", Self.bytes(example.text)), .init("a/data/0", storage)]), to: "f")
            do {
                let file = try TorchFile.open(path)
                #expect(example.isAccepted, "\(example)")
                for tensor in file.tensors {
                    #expect(tensor.name == "w" && tensor.shape == [2, 3] && tensor.dtype == .f32, "\(example)")
                    var bytes = [UInt8](repeating: 0, count: 24)
                    try bytes.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
                    #expect(bytes == storage)
                }
            } catch let error as PeftfileError {
                #expect(error.rule == example.rule, "\(example): \(error)")
            }
        }
        // The first example has a tensor.
        let first = try directory.write(
            ZipFile.archive([
                .init("a/data.pkl", Self.bytes(page.examples[0].text)), .init("a/data/0", [UInt8](repeating: 0, count: 24)),
            ]), to: "f")
        #expect(try TorchFile.open(first).tensors.count == 1)
    }

    @Test func everyRuleStandsOnThePage() {
        for rule in ZipRule.allCases { #expect(page.names(rule.rawValue), "\(rule.rawValue)") }
        for rule in TorchRule.allCases { #expect(page.names(rule.rawValue), "\(rule.rawValue)") }
        let known = Set(ZipRule.allCases.map(\.rawValue) + TorchRule.allCases.map(\.rawValue))
        #expect(page.boldNames.filter(known.contains).count == known.count)
    }
}

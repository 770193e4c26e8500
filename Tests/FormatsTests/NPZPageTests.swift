import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// `Formats/npz.md` against the reader.
@Suite struct NPZPageTests {
    let page: FormatPage
    init() throws { page = try FormatPage("npz.md") }

    @Test func theArraysReadAsThePageSays() throws {
        #expect(page.examples.count >= 14)
        #expect(page.examples.count(where: \.isAccepted) == 3)
        let directory = try TemporaryDirectory()
        let numbers = (0..<6).flatMap { number in withUnsafeBytes(of: Float(number).bitPattern.littleEndian) { Array($0) } }
        for example in page.examples {
            #expect(example.kind == "npy" && (example.isAccepted || example.isRejected), "\(example)")
            for isDeflated in [false, true] {
                let path = try directory.write(
                    ZipFile.archive([.init("w.npy", TorchPageTests.bytes(example.text), isDeflated: isDeflated)]), to: "f")
                do {
                    let file = try ContainerKind.open(path)
                    #expect(file.kind == .npz && example.isAccepted, "\(example)")
                    #expect(file.tensors.map(\.name) == ["w"] && file.tensors[0].shape == [2, 3] && file.tensors[0].dtype == .f32)
                    var bytes = [UInt8](repeating: 0, count: 24)
                    try bytes.withUnsafeMutableBytes { try file.read(file.tensors[0], at: 0, into: $0) }
                    #expect(bytes == numbers, "\(example)")
                } catch let error as PeftfileError {
                    #expect(error.rule == example.rule, "\(example): \(error)")
                    #expect(error.tensor == "w" && error.file == path, "\(error)")
                }
            }
        }
    }

    @Test func everyRuleStandsOnThePage() {
        for rule in NPZRule.allCases { #expect(page.names(rule.rawValue), "\(rule.rawValue)") }
        let known = Set(NPZRule.allCases.map(\.rawValue))
        #expect(page.boldNames.filter(known.contains).count == known.count)
        // Every reason to refuse an array is shown.
        #expect(Set(page.examples.compactMap(\.rule)) == known.subtracting(["NPZEntry"]))
    }
}

import ByteAccess
import Checkpoints
import Containers
import Tensors
import TestSupport
import Testing

/// `Formats/gguf.md` against the reader.
@Suite struct GGUFPageTests {
    let page: FormatPage
    init() throws { page = try FormatPage("gguf.md") }

    @Test func theFilesReadAsThePageSays() throws {
        let directory = try TemporaryDirectory()
        let files = page.examples.filter { $0.kind == "gguf" }
        var contents = page.examples.filter { $0.kind == "gguf-content" }[...]
        #expect(files.count >= 14 && contents.count >= 2 && files.count + contents.count == page.examples.count)
        for example in files {
            let path = try directory.write(TorchPageTests.bytes(example.text), to: "f")
            do {
                let file = try GGUFFile.open(path)
                #expect(example.isAccepted, "\(example)")
                let next = contents.popFirst()
                let content = try JSONValue.parse(Array(try #require(next).text.utf8), file: "page")
                let metadata = try #require(content["metadata"]?.objectValue)
                #expect(file.metadata?.map(\.key) == metadata.members.map(\.key), "\(example)")
                for (key, value) in file.metadata ?? [] { #expect(metadata[key]?.stringValue == value, "\(example) \(key)") }
                let checkpoint = try Checkpoint.open(path, entire: true)
                let tensors = try #require(content["tensors"]?.objectValue)
                #expect(checkpoint.tensors.count == tensors.members.count)
                for (name, wanted) in tensors.members {
                    let tensor = try #require(checkpoint[name])
                    #expect(tensor.shape == (wanted["shape"]?.arrayValue ?? []).compactMap(\.intValue), "\(example) \(name)")
                    let values = try Conversion.widened(checkpoint.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
                    #expect(values == (wanted["values"]?.arrayValue ?? []).compactMap(\.doubleValue), "\(example) \(name)")
                }
            } catch let error as PeftfileError {
                #expect(example.isRejected && error.rule == example.rule, "\(example): \(error)")
            }
        }
        #expect(contents.isEmpty)
        #expect(Set(files.compactMap(\.rule)) == Set(GGUFRule.allCases.map(\.rawValue)))
    }

    @Test func everyRuleStandsOnThePage() {
        let rules = GGUFRule.allCases.map(\.rawValue) + GGUFModelRule.allCases.map(\.rawValue)
        for rule in rules + ["GGUFNumber", "GGUFOutputType", "OutputForm"] { #expect(page.names(rule), "\(rule)") }
        #expect(page.boldNames.filter(rules.contains).count == rules.count)
    }

    /// The table of blocks against the types.
    @Test func theTableHasTheBlocks() {
        for type in GGUFType.allCases where type.dtype == nil && page.text.contains("| \(type.name) | ") {
            #expect(page.text.contains("| \(type.name) | \(type.rawValue) | \(type.blockElements), \(type.blockBytes) |"), "\(type.name)")
        }
        #expect(GGUFType.allCases.filter { page.text.contains("| \($0.name) | \($0.rawValue) |") }.count == 9)
    }
}

import Foundation
import TestSupport
import Testing

/// Every file of the corpus through the binary, as a stranger's file would come: each by `inspect` and by `convert`, as a process of its
/// own, in an empty directory that stays empty.
///
/// The rules are those of the corpus: the process ends by itself, with a status that is one of those its line in the manifest allows;
/// a refusal is one line on stderr that names the file, without control characters; at most 256 MiB resident and 2 s of processor;
/// nothing is made but the named output, and that only where the file was accepted.
@Suite struct CorpusTests {
    struct Part: Sendable, CustomTestStringConvertible {
        var folder: String
        var number: Int
        var testDescription: String { "\(folder) \(number)" }
    }

    private struct Case {
        var file: String
        var allowed: [String]
        var isPacked: Bool
    }

    private static let parts = 8
    private static let isFree = Sanitizer.lifts("what each file of the corpus may take of memory and time")
    private static let residentLimit = isFree ? Int.max : 256 << 20
    // Unoptimised parsers take many times as long for the files that are made to take long; `make corpus` runs the optimised ones.
    #if DEBUG
    private static let secondsLimit = isFree ? 300.0 : 60.0
    #else
    private static let secondsLimit = isFree ? 300.0 : 2.0
    #endif
    static let all = ["safetensors", "torch"].flatMap { folder in (0..<parts).map { Part(folder: folder, number: $0) } }

    private static func cases(_ folder: String) throws -> [Case] {
        try TestFile.text(Fixtures.path("containers/\(folder)/manifest.jsonl")).split(separator: "\n").dropFirst().map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            let file = try #require(object?["file"] as? String)
            return Case(
                file: file, allowed: try #require(object?["allowed"] as? [String]), isPacked: object?["stored"] as? String == "gzip")
        }
    }

    @Test func theCorpusHas1005Files() throws {
        #expect(try Self.cases("safetensors").count + Self.cases("torch").count == 1005)
    }

    @Test(arguments: all) func everyFileGetsItsVerdict(_ part: Part) throws {
        let inputs = try TemporaryDirectory()
        let here = try TemporaryDirectory()
        let outputs = try TemporaryDirectory()
        for (index, item) in try Self.cases(part.folder).enumerated() where index % Self.parts == part.number {
            let stored = Fixtures.path("containers/\(part.folder)/files/\(item.file)")
            var bytes = try TestFile.bytes(stored + (item.isPacked ? ".gz" : ""))
            if item.isPacked { bytes = try Gzip.unpacked(bytes) }
            let input = try inputs.write(bytes, to: item.file)
            for command in [["inspect", input], ["convert", input, "-o", outputs.path("out")]] {
                let (result, usage) = try Tool.measure(command, in: here.path, deadline: 300)
                let comment: Comment = "\(command[0]) \(item.file): \(result.status) \(result.errors)\(usage)"
                let output = try outputs.names()
                switch result.status {
                case 0:
                    #expect(item.allowed.contains("ACCEPT"), comment)
                    #expect(result.errors.split(separator: "\n").allSatisfy { $0.hasPrefix("peftfile: warning:") }, comment)
                    #expect(output == (command[0] == "convert" ? ["out"] : []), comment)
                case 2:
                    #expect(item.allowed.contains("REJECT"), comment)
                    let lines = result.errors.split(separator: "\n")
                    #expect(lines.filter { !$0.hasPrefix("peftfile: warning:") }.count == 1 && result.errors.contains(item.file), comment)
                    #expect(result.output.isEmpty && output.isEmpty, comment)
                default: Issue.record(comment)
                }
                let isClean = (result.output + result.errors).unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 0x20 && $0.value != 0x7F }
                #expect(isClean, comment)
                #expect(usage.resident <= Self.residentLimit && usage.processorSeconds <= Self.secondsLimit, comment)
                #expect(try here.names().isEmpty, comment)
                if !output.isEmpty { try FileManager.default.removeItem(atPath: outputs.path("out")) }
            }
            #expect(try TestFile.bytes(input) == bytes, "\(item.file) was written to")
            try FileManager.default.removeItem(atPath: input)
        }
    }
}

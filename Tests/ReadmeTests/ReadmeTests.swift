import Foundation
import TestSupport
import Testing

/// What README.md shows is what happens.
@Suite struct ReadmeTests {
    let readme: Readme

    init() throws { readme = try Readme() }

    /// Runs the page's commands from top to bottom in a directory where `Fixtures` is the repository's.
    @Test func commandsPrintWhatThePageShows() throws {
        let directory = try TemporaryDirectory()
        let files = FileManager.default
        try files.createSymbolicLink(
            atPath: directory.path("Fixtures"), withDestinationPath: "\(Fixtures.repository)/Fixtures")
        try files.createDirectory(atPath: directory.path(".build/demo"), withIntermediateDirectories: true)
        var status: Int32 = 0
        var count = 0
        for command in readme.commands {
            let words = command.line.split(separator: " ").map(String.init)
            var printed: [String]
            switch words.first {
            case "peftfile", ".build/release/peftfile":
                let result = try Tool.run(Array(words.dropFirst()), in: directory.path)
                status = result.status
                printed = (result.output + result.errors).split(separator: "\n", omittingEmptySubsequences: false)
                    .map(String.init).dropLast()
                count += 1
            case "echo":
                printed = ["\(status)"]
            case "make":
                continue
            default:
                Issue.record("nobody runs \(command.line)")
                continue
            }
            #expect(
                Readme.matches(printed[...], command.shown[...]),
                "\(command.line) prints\n\(printed.joined(separator: "\n"))")
        }
        #expect(count >= 6)
    }

    /// The demo's commands on the page are those of the Makefile.
    @Test func demoIsTheMakefiles() throws {
        var lines = try TestFile.text("\(Fixtures.repository)/Makefile").split(separator: "\n").map(String.init)
        for name in ["PEFTFILE", "CASE"] {
            let value = try #require(lines.first { $0.hasPrefix("\(name) = ") }).dropFirst(name.count + 3)
            lines = lines.map { $0.replacing("$(\(name))", with: value) }
        }
        let demo = readme.commands.map(\.line).filter { $0.hasPrefix(".build/release/peftfile ") }
        #expect(demo.count == 2)
        for command in demo { #expect(lines.contains("\t\(command)"), "\(command)") }
    }

    /// The figures of speed are those of the record in Benchmarks.
    @Test func figuresAreThoseOfTheRecord() throws {
        let record = try TestFile.text("\(Fixtures.repository)/Benchmarks/README.md").split(separator: "\n")
        func median(_ row: String) throws -> String {
            let line = try #require(record.first { $0.hasPrefix(row + "  ") })
            return String(try #require(line.dropFirst(row.count).split(separator: " ").first))
        }
        let text = readme.text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        let ratio = try median("durable merge r=16 --no-hash / (cp + sync), wall")
        #expect(text.contains("takes \(ratio) times as long as `cp` and `sync`"))
        #expect(text.contains("in \(try median("peak RSS, merge a --no-hash")) MiB of memory"))
    }

    @Test func libraryExampleCompiles() throws {
        let compiled = try TestFile.text("\(Fixtures.repository)/Tests/ReadmeTests/LibraryExample.swift")
        #expect(readme.blocks.filter { $0.language == "swift" }.map(\.text) == [compiled])
    }

    @Test func libraryExampleWorks() throws {
        let directory = try TemporaryDirectory()
        let merge = Fixtures.path("merge/lora-sharded-bf16")
        #expect(
            try mergeAndVerify(base: "\(merge)/base", adapter: "\(merge)/adapter", into: directory.path("merged")))
    }

    @Test func linksLeadSomewhere() throws {
        let links = readme.text.matches(of: /\]\(([^)#]+)\)/).map { String($0.1) }
        #expect(links.count >= 8)
        for link in links where !link.hasPrefix("https://") {
            #expect(FileManager.default.fileExists(atPath: "\(Fixtures.repository)/\(link)"), "\(link)")
        }
    }
}

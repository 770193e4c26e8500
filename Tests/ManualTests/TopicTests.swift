import Foundation
@testable import PeftfileCommands
import TestSupport
import Testing

/// The topics of `peftfile help`, and `man/peftfile-*.7`, which is written from them.
///
/// After a change of a topic `PEFTFILE_RECORD=1 swift test --disable-xctest --filter TopicTests` writes its page anew.
@Suite struct TopicTests {
    static let names = HelpTopic.all.map(\.name)

    @Test(arguments: names) func pageIsWhatTheTopicSays(_ name: String) throws {
        let topic = try #require(HelpTopic.named(name))
        let path = "\(Fixtures.repository)/man/peftfile-\(name).7"
        let written = try? TestFile.text(path)
        let date = written?.firstMatch(of: /^\.Dd (.+)/).map { String($0.1) } ?? "November 28, 2026"
        if ProcessInfo.processInfo.environment["PEFTFILE_RECORD"] != nil {
            try TestFile.write(topic.manual(date: date), to: path)
        } else {
            #expect(written == topic.manual(date: date), "PEFTFILE_RECORD=1 swift test --disable-xctest --filter TopicTests")
        }
    }

    @Test func everyPageHasItsTopic() throws {
        let pages = try FileManager.default.contentsOfDirectory(atPath: "\(Fixtures.repository)/man").filter { $0.hasSuffix(".7") }
        #expect(Set(pages) == Set(Self.names.map { "peftfile-\($0).7" }))
        let index = try ManualPage("peftfile").section("SEE ALSO")
        for name in Self.names { #expect(index.contains { $0.hasPrefix(".Xr peftfile-\(name) 7") }) }
    }

    @Test(arguments: names) func helpPrintsIt(_ name: String) throws {
        let result = try Tool.run(["help", name])
        #expect(result.status == 0 && result.errors.isEmpty)
        #expect(result.output == HelpTopic.named(name)?.text())
        for line in result.output.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
        #expect(try Tool.run(["help", "topics"]).output.contains("  \(name) "))
        #expect(try Tool.run(["--help"]).output.contains(name))
    }

    /// Words that are no topic are a command's, or nothing's.
    @Test func helpOfCommandsIsTheParsers() throws {
        #expect(try Tool.run(["help", "merge"]).output == Tool.run(["merge", "--help"]).output)
        let unknown = try Tool.run(["help", "nothing"])
        #expect(unknown.status == 2 && unknown.output.isEmpty)
        for name in Self.names + ["merge"] { #expect(unknown.errors.contains(name)) }
    }

    // MARK: What the topics say is so

    private static func terms(_ topic: HelpTopic) -> [String] {
        topic.blocks.flatMap { block -> [String] in
            if case .list(let items) = block { return items.map(\.term) }
            return []
        }
    }

    /// The variables that the sources read, the topic and the manual are the same.
    @Test func everyVariableIsNamed() throws {
        var read: Set<String> = []
        let sources = "\(Fixtures.repository)/Sources"
        for path in try FileManager.default.subpathsOfDirectory(atPath: sources) where path.hasSuffix(".swift") || path.hasSuffix(".c") {
            for line in try TestFile.text("\(sources)/\(path)").split(separator: "\n")
            where line.contains("getenv") || line.contains("environment") {
                for match in line.matches(of: /"([A-Z][A-Z_]+)"/) { read.insert(String(match.1)) }
            }
        }
        #expect(read.isSuperset(of: ["PEFTFILE_CPU", "HF_HOME", "NO_COLOR"]))
        #expect(Set(Self.terms(HelpTopic.environment)) == read)
        let manual = try ManualPage("peftfile").section("ENVIRONMENT").joined(separator: "\n")
        for name in read where name != "HOME" { #expect(manual.contains(name), "\(name)") }
    }

    @Test func everyStatusIsNamed() throws {
        let manual = try ManualPage("peftfile").section("EXIT STATUS").filter { $0.hasPrefix(".It ") }
            .flatMap { $0.split { " ,".contains($0) }.compactMap { Int($0) } }
        #expect(Self.terms(HelpTopic.exitStatus).compactMap { Int($0) } == manual)
    }
}

import Foundation
import TestSupport
import Testing

/// `Formats/README.md` lists the pages of its folder, each once.
@Suite struct IndexPageTests {
    @Test func indexListsEveryPageOnce() throws {
        let index = try TestFile.text(Fixtures.format("README.md"))
        let listed = index.matches(of: /(?m)^\| \[([\w-]+)\]\(([\w-]+\.md)\) \| [^|]+ \|$/).map { (title: String($0.1), file: String($0.2)) }
        let files = try FileManager.default.contentsOfDirectory(atPath: Fixtures.format("")).filter { $0 != "README.md" }
        #expect(listed.map(\.file).sorted() == files.sorted())
        for (title, file) in listed { #expect(file == title + ".md") }
    }

    /// Every link between the pages, and from them to the sources.
    @Test func linksLeadSomewhere() throws {
        for file in try FileManager.default.contentsOfDirectory(atPath: Fixtures.format("")) {
            for link in try TestFile.text(Fixtures.format(file)).matches(of: /\]\(([^)#:\s]+)(?:#[^)]*)?\)/).map({ String($0.1) }) {
                let path = Fixtures.format(link)
                #expect(FileManager.default.fileExists(atPath: path), "\(file): \(link)")
            }
        }
    }

    /// A tool is compared as it was at a commit, by every table that speaks of it.
    @Test func everyToolOfTheComparisonHasItsCommit() throws {
        let page = try TestFile.text(Fixtures.format("comparison.md"))
        let commits = page.matches(of: /(?m)^\| \[([\w.-]+)\]\(https:[^)]+\) \| `([0-9a-f]{8})`/)
        let tools = Set(commits.map { String($0.1) })
        #expect(tools.count == 8)
        let readme = try TestFile.text("\(Fixtures.repository)/README.md")
        let header = try #require(readme.split(separator: "\n").first { $0.hasPrefix("| | peftfile |") })
        let columns = header.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
        #expect(Set(columns.dropFirst()) == tools)
    }
}

import TestSupport

/// A page of `Formats/`, with its fenced examples.
struct FormatPage {
    /// A fenced block whose info string begins with `json`, or with `hex` for bytes.
    struct Example: CustomStringConvertible {
        /// The words behind `json`: the kind of the example, `accept` or `reject`, and the rule that is broken.
        let words: [String]
        let text: String
        let line: Int
        var kind: String { words.first ?? "" }
        var rule: String? { words.count > 2 ? words[2] : nil }
        var isAccepted: Bool { words.count == 2 && words[1] == "accept" }
        var isRejected: Bool { words.count == 3 && words[1] == "reject" }
        var description: String { "line \(line)" }
    }

    let text: String
    let examples: [Example]

    init(_ name: String) throws {
        text = try TestFile.text(Fixtures.format(name))
        var examples: [Example] = []
        var open: (words: [String], line: Int, lines: [Substring])?
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if let block = open {
                if line == "```" {
                    examples.append(
                        Example(words: block.words, text: block.lines.joined(separator: "\n"), line: block.line))
                    open = nil
                } else {
                    open?.lines.append(line)
                }
            } else if let opening = ["```json ", "```hex "].first(where: line.hasPrefix) {
                open = (line.dropFirst(opening.count).split(separator: " ").map(String.init), number + 1, [])
            }
        }
        guard open == nil else { throw TestSupportError("\(name): a block is not closed") }
        self.examples = examples
    }

    /// Whether the page names a rule in bold.
    func names(_ rule: String) -> Bool { text.contains("**\(rule)**") }

    /// The numbered rules of the page: every name in bold at the head of a rule or a table row, in the order of the
    /// page.
    var boldNames: [String] {
        var names: [String] = []
        for line in text.split(separator: "\n") {
            for (number, part) in line.split(separator: "**", omittingEmptySubsequences: false).enumerated()
            where number % 2 == 1 && !part.isEmpty
                && part.utf8.allSatisfy({ ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x7A || (0x30...0x39).contains($0) })
            {
                names.append(String(part))
            }
        }
        return names
    }
}

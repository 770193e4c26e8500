import TestSupport

/// README.md, with its fenced blocks.
struct Readme {
    struct Block {
        var language: String
        var lines: [String]
        var text: String { lines.map { $0 + "\n" }.joined() }
    }

    /// A command of a `console` block and what the page shows below it.
    struct Command {
        var line: String
        var shown: [String] = []
    }

    let text: String
    let blocks: [Block]

    init() throws {
        text = try TestFile.text("\(Fixtures.repository)/README.md")
        var blocks: [Block] = []
        var open: Block?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line.hasPrefix("```") {
                if let block = open { blocks.append(block) }
                open = open == nil ? Block(language: String(line.dropFirst(3)), lines: []) : nil
            } else {
                open?.lines.append(line)
            }
        }
        self.blocks = blocks
    }

    /// The commands of all `console` blocks, in order. What make runs is a command of its own.
    var commands: [Command] {
        var result: [Command] = []
        for line in blocks.filter({ $0.language == "console" }).flatMap(\.lines) {
            if line.hasPrefix("$ ") {
                result.append(Command(line: String(line.dropFirst(2))))
            } else if line.hasPrefix(".build/release/peftfile ") {
                result.append(Command(line: line))
            } else if !result.isEmpty {
                result[result.count - 1].shown.append(line)
            }
        }
        return result
    }

    /// Whether the lines printed are those shown, where `...` stands for any number of lines.
    static func matches(_ printed: ArraySlice<String>, _ shown: ArraySlice<String>) -> Bool {
        guard let first = shown.first else { return printed.isEmpty }
        if first == "..." {
            return printed.indices.contains { matches(printed[$0...], shown.dropFirst()) }
                || matches(printed[printed.endIndex...], shown.dropFirst())
        }
        return printed.first == first && matches(printed.dropFirst(), shown.dropFirst())
    }
}

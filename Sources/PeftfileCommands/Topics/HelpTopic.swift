/// A page of `peftfile help TOPIC`: what concerns every command. One file a topic, and one line in ``all``.
///
/// The same text is the manual page `peftfile-NAME(7)`, which a test writes.
struct HelpTopic: Sendable {
    /// A part of a page.
    enum Block: Sendable {
        case heading(String)
        case paragraph(String)
        /// Terms and what is said of each.
        case list([(term: String, text: String)])
        /// Lines to be typed, shown as they are.
        case example([String])
    }

    /// The word that is typed: `exit-status`.
    var name: String
    /// What it is about, in a few words.
    var abstract: String
    var blocks: [Block]

    static let all: [HelpTopic] = [formats, exitStatus, numerics, environment]

    static func named(_ name: String) -> HelpTopic? { all.first { $0.name == name } }
}

// MARK: The page on a terminal

extension HelpTopic {
    /// The page, in lines of at most `width` columns.
    func text(width: Int = 80) -> String {
        var parts = ["peftfile \(name): \(abstract)"]
        for block in blocks {
            switch block {
            case .heading(let title): parts.append(title.uppercased())
            case .paragraph(let text): parts.append(Text.wrapped(text, width: width))
            case .example(let lines): parts.append(lines.map { "    \($0)" }.joined(separator: "\n"))
            case .list(let items):
                let indent = min(24, (items.map(\.term.count).max() ?? 0) + 4)
                parts.append(items.map { HelpTopic.item($0.term, $0.text, indent: indent, width: width) }.joined(separator: "\n"))
            }
        }
        return parts.joined(separator: "\n\n") + "\n"
    }

    /// A term and its text beside it, or below where the term is too long.
    private static func item(_ term: String, _ text: String, indent: Int, width: Int) -> String {
        let lines = Text.wrapped(text, width: width - indent).split(separator: "\n").map(String.init)
        let margin = String(repeating: " ", count: indent)
        let head = "  \(term)"
        guard head.count + 2 <= indent, let first = lines.first else {
            return ([head] + lines.map { margin + $0 }).joined(separator: "\n")
        }
        let padding = String(repeating: " ", count: indent - head.count)
        return ([head + padding + first] + lines.dropFirst().map { margin + $0 }).joined(separator: "\n")
    }

    /// The list of all topics, as `peftfile help topics` prints it.
    static var index: String {
        let rows = all.map { item($0.name, $0.abstract, indent: 16, width: 80) }.joined(separator: "\n")
        return "Topics:\n\n\(rows)\n\nSee peftfile help TOPIC, or man peftfile-TOPIC.\n"
    }
}

// MARK: The manual page

extension HelpTopic {
    /// The page in mdoc(7), section 7.
    ///
    /// - Parameter date: as `.Dd` has it: `November 28, 2026`.
    func manual(date: String) -> String {
        var lines = [
            ".Dd \(date)", ".Dt PEFTFILE-\(name.uppercased()) 7", ".Os", ".Sh NAME", ".Nm peftfile-\(name)",
            ".Nd \(HelpTopic.escaped(abstract))",
        ]
        if case .heading = blocks.first {} else { lines.append(".Sh DESCRIPTION") }
        var follows = false
        for block in blocks {
            switch block {
            case .heading(let title):
                lines.append(".Sh \(title.uppercased())")
                follows = false
                continue
            case .paragraph(let text):
                if follows { lines.append(".Pp") }
                lines += HelpTopic.filled(text)
            case .list(let items):
                lines.append(".Bl -tag -width Ds")
                for item in items { lines += [".It \(HelpTopic.escaped(item.term))"] + HelpTopic.filled(item.text) }
                lines.append(".El")
            case .example(let commands):
                lines += [".Bd -literal -offset indent"] + commands.map(HelpTopic.escaped) + [".Ed"]
            }
            follows = true
        }
        lines += [".Sh SEE ALSO", ".Xr peftfile 1"]
        return lines.joined(separator: "\n") + "\n"
    }

    private static func filled(_ text: String) -> [String] {
        // mdoc wants each sentence to begin a line.
        var sentences: [String] = [""]
        for word in text.split(separator: " ") {
            let begins = sentences[sentences.count - 1].hasSuffix(".") && word.first?.isUppercase == true
            if begins { sentences.append(String(word)) } else { sentences[sentences.count - 1] += (sentences[sentences.count - 1].isEmpty ? "" : " ") + word }
        }
        return sentences.flatMap { Text.wrapped($0, width: 78).split(separator: "\n").map { escaped(String($0)) } }
    }

    /// Text in which roff finds no macro and no escape.
    private static func escaped(_ text: String) -> String {
        let plain = text.replacing("\\", with: "\\e")
        return plain.hasPrefix(".") || plain.hasPrefix("'") ? "\\&\(plain)" : plain
    }
}

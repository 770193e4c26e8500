import ArgumentParser

/// The completion scripts: those of ArgumentParser, which knows neither a command's second name nor the topics of `help`.
///
/// They are written for a root of their own, in which a second name is a command with the options of the first, and `help` takes a
/// word of a list. It is never parsed with.
struct CompletionRoot: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peftfile", version: RootCommand.version,
        subcommands: RootCommand.configuration.subcommands + [
            Fuse.self, Info.self, List.self, Help.self,
        ])

    /// The script for a shell.
    static func script(for shell: CompletionShell) -> String {
        let script = completionScript(for: shell)
        // The parser adds a `help` of its own to every root: named once more in lists, described once more, and a function that would
        // take the place of ours.
        let parts = script.ranges(of: "_peftfile_help() {")
        var text = script
        if parts.count > 1, let last = parts.last, let end = script[last.upperBound...].ranges(of: "\n}\n").first {
            text = String(script[..<last.lowerBound] + script[end.upperBound...])
        }
        return text.replacing(" help help'", with: " help'").replacing("|help|help)", with: "|help)")
            .split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.contains("Show subcommand help information.") }
            .map(withOwnText).joined(separator: "\n")
    }

    /// What `--no-…` does: the parser describes both forms of a flag with the words of the first.
    private static let inversions = [
        "no-hash": "Take no SHA-256 of output files.", "no-sync": "Give the output its name before its bytes are on disk.",
        "no-card": "Write no model card.",
    ]

    /// A line of a zsh or fish script that describes an inverted flag, with what that one does.
    private static func withOwnText(_ line: Substring) -> String {
        for (flag, text) in inversions {
            if let start = line.firstRange(of: "'--\(flag)[") { return "\(line[..<start.upperBound])\(text)]'" }
            if line.contains("-l '\(flag)'"), let start = line.firstRange(of: " -d '") { return "\(line[..<start.upperBound])\(text)'" }
        }
        return String(line)
    }

    /// What `--generate-completion-script` asks for; nil where the arguments ask for something else, or for a shell that is none.
    static func script(asked arguments: [String]) -> String? {
        let option = "--generate-completion-script"
        if arguments == [option] { return CompletionShell.autodetected().map(script) }
        let shell = arguments.count == 2 && arguments[0] == option ? arguments[1]
            : arguments.count == 1 && arguments[0].hasPrefix(option + "=") ? String(arguments[0].dropFirst(option.count + 1)) : nil
        return shell.flatMap { CompletionShell(rawValue: $0) }.map(script)
    }
}

/// `merge` under another name.
private struct Fuse: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "fuse", abstract: MergeCommand.configuration.abstract)

    @OptionGroup var command: MergeCommand
}

/// `inspect` under another name.
private struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "info", abstract: InspectCommand.configuration.abstract)

    @OptionGroup var command: InspectCommand
}

/// `inspect` under its third name.
private struct List: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ls", abstract: InspectCommand.configuration.abstract)

    @OptionGroup var command: InspectCommand
}

/// `peftfile help WORD`.
private struct Help: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "help", abstract: "Explain a command or a topic.")

    @Argument(
        help: "A command or a topic.",
        completion: .list(
            HelpWords.commands + ["topics"] + HelpTopic.all.map(\.name)))
    var word: String
}

private enum HelpWords {
    /// The commands by their first names.
    static let commands = RootCommand.configuration.subcommands.compactMap { $0.configuration.commandName }
}

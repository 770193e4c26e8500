import ArgumentParser
import CProcess
import Peftfile
import struct Synchronization.Atomic

/// `peftfile` itself: the list of verbs.
struct RootCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peftfile",
        abstract: "Reads, checks, merges, strips, converts, proves and compares safetensors checkpoints and PEFT adapters.",
        discussion: "Topics of peftfile help: \(HelpTopic.all.map(\.name).joined(separator: ", ")).",
        version: version,
        subcommands: [
            InspectCommand.self, CheckCommand.self, MergeCommand.self, StripCommand.self, VerifyCommand.self,
            DiffCommand.self, ConvertCommand.self,
        ])
}

extension RootCommand {
    /// Version, commit, and the form of the kernels that this processor runs.
    static var version: String {
        let commit = String(cString: peftfile_commit())
        return "peftfile \(Receipt.toolVersion)\(commit.isEmpty ? "" : " (\(commit))"), kernels \(KernelPath.active.rawValue)"
    }
}

/// The program: parse, run, report, status.
public enum CommandLineTool {
    private static let verbs = RootCommand.configuration.subcommands.flatMap { ($0.configuration.commandName.map { [$0] } ?? []) + $0.configuration.aliases }

    /// The arguments of this process after its name.
    public static var arguments: [String] {
        let count = Int(peftfile_argument_count())
        guard count > 0 else { return Array(CommandLine.arguments.dropFirst()) }
        return (1..<max(1, count)).map { String(cString: peftfile_argument(Int32($0))) }
    }

    /// Runs the program with the arguments after its name.
    ///
    /// - Returns: the exit status: 0 done and clean, 1 findings, 2 could not do it, 129, 130 and 143 interrupted.
    public static func run(_ arguments: [String]) -> Int32 {
        let status = perform(arguments)
        // A report that nobody got says nothing, whatever it would have said.
        guard status <= ExitStatus.findings.rawValue, Console.outputFailed.load(ordering: .relaxed) else { return status }
        Console.report(
            PeftfileError(.io, "stdout could not be written", help: "check the disk that it goes to"),
            json: arguments.contains("--json"))
        return ExitStatus.failure.rawValue
    }

    /// How a command is called, for an error about its arguments; empty for the program itself.
    private static func usage(of verb: String) -> String {
        let command = RootCommand.configuration.subcommands.first {
            ([$0.configuration.commandName ?? ""] + $0.configuration.aliases).contains(String(verb.dropFirst()))
        }
        return (command?.configuration.usage?.split(separator: "\n").first).map { "\($0); " } ?? ""
    }

    /// The page that `help TOPIC` asks for; nil where the parser answers, as for `help COMMAND`.
    private static func topic(of arguments: [String]) throws -> String? {
        guard arguments.count >= 2, arguments[0] == "help", !verbs.contains(arguments[1]), arguments[1] != "help",
            !arguments.contains(where: { $0.hasPrefix("-") })
        else { return nil }
        // `help exit status` is a way to say `help exit-status`.
        let words = arguments.dropFirst()
        if Array(words) == ["topics"] { return HelpTopic.index }
        guard let topic = HelpTopic.named(words.joined(separator: "-")) else {
            throw PeftfileError(
                .usage, "there is no help on \"\(words.joined(separator: " ").printable)\"",
                help: "topics are \(HelpTopic.all.map(\.name).joined(separator: ", ")); commands are \(verbs.joined(separator: ", "))")
        }
        return topic.text()
    }

    /// What is wrong with the arguments. An option that there is not goes before an argument that is missing: who mistypes the one
    /// may have left out the other because of it.
    private static func usageMessage(_ error: any Error, _ arguments: [String]) -> String {
        func line(_ error: any Error) -> String { RootCommand.message(for: error).split(separator: "\n").first.map(String.init) ?? "wrong usage" }
        let own = line(error)
        guard own.hasPrefix("Missing expected argument"), arguments.contains(where: { $0.hasPrefix("-") }) else { return own }
        for missing in [["x"], ["x", "x"], ["-o", "x"], ["-o", "x", "x"]] {
            do { _ = try RootCommand.parseAsRoot(arguments + missing) } catch {
                let other = line(error)
                // What was filled in may be unknown as well.
                if arguments.contains(where: { other.hasPrefix("Unknown option '\($0.prefix { $0 != "=" })'") }) { return other }
            }
        }
        return own
    }

    /// What a signal left of the target, where a command was to write one.
    private static func withState(_ error: PeftfileError, _ arguments: [String]) -> PeftfileError {
        guard error.code == .interrupted, error.help == nil, ["merge", "strip", "convert"].contains(arguments.first) else { return error }
        var copy = error
        copy.help = "the target is as it was, and nothing half written is left"
        return copy
    }

    private static func perform(_ arguments: [String]) -> Int32 {
        let json = arguments.contains("--json")
        Interruption.catchSignals()
        Machine.keepLargeBlocks()
        do {
            if let page = try topic(of: arguments) {
                Console.output(page)
                return ExitStatus.clean.rawValue
            }
            if let script = CompletionRoot.script(asked: arguments) {
                Console.output(script + (script.hasSuffix("\n") ? "" : "\n"))
                return ExitStatus.clean.rawValue
            }
            var command = try RootCommand.parseAsRoot(arguments)
            try command.run()
            return ExitStatus.clean.rawValue
        } catch let status as ExitStatus {
            return status.rawValue
        } catch let error as PeftfileError {
            Console.report(InputPaths.withRepair(withState(error, arguments)), json: json)
            return error.code == .interrupted ? Interruption.exitStatus ?? 130 : ExitStatus.failure.rawValue
        } catch {
            // Help and version are not errors, and ArgumentParser's own status for usage is 64.
            if RootCommand.exitCode(for: error) == .success {
                Console.output(RootCommand.fullMessage(for: error) + "\n")
                return ExitStatus.clean.rawValue
            }
            let verb = arguments.first.map { verbs.contains($0) ? " \($0)" : "" } ?? ""
            if let first = arguments.first, !first.hasPrefix("-"), verb.isEmpty, first != "help" {
                let meant = Spelling.nearest(to: first, among: verbs).map { "peftfile \($0), or " } ?? ""
                Console.report(
                    PeftfileError(
                        .usage, "\"\(first.printable)\" is no command", help: "\(meant)one of \(verbs.joined(separator: ", ")); see peftfile --help"),
                    json: json)
                return ExitStatus.failure.rawValue
            }
            let line = usageMessage(error, arguments)
            Console.report(
                PeftfileError(
                    .usage, (line.prefix(1).lowercased() + line.dropFirst()).printable, help: "\(usage(of: verb))see peftfile\(verb) --help"),
                json: json)
            return ExitStatus.failure.rawValue
        }
    }
}

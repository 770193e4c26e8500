import ArgumentParser
import Peftfile

/// `peftfile check`: the gate that CI puts in front of adapters.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Judge adapters before they are published or served.",
        discussion: """
            Looks at files, config, tensors, values and, with --base, at the base. Exit 0: nothing found; 1: a finding of \
            the severity of --fail-on, or something that could not be checked; 2: a wrong call, or an unreadable base.
            """)

    @Argument(help: ArgumentHelp("Adapter directories or files, or directories with adapters below.", valueName: "adapter"))
    var paths: [String]

    @Option(help: ArgumentHelp("The base model that the adapters are for.", valueName: "path"))
    var base: String?

    @Option(help: ArgumentHelp("A loader that must take them: vllm, llama.cpp, mlx, transformers; may be repeated.", valueName: "loader"))
    var target: [String] = []

    @Option(help: ArgumentHelp("A form of the report, to stdout or to a file: text, json; may be repeated.", valueName: "name[=file]"))
    var format: [String] = []

    @Option(help: ArgumentHelp("The least severity that fails: error, warning or note.", valueName: "severity"))
    var failOn: String = "error"

    @OptionGroup var common: CommonOptions

    func run() throws {
        guard let failOn = Severity(rawValue: failOn) else {
            throw PeftfileError(.usage, "--fail-on \(failOn): error, warning or note", rule: "FailOn")
        }
        let outputs = try CheckOutput.outputs(format, json: common.json)
        let targets = try target.map { name in
            guard let target = ServingTarget(rawValue: name) else {
                throw PeftfileError(
                    .usage, "--target \(name): \(ServingTarget.allCases.map(\.rawValue).joined(separator: ", "))",
                    rule: "Target")
            }
            return target
        }
        let paths = try paths.map { try InputPaths.located($0) }
        let base = try base.map { try InputPaths.located($0) }
        let options = CheckOptions(
            base: try base.map { try Checkpoint.open($0) }, targets: targets, jobs: try common.workerCount())
        let report = try Checker(options: options).check(paths, failOn: failOn)
        for output in outputs { try output.write(report) }
        if !report.isClean { throw ExitStatus.findings }
    }
}

/// One `--format`: who renders, and where it goes.
struct CheckOutput {
    var reporter: any CheckReporter
    /// Nil for stdout.
    var file: String?

    /// What the options ask for; text on stdout where they ask for nothing there.
    static func outputs(_ formats: [String], json: Bool) throws -> [CheckOutput] {
        var outputs: [CheckOutput] = json ? [CheckOutput(reporter: CheckJSONReporter())] : []
        for format in formats {
            let parts = format.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let reporter = CheckReporters.reporter(parts[0]), parts.count == 1 || !parts[1].isEmpty else {
                throw PeftfileError(
                    .usage, "--format \(format): one of \(CheckReporters.all.map(\.name).joined(separator: ", ")), alone or "
                        + "with =FILE behind it", rule: "Format")
            }
            outputs.append(CheckOutput(reporter: reporter, file: parts.count > 1 ? parts[1] : nil))
        }
        guard outputs.count(where: { $0.file == nil }) <= 1 else {
            throw PeftfileError(.usage, "two forms of the report for stdout", rule: "Format", help: "send one to a file: --format json=report.json")
        }
        if !outputs.contains(where: { $0.file == nil }) {
            outputs.insert(CheckOutput(reporter: CheckTextReporter()), at: 0)
        }
        return outputs
    }

    func write(_ report: CheckReport) throws {
        var text = reporter.render(report)
        guard let file else {
            if reporter is CheckTextReporter, Console.showsColor { text = CheckTextReporter(isColored: true).render(report) }
            Console.output(text)
            return
        }
        try FileWriter.write(Array(text.utf8), to: file, replacing: true)
    }
}

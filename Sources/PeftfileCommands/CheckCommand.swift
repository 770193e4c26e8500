import ArgumentParser
import Peftfile

/// `peftfile check`: the gate that CI puts in front of adapters.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Judge adapters before they are published or served.",
        usage: "peftfile check ADAPTER... [--base BASE] [options]",
        discussion: """
            Looks at files, config, tensors, values and, with --base, at the base. Exit 0: nothing found; 1: a finding of \
            the severity of --fail-on, or something that could not be checked; 2: a wrong call, or an unreadable base, \
            policy or baseline.
            """)

    @Argument(
        help: ArgumentHelp("Adapter directories or files, or directories with adapters below.", valueName: "adapter"),
        completion: .file())
    var paths: [String]

    @Option(help: ArgumentHelp("The base model that the adapters are for.", valueName: "path"), completion: .file())
    var base: String?

    @Option(
        help: ArgumentHelp("A loader that must take them: vllm, llama.cpp, mlx, transformers; may be repeated.", valueName: "loader"),
        completion: .list(ServingTarget.allCases.map(\.rawValue)))
    var target: [String] = []

    @Option(help: ArgumentHelp("Severities, limits and ignores of a team, in YAML or JSON.", valueName: "file"), completion: .file())
    var policy: String?

    @Option(
        help: ArgumentHelp("Findings that are known and not counted: a baseline, or a SARIF report.", valueName: "file"),
        completion: .file())
    var baseline: String?

    @Option(help: ArgumentHelp("Write all findings to a baseline and count them as known.", valueName: "file"), completion: .file())
    var writeBaseline: String?

    @Option(
        help: ArgumentHelp("A form of the report, to stdout or to a file: text, json, json-lines, sarif, junit, github, gitlab; may be repeated.", valueName: "name[=file]"),
        completion: .list(CheckOutput.reporters.map(\.name)))
    var format: [String] = []

    @Option(
        help: ArgumentHelp("The least severity that fails: error, warning or note.", valueName: "severity"),
        completion: .list(["error", "warning", "note"]))
    var failOn: String = "error"

    @Flag(help: "Print one line of JSON for each adapter.")
    var jsonLines = false

    @Flag(name: [.short, .long], help: "Replace reports and a baseline that are there.")
    var force = false

    @OptionGroup var adapter: AdapterArguments

    @OptionGroup var common: CommonOptions

    func run() throws {
        guard let failOn = Severity(rawValue: failOn) else {
            throw PeftfileError.noChoice("--fail-on", failOn, of: ["error", "warning", "note"], rule: "FailOn")
        }
        let forms = (common.json ? ["json"] : []) + (jsonLines ? ["json-lines"] : []) + format
        let outputs = try CheckOutput.outputs(forms, baseline: writeBaseline)
        let paths = try paths.map { try InputPaths.located($0) }
        let base = try base.map { try InputPaths.located($0) }
        let settings = try [policy, baseline].map { try $0.map { try InputPaths.setting($0) } }
        let policy = try settings[0].map { try CheckPolicy(path: $0) }
        let known = try settings[1].map { try CheckBaseline(path: $0) }
        var binding = try adapter.options()
        binding.comparison.jobs = try common.workerCount()
        let options = CheckOptions(
            base: try base.map { try Checkpoint.open($0) }, binding: binding, targets: try targets(), policy: policy,
            jobs: try common.workerCount())
        let inputs = CheckInputs(adapters: paths, base: options.base, settings: settings.compactMap { $0 })
        for output in outputs { try output.requirePlace(inputs, replacing: force, known: writeBaseline == output.file ? baseline : nil) }

        var checker = Checker(options: options)
        var report = try common.withProgress("check", total: try checker.weightBytes(at: paths)) {
            checker.options.progress = $0.map { $0.add }
            return try checker.check(paths, failOn: failOn)
        }
        if let writeBaseline {
            let document = CheckBaseline.document(of: report)
            let isKnown = baseline.map { CheckInputs.identity($0) == CheckInputs.identity(writeBaseline) } ?? false
            try CheckOutput.write(document.serialized(indent: 2) + "\n", to: writeBaseline, replacing: force || isKnown)
            try CheckBaseline(path: writeBaseline).apply(to: &report)
        } else {
            known?.apply(to: &report)
        }
        if !outputs.contains(where: { $0.isStandardOutput && $0.reporter is CheckJSONReporter }), !common.quiet {
            for warning in report.warnings { Console.message("peftfile: warning: \(warning.printable)") }
        }
        try CheckOutput.write(report, to: outputs, replacing: force)
        if !report.isClean { throw ExitStatus.findings }
    }

    private func targets() throws -> [ServingTarget] {
        try target.map { name in
            guard let target = ServingTarget(rawValue: name) else {
                throw PeftfileError.noChoice("--target", name, of: ServingTarget.allCases.map(\.rawValue), rule: "Target")
            }
            return target
        }
    }
}

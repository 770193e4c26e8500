import ArgumentParser
import Peftfile

/// `peftfile verify`: whether a merged checkpoint is what its base and adapters make it.
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Prove that a merged checkpoint equals its base plus its adapters.",
        usage: """
            peftfile verify RESULT --base BASE --adapter ADAPTER... [options]
            peftfile verify RESULT
            """,
        discussion: """
            Recomputes every element by an independent path (OpenBLAS, float64) and accepts only the bits that a correct \
            merge can have; compares x·W' with x·W + scale·(x·A)·B on probe vectors. Without --base, inputs and options \
            are read from the receipt. Exit 0: equivalent; 1: not; 2: could not tell.
            """)

    @Argument(help: ArgumentHelp("The merged checkpoint.", valueName: "result"))
    var result: String

    @Option(help: ArgumentHelp("The base that was merged into.", valueName: "path"))
    var base: String?

    @Option(help: ArgumentHelp("An adapter; repeat it for several, in the order of the merge.", valueName: "path"))
    var adapter: [String] = []

    @OptionGroup var arguments: BindingArguments

    @Option(help: ArgumentHelp("Accept elements within this many ulps of the right ones.", valueName: "n"))
    var maxUlp: UInt64 = 0

    @Option(help: ArgumentHelp("Probe vectors for each tensor.", valueName: "n"))
    var probes = 4

    @OptionGroup var common: CommonOptions

    func run() throws {
        guard (0...1000).contains(probes) else {
            throw PeftfileError(.usage, "--probes \(probes): a number from 0 to 1000", rule: "Probes")
        }
        try requireExistence(result)
        let inputs = try inputs()
        let binding = try Binding(
            base: try Checkpoint.open(inputs.base), adapters: try inputs.adapters.map(Adapter.init(path:)),
            options: inputs.options)
        let merged = try Checkpoint.open(result)
        let counter = common.quiet || common.json ? nil : Progress(label: "verify", total: merged.tensorBytes)
        let verifier = Verifier(
            binding: binding, result: merged, dtype: inputs.settings.dtype,
            convertsAllDTypes: inputs.settings.convertsAllDTypes, maxULP: maxUlp, jobs: try common.workerCount(),
            probes: probes, progress: counter.map { $0.add })
        defer { counter?.finish() }
        var report = try verifier.run()
        if let record = inputs.record { report.changedFiles = try record.changedFiles() }
        counter?.finish()
        if common.json {
            Console.output(report.json)
        } else {
            common.warn(report.warnings)
            Console.output(VerifyPage(report: report, path: result).text)
        }
        if !report.isEquivalent { throw ExitStatus.findings }
    }

    private typealias Inputs = (
        base: String, adapters: [String], options: BindingOptions, settings: MergeSettings, record: MergeRecord?
    )

    private func inputs() throws -> Inputs {
        if let base {
            guard !adapter.isEmpty else {
                throw PeftfileError(
                    .usage, "--base without --adapter", help: "peftfile verify \(result.shellQuoted) --base \(base.shellQuoted) --adapter ADAPTER")
            }
            return (base, adapter, try arguments.options(), try arguments.mergeSettings(), nil)
        }
        guard adapter.isEmpty else {
            throw PeftfileError(
                .usage, "--adapter without --base",
                help: "peftfile verify \(result.shellQuoted) --base BASE --adapter \(adapter[0].shellQuoted)")
        }
        if let option = arguments.firstGiven {
            throw PeftfileError(
                .usage, "\(option) without --base and --adapter: the receipt says how the merge was made", rule: "ReceiptDecides",
                help: "peftfile verify \(result.shellQuoted) --base BASE --adapter ADAPTER \(option)")
        }
        let record = try MergeRecord(besides: result)
        try record.requireInputs()
        return (record.base, record.adapters, record.options, record.settings, record)
    }
}

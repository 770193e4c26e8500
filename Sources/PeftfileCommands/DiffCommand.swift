import ArgumentParser
import Peftfile

/// `peftfile diff`: what changed between two checkpoints or adapters.
struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Say what differs between two checkpoints or adapters.",
        usage: "peftfile diff A B [options]",
        discussion: """
            Compares tensors by name, across shards: added, removed, another dtype or shape, and how far the numbers of \
            each are apart. Of two adapters it also compares the updates they make, whatever their factors. \
            Metadata and configs are shown and decide nothing. Exit 0: equal; 1: different; 2: could not tell.
            """)

    @Argument(help: "The reference: a safetensors file, a shard index, a checkpoint or an adapter.", completion: .file())
    var a: String

    @Argument(help: "What is compared with it.", completion: .file())
    var b: String

    @Option(parsing: .unconditional, help: ArgumentHelp("Relative tolerance: |b - a| <= atol + rtol * |a| is equal.", valueName: "x"))
    var rtol: Double?

    @Option(parsing: .unconditional, help: ArgumentHelp("Absolute tolerance.", valueName: "x"))
    var atol: Double?

    @Option(help: ArgumentHelp("Compare only tensors whose names match; repeatable.", valueName: "glob"))
    var include: [String] = []

    @Option(help: ArgumentHelp("Leave out tensors whose names match; repeatable.", valueName: "glob"))
    var exclude: [String] = []

    @Option(
        help: ArgumentHelp("Order of the changed tensors: \(DifferenceOrder.names).", valueName: "key"),
        completion: .list(DifferenceOrder.allCases.map(\.rawValue)))
    var sort = "name"

    @Option(parsing: .unconditional, help: ArgumentHelp("Entries of a list at most, 0 for all; by default 20, and all with --json.", valueName: "n"))
    var limit: Int?

    @Option(
        help: ArgumentHelp("The base of two adapters, whose config.json counts heads where rows are ordered by them.", valueName: "path"),
        completion: .file())
    var base: String?

    @Option(help: ArgumentHelp("The base's heads of queries and of keys, where no base is named.", valueName: "queries,keys"))
    var heads: String?

    @OptionGroup var adapter: AdapterArguments

    @OptionGroup var common: CommonOptions

    func run() throws {
        let tolerance = DifferenceTolerance(
            relative: try checked(rtol, "--rtol"), absolute: try checked(atol, "--atol"))
        guard let order = DifferenceOrder(rawValue: sort) else {
            throw PeftfileError.noChoice("--sort", sort, of: DifferenceOrder.allCases.map(\.rawValue), rule: "Sort")
        }
        if let limit, limit < 0 {
            throw PeftfileError.noValue("--limit", "\(limit)", needed: "a whole number, 0 for all", rule: "Limit")
        }
        let jobs = try common.workerCount()
        let inputs = (
            try DifferenceInput(path: InputPaths.located(a)), try DifferenceInput(path: InputPaths.located(b)))
        let facts = try ConvertBase([base].compactMap { $0 }, takesConfig: true, architecture: nil, heads: heads).facts
        let selection = TensorSelection(
            include: include.map(GlobPattern.init), exclude: exclude.map(GlobPattern.init))
        let selected = inputs.0.checkpoint.tensors.filter { selection.contains($0.name) }
        let counter = common.progress("diff", total: selected.reduce(0) { $0 + $1.byteCount })
        defer { counter?.finish() }
        let updates = common.progress("updates", total: inputs.0.checkpoint.tensorBytes)
        defer { updates?.finish() }
        var report = try CheckpointComparison(
            inputs.0, inputs.1, tolerance: tolerance, selection: selection, options: try adapter.options(), heads: facts.heads, jobs: jobs,
            progress: counter.map { $0.add }, updateProgress: updates.map { $0.share }
        ).run()
        counter?.finish()
        updates?.finish()
        report.changed.sort(by: order.precedes)
        if common.json {
            Console.output(report.json(limit: limit ?? 0))
        } else {
            common.warn(report.warnings)
            Console.output(DiffPage(report: report, paths: (a, b), inputs: inputs, limit: limit ?? 20).text)
        }
        if !report.isEqual { throw ExitStatus.findings }
    }

    private func checked(_ tolerance: Double?, _ name: String) throws -> Double {
        guard let tolerance else { return 0 }
        guard tolerance.isFinite, tolerance >= 0 else {
            throw PeftfileError.noValue(name, "\(tolerance)", needed: "a finite number, 0 or more", rule: "Tolerance")
        }
        return tolerance
    }
}

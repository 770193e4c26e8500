import ArgumentParser
import Peftfile

/// `peftfile merge`: an adapter's update added to the weights, once, exactly.
struct MergeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge",
        abstract: "Merge adapters into a base checkpoint.",
        usage: "peftfile merge [BASE] ADAPTER... -o OUT [options]",
        discussion: """
            Every element of the result is the float64 value of W + update, rounded once. Every adapter tensor and config \
            key is used, or the merge is refused and nothing is written. With one path, it is the adapter, and its config \
            names the base: a path, or a repository in the Hub's local cache.
            """,
        aliases: ["fuse"])

    @Argument(help: ArgumentHelp("The base, then the adapters.", valueName: "path"), completion: .file())
    var paths: [String]

    @Option(
        name: [.short, .long], help: ArgumentHelp("The directory to write; a file where BASE is a file.", valueName: "out"),
        completion: .file())
    var output: String

    @OptionGroup var arguments: BindingArguments

    @Option(help: ArgumentHelp("Shard the output anew: 5GB, 500MB; by default the base's shards are kept.", valueName: "size"))
    var maxShardSize: String?

    @Flag(help: "Print the plan and write nothing.")
    var dryRun = false

    @Flag(help: "Go on where an earlier run of the same merge stopped; keep what is finished if this one does.")
    var resume = false

    @Flag(name: [.short, .long], help: "Replace an existing output.")
    var force = false

    @Flag(inversion: .prefixedNo, help: "Take the SHA-256 of every output file for the receipt.")
    var hash = true

    @Flag(inversion: .prefixedNo, help: "Have all bytes on disk before the output gets its name.")
    var sync = true

    @Flag(help: "Leave the output in the page cache, for a reader that comes next.")
    var keepCache = false

    @Flag(inversion: .prefixedNo, help: "Write a README.md with the model card that the Hub reads.")
    var card = true

    @Option(
        help: ArgumentHelp("Write a page of pictures about the merge, one HTML file.", valueName: "out.html"),
        completion: .file(extensions: ["html"]))
    var report: String?

    @OptionGroup var common: CommonOptions

    func run() throws {
        try InputPaths.requireOutsideCache(output)
        try ConvertOutput.requireWritable(output)
        let roles = try Roles(paths: paths)
        if let report {
            guard !dryRun, report != output else {
                throw PeftfileError(
                    .usage, dryRun ? "--report with --dry-run, which writes nothing" : "--report and --output name one file",
                    file: report, rule: "ReportPlace", help: dryRun ? "leave out one of the two" : "name another file for the report")
            }
            try ReportPage.requirePlace(
                report, inputs: [roles.base] + roles.adapters, replacing: force, made: output)
        }
        let options = try arguments.options()
        let adapters = try roles.adapters.map(Adapter.init(path:))
        let base = try options.baseValues.applied(to: try Checkpoint.open(roles.base), adapters: adapters)
        // With tens of thousands of targets twice of them is memory; a report looks at them again.
        let binding = try common.comparing(adapters, options) {
            try Binding(base: base, adapters: adapters, options: $0, keepsChanges: report != nil)
        }
        var settings = try arguments.mergeSettings(maximumShardSize: try maxShardSize.map(ShardSize.bytes), writesCard: card)
        settings.form = try OutputForm(output: output, base: base)
        let bound = report.map { _ in binding }
        let plan = try RewritePlan.merge(consume binding, settings: settings)
        var execution = PlanExecutor.Settings(
            jobs: try common.workerCount(), replacing: force, hashing: hash, isDurable: sync, keepsCache: keepCache, resuming: resume)
        if dryRun { return try PlanPage.show(plan, target: output, execution, common) }
        // A page that cannot be made is known before the merge, not after it.
        let spectrum = try bound.map { bound in
            try common.withProgress("spectrum", total: adapters.reduce(0) { $0 + $1.checkpoint.tensorBytes }) {
                try SpectrumReport(of: bound, jobs: common.workerCount(), progress: $0.map { $0.share })
            }
        }
        let progress = common.progress("merge", total: plan.bytesWritten)
        execution.progress = progress.map { $0.update }
        let executor = PlanExecutor(plan: plan, target: output, settings: execution)
        defer { progress?.finish() }
        let receipt = try executor.run()
        progress?.finish()
        if let report, let spectrum { try write(plan, receipt, spectrum, to: report) }
        if common.json {
            Console.output(receipt.document(target: output))
        } else {
            common.warn(receipt.warnings)
            Console.output(MergePage(plan: plan, receipt: receipt, target: output).text)
        }
    }
}

extension MergeCommand {
    /// The page of `--report`: the receipt's figures, the norms of the base, and the spectra.
    private func write(_ plan: RewritePlan, _ receipt: Receipt, _ spectrum: SpectrumReport, to path: String) throws {
        let progress = common.progress("report", total: plan.changedBytes)
        defer { progress?.finish() }
        let changes = try plan.changes(of: receipt, jobs: common.workerCount(), progress: progress.map { $0.add })
        let binding = plan.binding
        let targets = binding.targets.map(\.target)
        var facts: [(key: String, value: String)] = [
            ("base", ReportPage.name(of: binding.base.path)),
            ("adapters", binding.adapters.map { ReportPage.name(of: $0.path) }.joined(separator: ", ")),
            ("method", Set(targets.map(\.method)).sorted().joined(separator: ", ")),
            ("modules", Text.count(targets.count)),
            ("rank", ReportFacts.ranks(targets) ?? ""),
            ("tensors computed", "\(Text.count(plan.computedCount)) of \(Text.count(plan.files.reduce(0) { $0 + $1.tensors.count }))"),
            ("written", Text.bytes(plan.bytesWritten)),
            ("‖ΔW‖/‖W‖", ReportFacts.relative(changes) ?? ""),
        ]
        facts.removeAll { $0.value.isEmpty }
        try ReportPage(
            command: "merge", title: ReportPage.name(of: output), facts: facts, warnings: receipt.warnings, spectrum: spectrum,
            changes: changes
        ).write(to: path, replacing: force)
    }
}

/// Which path is the base and which are adapters, checked by content.
struct Roles {
    let base: String
    let adapters: [String]

    init(paths: [String]) throws {
        let paths = try paths.enumerated().map { try InputPaths.located($1, need: $0 == 0 ? .everything : .weights) }
        guard let first = paths.first else {
            throw PeftfileError(.usage, "no paths given", help: "peftfile merge BASE ADAPTER -o OUT")
        }
        if paths.count == 1 {
            base = try Roles.namedBase(of: first)
            adapters = [first]
            return
        }
        base = first
        adapters = Array(paths.dropFirst())
        if FileSystem.exists(FileSystem.join(first, "adapter_config.json")) {
            // In the other order, unless that one is no base either.
            let hint = adapters.first.map {
                FileSystem.exists(FileSystem.join($0, "adapter_config.json"))
                    ? "peftfile merge BASE \(Set(paths).sorted().map(\.shellQuoted).joined(separator: " ")) -o OUT"
                    : "peftfile merge \($0.shellQuoted) \(first.shellQuoted) -o OUT"
            }
            throw PeftfileError(
                .usage, "is an adapter, and the first path is the base", file: first, rule: "Roles", help: hint)
        }
    }

    private static func namedBase(of path: String) throws -> String {
        guard Adapter.isAdapter(path) else {
            throw PeftfileError(
                .usage, "is no adapter, and one path alone is the adapter", file: path, rule: "Roles",
                help: "peftfile merge \(path.shellQuoted) ADAPTER -o OUT")
        }
        let config = try Adapter(path: path).config
        guard let name = config?.baseModel, !name.isEmpty else {
            throw PeftfileError(
                .usage, "names no base, so both must be given", file: path, rule: "Roles",
                help: "peftfile merge BASE \(path.shellQuoted) -o OUT")
        }
        if FileSystem.exists(name) { return name }
        let id = HubID(name: name, revision: config?["revision"]?.stringValue)
        guard let id, InputPaths.cache.holds(id) else {
            let fetched = id.flatMap { $0.name.contains("/") ? "\($0.downloadCommand()), or name the base: " : nil } ?? ""
            throw PeftfileError(
                .notFound, "the adapter's base \"\(name.printable)\" is neither a path here nor in the Hub's cache (\(InputPaths.cache.root))", file: path,
                rule: "BaseNotFound", help: "\(fetched)peftfile merge BASE \(path.shellQuoted) -o OUT")
        }
        let snapshot = try InputPaths.cache.snapshot(of: id)
        try snapshot.requireComplete(.everything)
        return snapshot.path
    }
}

import ArgumentParser
import Peftfile

/// `peftfile inspect`: what a file, shard set or adapter is.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Say what a checkpoint or adapter is: tensors, dtypes, method, rank, alpha, scale.",
        usage: "peftfile inspect PATH... [options]",
        discussion: """
            Reads headers and configs only; tensor bytes are read for --stats, --spectrum, --base and --report alone.
            """,
        aliases: ["info", "ls"])

    @Argument(help: "Safetensors files, shard indexes, checkpoint directories or adapter directories.", completion: .file())
    var paths: [String]

    @Flag(help: "List every tensor.")
    var tensors = false

    @Flag(help: "Read all tensors and show min, max, mean, std, NaN, Inf and zeros.")
    var stats = false

    @Flag(help: "Show the singular values of each update, its ranks, and which modules are dead or over-parameterised.")
    var spectrum = false

    @Option(
        help: ArgumentHelp("The base of the adapters: show how much of each weight they change.", valueName: "path"),
        completion: .file())
    var base: String?

    @Option(
        help: ArgumentHelp("Write a page of pictures about the adapter, one HTML file.", valueName: "out.html"),
        completion: .file(extensions: ["html"]))
    var report: String?

    @Flag(name: [.short, .long], help: "Replace an existing report.")
    var force = false

    @OptionGroup var adapter: AdapterArguments

    @OptionGroup var common: CommonOptions

    func run() throws {
        guard report == nil || paths.count == 1 else {
            throw PeftfileError(
                .usage, "--report is about one adapter, and \(paths.count) paths are given", rule: "ReportPaths",
                help: "peftfile inspect ADAPTER --report \(report?.shellQuoted ?? "out.html")")
        }
        guard report != nil || !force else {
            throw PeftfileError(.usage, "--force without --report", rule: "ForceUnused", help: "leave it out")
        }
        let located = try paths.map { try InputPaths.located($0) }
        let basePath = try base.map { try InputPaths.located($0, need: .everything) }
        if let report {
            try ReportPage.requirePlace(report, inputs: located + [basePath].compactMap { $0 }, replacing: force)
        }
        let base = try basePath.map { try Checkpoint.open($0) }
        let items = try located.map { try item($0, base: base) }
        let warnings = items.flatMap(\.warnings)
        if let report { try write(items[0], to: report) }
        if common.json {
            Console.output(
                .object([
                    "schema": "peftfile.inspect/1", "warnings": .array(warnings.map { .string($0) }),
                    "items": .array(items.map(\.json)),
                ]))
            return
        }
        common.warn(warnings)
        Console.output(items.map { $0.text(listsTensors: tensors) }.joined(separator: "\n"))
    }

    /// A path with what was asked about it.
    private struct Item {
        var inspection: Inspection
        var spectrum: SpectrumReport?
        var changes: [WeightChange]?
        /// What the base says of a training state's frozen weights, where there is one.
        var stateNote: String?

        var warnings: [String] {
            inspection.warnings.map { $0 == inspection.adapter?.stateNote ? stateNote ?? $0 : $0 }
        }

        var json: JSONValue {
            guard case .object(var object) = inspection.json else { return .null }
            object["spectrum"] = spectrum?.json ?? .null
            object["changes"] = changes.map { .array($0.map(\.json)) } ?? .null
            return .object(object)
        }

        func text(listsTensors: Bool) -> String {
            InspectPage(inspection: inspection, listsTensors: listsTensors).text
                + SpectrumSection(spectrum: spectrum, changes: changes).text
        }
    }

    private func item(_ path: String, base: Checkpoint?) throws -> Item {
        var item = Item(inspection: try Inspection(path: path, options: try self.adapter.options()))
        let jobs = try common.workerCount()
        let checkpoint = item.inspection.checkpoint
        if stats {
            item.inspection.statistics = try common.withProgress("inspect", total: checkpoint.tensorBytes) {
                try checkpoint.statistics(jobs: jobs, progress: $0.map { $0.add })
            }
        }
        guard let adapter = item.inspection.adapter else {
            guard base == nil, report == nil else {
                throw PeftfileError(
                    .usage, "is no adapter, and \(report == nil ? "--base" : "--report") is about one", file: path,
                    rule: "NoAdapter", help: "peftfile inspect \(path.shellQuoted)")
            }
            if spectrum { item.spectrum = SpectrumReport(reason: "it is no adapter") }
            return item
        }
        guard let base else {
            if spectrum || report != nil {
                item.spectrum = try common.withProgress("spectrum", total: checkpoint.tensorBytes) {
                    try SpectrumReport(of: adapter, options: try self.adapter.options(), jobs: jobs, progress: $0.map { $0.share })
                }
            }
            return item
        }
        // Shares of the weights as they are stored, whatever the adapter was trained on.
        var options = try self.adapter.options()
        options.baseValues = .stored
        let binding = try common.comparing([adapter], options) { try Binding(base: base, adapters: [adapter], options: $0) }
        item.stateNote = binding.adapters.first?.stateNote
        if spectrum || report != nil {
            item.spectrum = try common.withProgress("spectrum", total: checkpoint.tensorBytes) {
                try SpectrumReport(of: binding, jobs: jobs, progress: $0.map { $0.share })
            }
        }
        let plan = try RewritePlan.merge(binding)
        item.changes = try common.withProgress("inspect", total: plan.changedBytes) {
            try plan.changes(jobs: jobs, progress: $0.map { $0.add })
        }
        return item
    }

    private func write(_ item: Item, to path: String) throws {
        let inspection = item.inspection
        var facts: [(key: String, value: String)] = []
        func add(_ key: String, _ value: String?) { if let value { facts.append((key, value)) } }
        add("method", Set(inspection.targets.map(\.method)).sorted().joined(separator: ", "))
        add("base model", inspection.adapter?.config?.baseModel.map(ReportFacts.baseName))
        add("modules", Text.count(inspection.targets.count))
        add("rank", ReportFacts.ranks(inspection.targets))
        add("parameters", Text.count(inspection.checkpoint.parameterCount))
        add("bytes", Text.bytes(inspection.checkpoint.tensorBytes))
        if let changes = item.changes { add("‖ΔW‖/‖W‖", ReportFacts.relative(changes)) }
        try ReportPage(
            command: "inspect", title: ReportPage.name(of: paths[0]), facts: facts.filter { !$0.value.isEmpty },
            warnings: inspection.warnings, spectrum: item.spectrum ?? SpectrumReport(reason: "it is no adapter"),
            changes: item.changes
        ).write(to: path, replacing: force)
    }
}

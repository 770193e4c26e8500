import ArgumentParser
import Peftfile

/// `peftfile verify`: whether a merged checkpoint is what its base and adapters make it, or a stripped prompt what its
/// training state produces.
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Prove that a merge, a strip or a conversion is right.",
        usage: """
            peftfile verify RESULT --base BASE --adapter ADAPTER... [options]
            peftfile verify RESULT
            peftfile verify STRIPPED --from UNSTRIPPED [options]
            peftfile verify ORG/NAME
            """,
        discussion: """
            Recomputes every element by an independent path (OpenBLAS, float64) and accepts only the bits that a correct \
            merge can have; compares x·W' with x·W + scale·(x·A)·B on probe vectors. Without --base, inputs and options \
            are read from the receipt. With --from, the prompt is computed again from the training state. A snapshot of \
            the Hub's cache is held against the hashes that its blobs are named by. Exit 0: \
            equivalent; 1: not; 2: could not tell.
            """)

    @Argument(help: ArgumentHelp("The merged checkpoint.", valueName: "result"), completion: .file())
    var result: String

    @Option(help: ArgumentHelp("The base that was merged into.", valueName: "path"), completion: .file())
    var base: String?

    @Option(help: ArgumentHelp("An adapter; repeat it for several, in the order of the merge.", valueName: "path"), completion: .file())
    var adapter: [String] = []

    @Option(
        help: ArgumentHelp("The training state that the result was stripped from, or the adapter that was converted.", valueName: "path"),
        completion: .file())
    var from: String?

    @OptionGroup var arguments: BindingArguments

    @Option(help: ArgumentHelp("Accept elements within this many ulps of the right ones.", valueName: "n"))
    var maxUlp: UInt64 = 0

    @Option(help: ArgumentHelp("Probe vectors for each tensor.", valueName: "n"))
    var probes = 4

    @OptionGroup var common: CommonOptions

    mutating func run() throws {
        guard (0...1000).contains(probes) else {
            throw PeftfileError.noValue("--probes", "\(probes)", needed: "a number from 0 to 1000", rule: "Probes")
        }
        result = try InputPaths.located(result)
        // What comes out of the Hub's cache was made elsewhere: its blobs are here, and the inputs that a receipt names are not.
        if base == nil, adapter.isEmpty, from == nil, SnapshotCheck.isSnapshot(result) { return try verifySnapshot() }
        let strip = try StripRecord(in: result)
        if base == nil, adapter.isEmpty, arguments.firstGiven == nil, let record = try AdapterConvertRecord(besides: result) {
            return try verifyDialect(record)
        }
        if let from { return try verifyStrip(from: from, strip, byReceipt: false) }
        if base == nil, adapter.isEmpty, let strip, let source = strip.source {
            return try verifyStrip(from: source, strip, byReceipt: true)
        }
        if base == nil, adapter.isEmpty, arguments.firstGiven == nil, let record = try ConvertRecord(besides: result) {
            return try verifyConversion(record)
        }
        let inputs = try inputs()
        let adapters = try inputs.adapters.map(Adapter.init(path:))
        let source = try inputs.options.baseValues.applied(to: try Checkpoint.open(inputs.base), adapters: adapters)
        let binding = try common.comparing(adapters, inputs.options) { try Binding(base: source, adapters: adapters, options: $0) }
        let merged = try Checkpoint.open(result)
        let counter = common.progress("verify", total: merged.tensorBytes)
        defer { counter?.finish() }
        var verifier = Verifier(
            binding: binding, result: merged, dtype: inputs.settings.dtype,
            convertsAllDTypes: inputs.settings.convertsAllDTypes, maxULP: maxUlp, jobs: try common.workerCount(),
            probes: probes, progress: counter.map { $0.add })
        verifier.blockType = inputs.settings.blockType
        var report = try verifier.run()
        counter?.finish()
        if let record = inputs.record {
            report.files = try compareFiles(record.evidence)
        } else if !report.isEquivalent, let record = try? MergeRecord(besides: result), record.differs(from: inputs.options, inputs.settings) {
            report.warnings.append(
                "its receipt names other options than those given here: `peftfile verify \(result.shellQuoted)` takes them from the receipt")
        }
        try show(report)
    }

    /// A conversion is a merge of no adapter: each tensor is compared, or recomputed where its dtype changed.
    private func verifyConversion(_ record: ConvertRecord) throws {
        try record.requireInputs()
        let converted = try record.openResult()
        let counter = common.progress("verify", total: converted.tensorBytes)
        defer { counter?.finish() }
        let verifier = Verifier(
            binding: try Binding(base: record.openSource(), adapters: []), result: converted, leavingOut: record.dropped,
            dtype: record.settings.dtype, convertsAllDTypes: record.settings.convertsAllDTypes, maxULP: maxUlp,
            jobs: try common.workerCount(), probes: probes, progress: counter.map { $0.add })
        var report = try verifier.run()
        counter?.finish()
        report.files = try compareFiles(record.evidence)
        try show(report)
    }

    /// An adapter in another dialect: what is written there, read as that dialect is read, is what the source holds.
    private func verifyDialect(_ record: AdapterConvertRecord) throws {
        let inputs = try record.openInputs(from: from.map { try InputPaths.located($0) })
        let names: PortableAdapter.Names =
            switch record.target {
            case .kohya: .underscored
            case .diffusers: .dotted
            case .peft, .mlx, .gguf: .inMemory
            }
        let converted = try Adapter(path: result)
        let comparison = try common.withProgress("verify", total: converted.checkpoint.tensorBytes) {
            try ConversionComparison(
                source: inputs.adapter, result: converted,
                reading: .init(
                    bases: inputs.bases, heads: record.heads, binding: record.binding, names: names,
                    renamesComponent: record.componentName != nil, roundsScale: record.roundsScale, hasFileNames: record.loader != nil),
                progress: $0.map { $0.add })
        }
        let page = ConversionProofPage(
            comparison: comparison, files: try compareFiles(record.evidence), notes: record.notes, path: result)
        if common.json { Console.output(page.json) } else { Console.output(page.text) }
        if !page.isEquivalent { throw ExitStatus.findings }
    }

    private func compareFiles(_ evidence: ReceiptEvidence) throws -> FileComparison {
        let files = try common.withProgress("hash", total: evidence.hashedBytes) { try evidence.compareFiles(progress: $0.map { $0.add }) }
        if !common.json, !files.added.isEmpty {
            common.warn(["of which the receipt says nothing: \(files.added.map(\.printable).joined(separator: ", "))"])
        }
        return files
    }

    private func show(_ report: EquivalenceReport) throws {
        if common.json {
            Console.output(report.json)
        } else {
            common.warn(report.warnings)
            Console.output(VerifyPage(report: report, path: result).text)
        }
        if !report.isEquivalent { throw ExitStatus.findings }
    }

    private func verifySnapshot() throws {
        if let option = arguments.firstGiven {
            throw PeftfileError(
                .usage, "\(option) without --base and --adapter: a snapshot is held against its hashes", rule: "VerifyInputs",
                help: "peftfile verify \(result.shellQuoted) --base BASE --adapter ADAPTER \(option)")
        }
        let check = try common.withProgress("hash", total: try SnapshotCheck.byteCount(of: result)) {
            try SnapshotCheck(directory: result, progress: $0.map { $0.update })
        }
        guard check.files.contains(where: { $0.actual != nil || $0.isWrong }) else {
            throw PeftfileError(
                .notFound, "has neither blobs nor a listing, so nothing says what its files should be", file: result, rule: "HubSnapshot",
                help: "peftfile verify \(result.shellQuoted) --base BASE --adapter ADAPTER")
        }
        if check.isRight, let name = check.unjudgedWeights.first {
            throw PeftfileError(
                .notFound, "nothing says what \(name.printable) should be\(check.unjudgedWeights.count > 1 ? ", and \(check.unjudgedWeights.count - 1) more" : "")"
                    + "; what else has a hash is what the Hub named", file: result, rule: "HubSnapshot",
                help: "fetch the snapshot again, or give its inputs: peftfile verify \(result.shellQuoted) --base BASE --adapter ADAPTER")
        }
        let page = SnapshotPage(check: check, path: result)
        if common.json { Console.output(page.json) } else { Console.output(page.text) }
        if !check.isRight { throw ExitStatus.findings }
    }

    private func verifyStrip(from path: String, _ record: StripRecord?, byReceipt: Bool) throws {
        guard base == nil, adapter.isEmpty else {
            throw PeftfileError(
                .usage, "--from goes with neither --base nor --adapter", rule: "VerifyInputs",
                help: "peftfile verify \(result.shellQuoted) --from \(path.shellQuoted)")
        }
        if byReceipt { try record?.requireInputs() }
        let stripped = try PromptSource.open(result)
        let verifier = StripVerifier(
            source: try PromptSource(path: InputPaths.located(path)), result: stripped.checkpoint, config: stripped.config,
            task: arguments.task ?? record?.task, dtype: try arguments.mergeSettings().dtype ?? record?.dtype, maxULP: maxUlp)
        var report = try verifier.run()
        if byReceipt { report.files = try record.map { try compareFiles($0.evidence) } }
        try show(report)
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
            return (
                try InputPaths.located(base), try adapter.map { try InputPaths.located($0) }, try arguments.options(), try arguments.mergeSettings(), nil)
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

import ArgumentParser
import Peftfile

/// Options that every command has.
struct CommonOptions: ParsableArguments {
    @Flag(help: "Print one JSON document on stdout.")
    var json = false

    @Flag(name: [.short, .long], help: "No progress and no warnings.")
    var quiet = false

    @Option(help: ArgumentHelp("Worker threads; by default as many as this process may use.", valueName: "n"))
    var jobs: Int?

    func workerCount() throws -> Int {
        guard let jobs else { return Machine.availableCores }
        guard (1...1024).contains(jobs) else {
            throw PeftfileError.noValue("--jobs", "\(jobs)", needed: "a number from 1 to 1024", rule: "Jobs")
        }
        return jobs
    }

    /// A progress bar, where somebody sees it: stderr is a terminal that can draw over a line, and nobody asked for quiet.
    func progress(_ label: String, total: UInt64) -> Progress? {
        drawsProgress ? Progress(label: label, total: total) : nil
    }

    private var drawsProgress: Bool { !quiet && !json && Console.errorDrawsOver }

    /// Does a piece of work under a progress bar, which is gone when the work is done.
    func withProgress<Result>(_ label: String, total: @autoclosure () throws -> UInt64, _ work: (Progress?) throws -> Result) rethrows -> Result {
        let progress = drawsProgress ? Progress(label: label, total: try total()) : nil
        defer { progress?.finish() }
        return try work(progress)
    }

    /// Does what holds adapters against a base: the frozen weights of training states are compared by as many workers as were asked for, under a
    /// progress bar.
    func comparing<Result>(_ adapters: [Adapter], _ options: BindingOptions, _ work: (BindingOptions) throws -> Result) throws -> Result {
        var options = options
        options.comparison.jobs = try workerCount()
        let total = adapters.reduce(0) { $0 + ($1.wholeState?.comparedBytes ?? 0) }
        guard total > 0 else { return try work(options) }
        return try withProgress("compare", total: total) { progress in
            options.comparison.progress = progress.map { $0.add }
            return try work(options)
        }
    }

    /// Prints warnings to stderr; with `--json` they are in the document.
    func warn(_ warnings: [String]) {
        guard !quiet, !json else { return }
        for warning in warnings { Console.message("peftfile: warning: \(warning.printable)") }
    }
}

extension CompletionKind {
    /// The dtypes that weights are converted to.
    static var dtypes: CompletionKind { .list(["bf16", "f16", "f32", "f64"]) }
    /// The same, and the blocks that a merge writes into a GGUF file.
    static var mergedTypes: CompletionKind { .list(["bf16", "f16", "f32", "f64", "q8_0"]) }
}

/// How adapters are bound to a base: what `merge` does and `verify` judges.
struct BindingArguments: ParsableArguments {
    @Option(parsing: .unconditional, help: ArgumentHelp("One weight for each adapter: 0.7,0.3.", valueName: "w,w"))
    var weights: String?

    @Option(
        help: ArgumentHelp("Where an update reaches one side of tied embeddings: break or keep the tie.", valueName: "break|keep"),
        completion: .list(["break", "keep"]))
    var tie: String = "break"

    @Option(
        help: ArgumentHelp(
            "What BASE is: original or residual, for adapters whose initialisation changed it; stored or nf4, for those trained in "
                + "4 bits; one of each with a comma between.", valueName: "role"), completion: .list(["original", "residual", "stored", "nf4"]))
    var baseAs: String = "original"

    @Flag(help: "With --base-as nf4: the magnitudes of the blocks quantised too, as training had it.")
    var doubleQuant = false

    @Option(help: ArgumentHelp("With --base-as nf4: the elements of a block; 64 by default.", valueName: "n"))
    var blockSize: Int?

    @OptionGroup var file: AdapterArguments

    @Option(help: ArgumentHelp("The task, for a method or prompt that has one result for each, from 0 on.", valueName: "n"))
    var task: Int?

    @Option(help: ArgumentHelp("Round where this tool would; only exact is built.", valueName: "exact"), completion: .list(["exact"]))
    var rounding: String = "exact"

    @Option(help: ArgumentHelp("Convert the weights: bf16, f16, f32, f64; q8_0 in a GGUF file.", valueName: "dtype"), completion: .mergedTypes)
    var dtype: String?

    @Flag(help: "Let --dtype also reach tensors kept in another of F64, F32, F16 and BF16 than most.")
    var dtypeAll = false

    /// The first option that was given a value of its own, by its name.
    var firstGiven: String? {
        let given: [(Bool, String)] = [
            (weights != nil, "--weights"), (tie != "break", "--tie"), (baseAs != "original", "--base-as"),
            (doubleQuant, "--double-quant"), (blockSize != nil, "--block-size"), (task != nil, "--task"),
            (rounding != "exact", "--rounding"), (dtype != nil, "--dtype"), (dtypeAll, "--dtype-all"),
        ]
        return given.first { $0.0 }?.1 ?? file.firstGiven
    }

    func options() throws -> BindingOptions {
        guard let tie = BindingOptions.Tie(rawValue: tie) else {
            throw PeftfileError.noChoice("--tie", tie, of: ["break", "keep"], rule: "Tie")
        }
        let (baseRole, baseValues) = try baseMeaning()
        guard rounding == "exact" else {
            throw PeftfileError(
                .unsupported, "--rounding \(rounding) is not built; results are rounded exactly, once", rule: "Rounding",
                help: "leave --rounding out")
        }
        var options = try file.options()
        (options.tie, options.baseRole, options.baseValues) = (tie, baseRole, baseValues)
        options.weights = try weightList()
        options.task = task
        return options
    }

    /// `--base-as`: a role, and which values.
    private func baseMeaning() throws -> (BindingOptions.BaseRole, BaseValues) {
        var role: BindingOptions.BaseRole?
        var values: BaseValues?
        for part in baseAs.split(separator: ",", omittingEmptySubsequences: false).map(String.init) {
            if let known = BindingOptions.BaseRole(rawValue: part), role == nil {
                role = known
            } else if part == "stored", values == nil {
                values = .stored
            } else if part == "nf4", values == nil {
                values = .nf4(try NF4Simulation(blockSize: blockSize ?? 64, doubleQuantisation: doubleQuant))
            } else {
                throw PeftfileError.noValue("--base-as", baseAs, needed: "original or residual, stored or nf4, or one of each: residual,nf4", rule: "BaseAs")
            }
        }
        if case .nf4 = values {} else if doubleQuant || blockSize != nil {
            throw PeftfileError(
                .usage, "\(doubleQuant ? "--double-quant" : "--block-size") without --base-as nf4", rule: "BaseAs",
                help: "give --base-as nf4 as well")
        }
        return (role ?? .original, values ?? .unspecified)
    }

    func mergeSettings(maximumShardSize: UInt64? = nil, writesCard: Bool = true) throws -> MergeSettings {
        guard dtype != nil || !dtypeAll else {
            throw PeftfileError(.usage, "--dtype-all without --dtype", rule: "OutputDType", help: "give --dtype as well")
        }
        let isBlocks = dtype?.lowercased() == "q8_0"
        let target = try isBlocks ? nil : dtype.map { text in
            guard let dtype = DType(spelling: text) else {
                throw PeftfileError.noChoice("--dtype", text, of: ["bf16", "f16", "f32", "f64", "q8_0"], rule: "OutputDType")
            }
            return dtype
        }
        var settings = MergeSettings(
            dtype: target, convertsAllDTypes: dtypeAll, maximumShardSize: maximumShardSize, writesCard: writesCard)
        settings.blockType = isBlocks ? .q8_0 : nil
        return settings
    }

    private func weightList() throws -> [Double] {
        guard let weights else { return [] }
        return try weights.split(separator: ",", omittingEmptySubsequences: false).map { part in
            guard let value = Double(String(part)), value.isFinite else {
                throw PeftfileError.noValue("--weights", weights, needed: "a number for each adapter, with commas between: 0.7,0.3", rule: "Weights")
            }
            return value
        }
    }
}

import ArgumentParser
import Peftfile

/// `peftfile strip`: a prompt without the network that only training needs.
struct StripCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "strip",
        abstract: "Leave only what inference needs of a prefix or prompt.",
        usage: "peftfile strip ADAPTER -o OUT [options]",
        discussion: """
            Computes the prompt that a prefix MLP, a P-tuning MLP or LSTM produces, in float64, rounded once, and writes it \
            without them. What is stripped already is said to be so: exit 0, and nothing is written without --force.
            """)

    @Argument(help: ArgumentHelp("The training state, adapter or whole model.", valueName: "adapter"), completion: .file())
    var adapter: String

    @Option(name: [.short, .long], help: ArgumentHelp("The directory to write.", valueName: "out"), completion: .file())
    var output: String

    @OptionGroup var arguments: PromptArguments

    @Flag(help: "Print the plan and write nothing.")
    var dryRun = false

    @Flag(name: [.short, .long], help: "Replace an existing output; write what is stripped already.")
    var force = false

    @Flag(inversion: .prefixedNo, help: "Take the SHA-256 of every output file for the receipt.")
    var hash = true

    @Flag(inversion: .prefixedNo, help: "Have all bytes on disk before the output gets its name.")
    var sync = true

    @OptionGroup var common: CommonOptions

    func run() throws {
        try InputPaths.requireOutsideCache(output)
        try ConvertOutput.requireWritable(output)
        let source = try PromptSource(path: InputPaths.located(adapter))
        switch try StripPlan.make(source, try arguments.options(writesStripped: force)) {
        case .alreadyStripped(let reason):
            let page = StrippedPage(path: adapter, reason: reason)
            if common.json { Console.output(page.json) } else { Console.output(page.text) }
        case .plan(let plan) where dryRun:
            let free = try? FileSystem.availableBytes(at: FileSystem.directory(of: output))
            let jobs = try common.workerCount()
            let executor = StripExecutor(plan: plan, target: output, settings: .init(replacing: force))
            if common.json {
                try executor.checkTarget()
                Console.output(plan.json(jobs: jobs, freeBytes: free, hashing: hash))
            } else {
                common.warn(plan.warnings)
                Console.output(StripPlanPage(plan: plan, jobs: jobs, freeBytes: free, hashing: hash).text)
            }
            try executor.checkTarget()
        case .plan(let plan):
            let progress = common.progress("strip", total: plan.bytesWritten)
            defer { progress?.finish() }
            let receipt = try StripExecutor(
                plan: plan, target: output,
                settings: .init(
                    jobs: try common.workerCount(), replacing: force, hashing: hash, isDurable: sync,
                    progress: progress.map { $0.update })
            ).run()
            progress?.finish()
            if common.json {
                Console.output(receipt.document)
            } else {
                common.warn(receipt.warnings)
                Console.output(StripPage(plan: plan, target: output).text)
            }
        }
    }
}

/// What a prompt's source cannot tell, and what is to become of it.
struct PromptArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Names and config of the output.", valueName: "peft|source"), completion: .list(["peft", "source"]))
    var layout: String?

    @Option(help: ArgumentHelp("Bake this task of a multitask prompt into a plain one.", valueName: "n"))
    var task: Int?

    @Option(
        help: ArgumentHelp("The prompt's dtype: bf16, f16, f32, f64; by default its embedding's.", valueName: "dtype"),
        completion: .dtypes)
    var dtype: String?

    @Option(help: ArgumentHelp("The base model's directory or config.json, or its name.", valueName: "path"), completion: .file())
    var base: String?

    @Option(help: ArgumentHelp("Layers that the prefix is for.", valueName: "n"))
    var numLayers: Int?

    @Option(help: ArgumentHelp("Heads that share the width of one key or value.", valueName: "n"))
    var numHeads: Int?

    @Option(help: ArgumentHelp("Width of one key or value, or of an input embedding.", valueName: "n"))
    var tokenDim: Int?

    @Option(help: ArgumentHelp("Virtual tokens of a flat prefix.", valueName: "n"))
    var numVirtualTokens: Int?

    @Option(
        help: ArgumentHelp("PEFT's task_type: CAUSAL_LM, SEQ_2_SEQ_LM, SEQ_CLS.", valueName: "type"),
        completion: .list(["CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS"]))
    var taskType: String?

    func options(writesStripped: Bool) throws -> StripOptions {
        let layout = try layout.map { text in
            guard let layout = StripOptions.Layout(rawValue: text) else {
                throw PeftfileError.noChoice("--layout", text, of: ["peft", "source"], rule: "Layout")
            }
            return layout
        }
        let dtype = try dtype.map { text in
            guard let dtype = DType(spelling: text) else {
                throw PeftfileError.noChoice("--dtype", text, of: ["bf16", "f16", "f32", "f64"], rule: "OutputDType")
            }
            return dtype
        }
        for (name, value) in [
            ("num-layers", numLayers), ("num-heads", numHeads), ("token-dim", tokenDim), ("num-virtual-tokens", numVirtualTokens),
        ] {
            if let value, !(1...1 << 40).contains(value) {
                throw PeftfileError.noValue("--\(name)", "\(value)", needed: "a positive number", rule: "Count")
            }
        }
        return StripOptions(
            layout: layout, task: task, dtype: dtype, base: try base.map { ($0, try PromptSource.baseConfig(at: (try? InputPaths.located($0, need: .config)) ?? $0)) },
            stated: PromptFacts(layers: numLayers, tokenWidth: tokenDim, heads: numHeads), tokens: numVirtualTokens,
            taskType: taskType, writesStripped: writesStripped)
    }
}

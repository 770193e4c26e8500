import ArgumentParser
import Peftfile

/// `peftfile convert`: a checkpoint in another container, or an adapter in another dialect, its numbers unchanged.
struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Write a checkpoint as safetensors, or an adapter in another dialect.",
        usage: """
            peftfile convert IN -o OUT [--to safetensors] [options]
            peftfile convert ADAPTER -o OUT --to peft|kohya|diffusers|mlx|gguf [options]
            """,
        discussion: """
            To safetensors, the default, every tensor of a checkpoint of any container is copied, under its own name and whole; \
            OUT is one file where its name ends in .safetensors, else a directory. To a dialect, factors are copied or turned \
            and never rounded, and the scale is carried or folded so that the product stays the same; what the target cannot \
            hold is refused. To PEFT's own dialect it also repairs names: wrappers, doubled, missing and foreign prefixes, \
            adapter names.
            """)

    @Argument(help: ArgumentHelp("The checkpoint or adapter.", valueName: "in"), completion: .file())
    var input: String

    @Option(
        name: [.short, .long], help: ArgumentHelp("The directory, or the .safetensors or .gguf file to write.", valueName: "out"),
        completion: .file())
    var output: String

    @Option(
        help: ArgumentHelp("What to write: a container, or an adapter's dialect.", valueName: "safetensors|peft|kohya|diffusers|mlx|gguf"),
        completion: .list(["safetensors"] + ConversionTarget.allCases.map(\.rawValue)))
    var to: String?

    @OptionGroup var container: ContainerArguments

    @Option(
        name: .customLong("for"), help: ArgumentHelp("Refuse what this loader cannot serve, and write the names that it reads.", valueName: "vllm|llama.cpp|mlx"),
        completion: .list(ConversionLoader.allCases.map(\.rawValue)))
    var loader: String?

    @Option(
        help: ArgumentHelp("The base, whose names tell underscores from dots; repeatable, or diffusers' directory of a pipeline.", valueName: "path"),
        completion: .file())
    var base: [String] = []

    @Option(name: .customLong("as"), help: ArgumentHelp("The component that names get: text_encoder_2; of several, text_encoder=lora_te1,unet=lora_unet.", valueName: "name"))
    var componentName: String?

    @OptionGroup var adapter: AdapterArguments

    @Option(help: ArgumentHelp("llama.cpp's name of the base's architecture, where no base is named.", valueName: "name"))
    var architecture: String?

    @Option(help: ArgumentHelp("The base's heads of queries and of keys, where no base is named.", valueName: "queries,keys"))
    var heads: String?

    @Flag(help: "Round a scale that llama.cpp cannot hold exactly to F32.")
    var roundScale = false

    @Flag(name: [.short, .long], help: "Replace an existing output.")
    var force = false

    @OptionGroup var common: CommonOptions

    func run() throws {
        try InputPaths.requireOutsideCache(output)
        try ConvertOutput.requireWritable(output)
        guard let to = to ?? (ConvertOutput.isGGUF(output) ? "gguf" : nil), to != "safetensors" else {
            try ConvertOutput.requireMatch(output, gguf: false, option: "--to safetensors")
            return try writeSafetensors()
        }
        guard let target = ConversionTarget(rawValue: to) else {
            throw PeftfileError.noChoice(
                "--to", to, of: ["safetensors"] + ConversionTarget.allCases.map(\.rawValue), rule: "ConvertTo")
        }
        try ConvertOutput.requireMatch(output, gguf: target == .gguf, option: "--to \(to)")
        if let (option, reason, isOfContainer) = container.firstGiven {
            throw PeftfileError(
                .usage, "\(option) with --to \(to): \(reason)", rule: "ConvertOption",
                help: "leave \(option) out" + (isOfContainer ? ", or convert the result again with --to safetensors \(option)" : ""))
        }
        try writeDialect(target)
    }

    /// Another container.
    private func writeSafetensors() throws {
        let given = [
            (loader, "--for"), (base.first, "--base"), (componentName, "--as"), (architecture, "--architecture"), (heads, "--heads"),
            (roundScale ? "" : nil, "--round-scale"),
        ]
        if let option = given.first(where: { $0.0 != nil })?.1 ?? adapter.firstGiven {
            throw PeftfileError(
                .usage, "\(option) without a dialect in --to", rule: "ConvertOption",
                help: "name one: --to \(ConversionTarget.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        let settings = try container.settings(isSingleFile: ConvertOutput.isSingleFile(output))
        let source = try RewritePlan.openForConversion(InputPaths.located(input), settings)
        let plan = try RewritePlan.convert(source, settings: settings)
        var execution = PlanExecutor.Settings(
            jobs: try common.workerCount(), replacing: force, hashing: container.hash, isDurable: container.sync,
            keepsCache: container.keepCache, resuming: container.resume)
        if container.dryRun { return try PlanPage.show(plan, target: output, execution, common) }
        let progress = common.progress("convert", total: plan.bytesWritten)
        execution.progress = progress.map { $0.update }
        let executor = PlanExecutor(plan: plan, target: output, settings: execution)
        defer { progress?.finish() }
        let receipt = try executor.run()
        progress?.finish()
        if common.json { return Console.output(receipt.document(target: output)) }
        common.warn(receipt.warnings)
        Console.output(ContainerPage(plan: plan, target: output).text)
    }

    /// Another dialect.
    private func writeDialect(_ target: ConversionTarget) throws {
        let loader = try loader.map { text in
            guard let loader = ConversionLoader(rawValue: text) else {
                throw PeftfileError.noChoice("--for", text, of: ConversionLoader.allCases.map(\.rawValue), rule: "ConvertFor")
            }
            return loader
        }
        let path = try InputPaths.located(input)
        if target == .gguf, !Adapter.isAdapter(path) {
            throw PeftfileError(
                .refused, "is no adapter, and a model in GGUF holds its tokenizer and settings as well", file: path,
                rule: "NotConvertible", help: "llama.cpp itself writes it: python convert_hf_to_gguf.py DIRECTORY")
        }
        let source = try Adapter(path: path)
        let model = try ConvertBase(
            base, takesConfig: target == .gguf || source.dialectName == "gguf", architecture: architecture, heads: heads)
        let conversion = try common.comparing(model.bases.isEmpty ? [] : [source], try adapter.options()) { binding in
            let options = ConversionOptions(
                bases: model.bases, binding: binding, componentName: componentName, gguf: .init(facts: model.facts, roundsScale: roundScale),
                loader: loader)
            try options.requireUsed(by: source, to: target, architecture: architecture != nil, heads: heads != nil)
            return try AdapterConversion(source, to: target, options: options)
        }
        if let loader { try conversion.requireServable(by: loader) }
        let progress = common.progress("convert", total: source.checkpoint.tensorBytes)
        defer { progress?.finish() }
        let executor = ConversionExecutor(
            conversion: conversion, target: output, replacing: force, hashing: container.hash, progress: progress.map { $0.update })
        if container.dryRun { return try show(executor, source: source) }
        let files = try executor.run()
        progress?.finish()
        let page = ConvertPage(
            conversion: conversion, source: source, target: output, files: files, receipt: executor.receiptPath)
        if common.json {
            Console.output(page.json)
        } else {
            common.warn(conversion.warnings)
            Console.output(page.text)
        }
    }

    /// The plan of a dialect.
    private func show(_ executor: ConversionExecutor, source: Adapter) throws {
        let outline = try executor.outline()
        let page = ConvertPage(
            conversion: executor.conversion, source: source, target: output, files: [outline.fileName], receipt: executor.receiptPath)
        let free = try? FileSystem.availableBytes(at: FileSystem.directory(of: output))
        if common.json {
            try executor.checkTarget()
            Console.output(page.json(of: outline, freeBytes: free))
        } else {
            common.warn(executor.conversion.warnings)
            Console.output(page.text(of: outline, freeBytes: free))
        }
        try executor.checkTarget()
    }
}

/// How a checkpoint is written in another container.
struct ContainerArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Convert the weights: bf16, f16, f32, f64.", valueName: "dtype"), completion: .dtypes)
    var dtype: String?

    @Flag(help: "Let --dtype also reach tensors kept in another of F64, F32, F16 and BF16 than most.")
    var dtypeAll = false

    @Option(help: ArgumentHelp("Shard the output anew: 5GB, 500MB; by default the input's shards are kept.", valueName: "size"))
    var maxShardSize: String?

    @Flag(name: [.customLong("dequantise"), .customLong("dequantize")], help: "Write quantised weights as numbers.")
    var dequantise = false

    @Flag(help: "Write a tensor that has several names under each of them.")
    var keepShared = false

    @Flag(help: "Print the plan and write nothing.")
    var dryRun = false

    @Flag(help: "Go on where an earlier run of the same conversion stopped; keep what is finished if this one does.")
    var resume = false

    @Flag(inversion: .prefixedNo, help: "Take the SHA-256 of every output file for the receipt.")
    var hash = true

    @Flag(inversion: .prefixedNo, help: "Have all bytes on disk before the output gets its name.")
    var sync = true

    @Flag(help: "Leave the output in the page cache, for a reader that comes next.")
    var keepCache = false

    /// The first option that was given and that means nothing to a dialect, by its name; why, and whether the container may have it then.
    var firstGiven: (name: String, reason: String, isOfContainer: Bool)? {
        let (dtypes, files) = ("a dialect keeps each tensor's own dtype", "a dialect is written as one small file")
        let given: [(Bool, String, String, Bool)] = [
            (dtype != nil, "--dtype", dtypes, true), (dtypeAll, "--dtype-all", dtypes, true), (maxShardSize != nil, "--max-shard-size", files, true),
            (dequantise, "--dequantise", "an adapter's tensors are numbers and no codes", false),
            (keepShared, "--keep-shared", "a dialect has a name for each tensor", false), (resume, "--resume", files + ", from the start", false),
            (!sync, "--no-sync", files + ", and always synced", false), (keepCache, "--keep-cache", files + ", and stays in the page cache", false),
        ]
        return given.first { $0.0 }.map { ($0.1, $0.2, $0.3) }
    }

    func settings(isSingleFile: Bool) throws -> ConvertSettings {
        guard dtype != nil || !dtypeAll else {
            throw PeftfileError(.usage, "--dtype-all without --dtype", rule: "OutputDType", help: "give --dtype as well")
        }
        let target = try dtype.map { text in
            guard let dtype = DType(spelling: text) else {
                throw PeftfileError(.usage, "--dtype \(text): bf16, f16, f32 or f64", rule: "OutputDType")
            }
            return dtype
        }
        return ConvertSettings(
            dtype: target, convertsAllDTypes: dtypeAll, maximumShardSize: try maxShardSize.map(ShardSize.bytes),
            dequantises: dequantise, keepsShared: keepShared, isSingleFile: isSingleFile)
    }
}

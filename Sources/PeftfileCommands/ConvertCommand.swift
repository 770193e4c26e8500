import ArgumentParser
import Peftfile

/// `peftfile convert`: an adapter in another dialect, its product unchanged.
struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Write an adapter in another dialect.",
        usage: "peftfile convert ADAPTER --to DIALECT -o OUT [options]",
        discussion: """
            Factors are copied or turned and never rounded, and the scale is carried or folded so that the product stays the \
            same; what the target cannot hold is refused. To PEFT's own dialect it also repairs names: wrappers, doubled, \
            missing and foreign prefixes, adapter names.
            """)

    @Argument(help: ArgumentHelp("The adapter.", valueName: "adapter"))
    var adapter: String

    @Option(name: [.short, .long], help: ArgumentHelp("The directory to write, or the file X.gguf.", valueName: "out"))
    var output: String

    @Option(help: ArgumentHelp("The dialect to write.", valueName: "peft|kohya|diffusers|mlx|gguf"))
    var to: String

    @Option(name: .customLong("for"), help: ArgumentHelp("Refuse what this loader cannot serve.", valueName: "vllm|llama.cpp|mlx"))
    var loader: String?

    @Option(help: ArgumentHelp("The base, whose names tell underscores from dots.", valueName: "path"))
    var base: String?

    @Option(help: ArgumentHelp("The component to write, or to take from a file of several: lora_te1.", valueName: "name"))
    var component: String?

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
        guard let target = ConversionTarget(rawValue: to) else {
            throw PeftfileError.noChoice("--to", to, of: ConversionTarget.allCases.map(\.rawValue), rule: "ConvertTo")
        }
        let loader = try loader.map { text in
            guard let loader = ConversionLoader(rawValue: text) else {
                throw PeftfileError.noChoice("--for", text, of: ConversionLoader.allCases.map(\.rawValue), rule: "ConvertFor")
            }
            return loader
        }
        let path = try InputPaths.located(adapter)
        if target == .gguf, !Adapter.isAdapter(path) {
            throw PeftfileError(
                .refused, "is no adapter, and a model in GGUF holds its tokenizer and settings as well", file: path,
                rule: "NotConvertible", help: "llama.cpp itself writes it: python convert_hf_to_gguf.py DIRECTORY")
        }
        let source = try Adapter(path: path)
        let model = try ConvertBase(
            base, takesConfig: target == .gguf || source.dialectName == "gguf", architecture: architecture, heads: heads)
        let conversion = try AdapterConversion(
            source, to: target, base: model.checkpoint, component: component,
            gguf: .init(facts: model.facts, roundsScale: roundScale))
        if let loader { try conversion.requireServable(by: loader) }
        let files = try ConversionExecutor(conversion: conversion, target: output, replacing: force).run()
        let page = ConvertPage(conversion: conversion, source: source, target: output, files: files)
        if common.json {
            Console.output(page.json.serialized(indent: 2) + "\n")
        } else {
            Console.output(page.text)
        }
    }
}

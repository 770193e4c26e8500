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

    @Option(name: [.short, .long], help: ArgumentHelp("The directory to write.", valueName: "out"))
    var output: String

    @Option(help: ArgumentHelp("The dialect to write.", valueName: "peft|kohya|diffusers|mlx"))
    var to: String

    @Option(name: .customLong("for"), help: ArgumentHelp("Refuse what this loader cannot serve.", valueName: "vllm|llama.cpp|mlx"))
    var loader: String?

    @Option(help: ArgumentHelp("The base, whose names tell underscores from dots.", valueName: "path"))
    var base: String?

    @Option(help: ArgumentHelp("The component to write, or to take from a file of several: lora_te1.", valueName: "name"))
    var component: String?

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
        let source = try Adapter(path: InputPaths.located(adapter))
        let conversion = try AdapterConversion(
            source, to: target, base: try base.map { try Checkpoint.open(InputPaths.located($0)) }, component: component)
        if let loader { try conversion.requireServable(by: loader) }
        let files = try ConversionExecutor(conversion: conversion, target: output, replacing: force).run()
        let page = ConvertPage(conversion: conversion, source: source, target: output, files: files)
        if common.json {
            Console.output(page.json)
        } else {
            Console.output(page.text)
        }
    }
}

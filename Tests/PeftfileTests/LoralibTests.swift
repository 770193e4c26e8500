import Peftfile
import TestSupport
import Testing

/// Files that loralib wrote, beside what its own layers merge to in float64 (`Fixtures/loralib`): all of them with `--scale`, those of
/// fused layers with `--enable-lora`, and square weights with `--square-orientation`.
@Suite struct LoralibTests {
    struct Case: Sendable, CustomTestStringConvertible {
        static let names = ((try? FileSystem.list(Fixtures.path("loralib"))) ?? []).sorted()

        let name: String
        private let file: JSONValue

        init(_ name: String) throws {
            self.name = name
            file = try JSONValue.parse(TestFile.bytes(Fixtures.path("loralib/\(name)/case.json")), file: name)
        }

        var testDescription: String { name }
        var square: BindingOptions.Orientation? { file["square"]?.stringValue.flatMap(BindingOptions.Orientation.init(rawValue:)) }
        var options: BindingOptions {
            var options = BindingOptions(scale: file["scale"]?.doubleValue)
            options.enableLoRA = (file["parts"]?.arrayValue ?? []).compactMap(\.boolValue)
            options.squareOrientation = square
            return options
        }

        func binding(_ options: BindingOptions) throws -> Binding {
            try Binding(
                base: Checkpoint.open(Fixtures.path("loralib/\(name)/base.safetensors")),
                adapters: [Adapter(path: Fixtures.path("loralib/\(name)/adapter.pt"))], options: options)
        }

        /// Every byte of a merge against loralib's.
        func check(_ options: BindingOptions, equals expected: Bool = true) throws {
            let directory = try TemporaryDirectory()
            let binding = try binding(options)
            _ = try PlanExecutor(plan: .merge(binding), target: directory.path("out.safetensors")).run()
            let result = try Checkpoint.open(directory.path("out.safetensors"))
            let truth = try Checkpoint.open(Fixtures.path("loralib/\(name)/expected.safetensors"))
            #expect(Set(result.tensors.map(\.name)) == Set(truth.tensors.map(\.name)))
            let isSame = try truth.tensors.allSatisfy { try truth.read($0) == result.read(#require(result[$0.name])) }
            #expect(isSame == expected, "\(name)")
            #expect(try Verifier(binding: binding, result: result).run().isEquivalent, "\(name)")
        }
    }

    @Test func allCasesAreThere() { #expect(Case.names.count == 16) }

    @Test(arguments: Case.names) func mergesAsTheLibraryDoes(_ name: String) throws {
        let item = try Case(name)
        try item.check(item.options)
    }

    /// Nothing in the file or the base tells how a square weight lies: it is asked by name, and done as it is answered.
    @Test(arguments: Case.names) func aSquareWeightIsAsked(_ name: String) throws {
        let item = try Case(name)
        guard let square = item.square else { return }
        var options = item.options
        options.squareOrientation = nil
        let error = #expect(throws: PeftfileError.self) { try item.binding(options) }
        #expect(error?.rule == "SquareOrientation" && error?.help?.contains("--square-orientation in-out (or out-in)") == true, "\(error as Any)")
        options.squareOrientation = square == .inOut ? .outIn : .inOut
        try item.check(options, equals: false)
    }

    /// A conversion without a base asks the same, and what is answered goes with the file.
    @Test(arguments: Case.names) func aConversionOfASquareFileIsAsked(_ name: String) throws {
        let item = try Case(name)
        guard let square = item.square else { return }
        var options = item.options
        options.squareOrientation = nil
        let adapter = try Adapter(path: Fixtures.path("loralib/\(name)/adapter.pt"))
        let error = #expect(throws: PeftfileError.self) { _ = try AdapterConversion(adapter, to: .peft, options: .init(binding: options)) }
        #expect(error?.rule == "SquareOrientation" && error?.help?.contains("--square-orientation in-out (or out-in)") == true, "\(error as Any)")
        options.squareOrientation = square
        let conversion = try AdapterConversion(adapter, to: .peft, options: .init(binding: options))
        #expect(conversion.config?["fan_in_fan_out"]?.boolValue == (square == .inOut))
    }

    /// A name that no type of transformers has tells nothing of the layers.
    @Test func anUnknownArchitectureDoesNotAnswer() throws {
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("base"))
        try TestFile.write(TestFile.bytes(Fixtures.path("loralib/linear-square/base.safetensors")), to: directory.path("base/model.safetensors"))
        try directory.write(#"{"model_type": "jais"}"#, to: "base/config.json")
        let adapter = try Adapter(path: Fixtures.path("loralib/linear-square/adapter.pt"))
        let error = #expect(throws: PeftfileError.self) {
            _ = try Binding(base: Checkpoint.open(directory.path("base")), adapters: [adapter], options: BindingOptions(scale: 2))
        }
        #expect(error?.rule == "SquareOrientation", "\(error as Any)")
    }

    /// A base whose architecture is named, and known to have no such layers, answers too.
    @Test func aKnownArchitectureAnswers() throws {
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("base"))
        try TestFile.write(TestFile.bytes(Fixtures.path("loralib/linear-square/base.safetensors")), to: directory.path("base/model.safetensors"))
        try directory.write(#"{"model_type": "roberta"}"#, to: "base/config.json")
        let adapter = try Adapter(path: Fixtures.path("loralib/linear-square/adapter.pt"))
        let binding = try Binding(base: Checkpoint.open(directory.path("base")), adapters: [adapter], options: BindingOptions(scale: 2))
        #expect(binding.targets.count == 1)
    }

    /// The factors of one part look like a plain layer's: with a base that has a layer of that size they are one.
    @Test func aPlainLayerBesideAFusedOneStaysPlain() throws {
        let item = try Case("linear")
        var options = item.options
        options.enableLoRA = [false, true, false]
        try item.check(options)
    }

    /// Without groups the product is that of two factors with a window, so PEFT's dialect and kohya's hold it; with groups none does.
    @Test(arguments: ["conv2d", "conv2d-groups", "conv1d-pointwise"], [ConversionTarget.peft, .kohya])
    func aConvolutionIsAPairWithAWindow(_ name: String, _ target: ConversionTarget) throws {
        let directory = try TemporaryDirectory()
        let (base, item) = (Fixtures.path("loralib/\(name)/base.safetensors"), try Case(name))
        let source = try Adapter(path: Fixtures.path("loralib/\(name)/adapter.pt"))
        let options = ConversionOptions(bases: [PipelineBase(try Checkpoint.open(base))], binding: item.options)
        guard name != "conv2d-groups" else {
            let error = #expect(throws: PeftfileError.self) { try AdapterConversion(source, to: target, options: options) }
            #expect(error?.rule == "NotConvertible")
            return
        }
        let output = directory.path("out")
        _ = try ConversionExecutor(conversion: AdapterConversion(source, to: target, options: options), target: output).run()
        let binding = try Binding(base: .open(base), adapters: [Adapter(path: output)])
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("merged.safetensors")).run()
        let (result, truth) = (
            try Checkpoint.open(directory.path("merged.safetensors")), try Checkpoint.open(Fixtures.path("loralib/\(name)/expected.safetensors"))
        )
        for tensor in truth.tensors { #expect(try truth.read(tensor) == result.read(#require(result[tensor.name])), "\(tensor.name)") }
    }

    /// A fused layer, plain ones, an embedding and convolutions of one file, to PEFT's dialect and back into a merge: the same bytes. The
    /// convolution in groups has no pair of factors; the rest goes without it.
    @Test(arguments: ["mixed", "mixed-one-part"]) func aMixedFileIsConverted(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let item = try Case(name)
        let base = try Checkpoint.open(Fixtures.path("loralib/\(name)/base.safetensors"))
        let source = try Adapter(path: Fixtures.path("loralib/\(name)/adapter.pt"))
        let options = ConversionOptions(bases: [PipelineBase(base)], binding: item.options)
        let error = #expect(throws: PeftfileError.self) { try AdapterConversion(source, to: .peft, options: options) }
        #expect(error?.rule == "NotConvertible" && error?.tensor == "wide.lora_A", "\(error as Any)")
        let rest = try source.checkpoint.tensors.filter { !$0.name.text.hasPrefix("wide.") }.map { tensor in
            SmallTensor(name: tensor.name, shape: tensor.shape, values: try source.checkpoint.numbers(tensor.name))
        }
        try SmallTensor.write(rest, to: directory.path("adapter.safetensors"))
        let output = directory.path("out")
        let conversion = try AdapterConversion(Adapter(path: directory.path("adapter.safetensors")), to: .peft, options: options)
        _ = try ConversionExecutor(conversion: conversion, target: output).run()
        _ = try PlanExecutor(plan: .merge(Binding(base: base, adapters: [Adapter(path: output)])), target: directory.path("merged.safetensors")).run()
        let (result, truth) = (
            try Checkpoint.open(directory.path("merged.safetensors")), try Checkpoint.open(Fixtures.path("loralib/\(name)/expected.safetensors"))
        )
        for tensor in truth.tensors where !tensor.name.text.hasPrefix("wide.") {
            #expect(try truth.read(tensor) == result.read(#require(result[tensor.name])), "\(tensor.name)")
        }
    }

    @Test func aHintDoesNotLeadInACircle() throws {
        let item = try Case("one-part")
        var options = item.options
        options.enableLoRA = []
        let error = #expect(throws: PeftfileError.self) { try item.binding(options) }
        #expect(error?.rule == "ShapeMismatch" && error?.help?.contains("--enable-lora") == true, "\(error as Any)")
    }
}

import Foundation
import Peftfile
import TestSupport
import Testing

/// The encoders against a second implementation, in shapes that no fixture has; each result is verified as well.
@Suite struct StripFormulaTests {
    /// Strips a state and returns the one tensor's numbers.
    private func strip(
        _ state: PromptState, config: String?, options: StripOptions = StripOptions(), name: ExactString = "prompt_embeddings"
    ) throws -> [Double] {
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: config)
        _ = try #require(try StripCase.strip(source, to: directory.path("out"), options))
        let report = try StripCase.verify(directory.path("out"), from: source)
        #expect(report.isEquivalent, "\(report.json.serialized())")
        let result = try PromptSource.open(directory.path("out")).checkpoint
        let tensor = try #require(result[name])
        return try Conversion.widened(try result.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
    }

    private func expect(_ found: [Double], _ wanted: PlainPrompts.Matrix, _ what: String) {
        let wanted = wanted.flatMap { $0 }
        #expect(found.count == wanted.count)
        let worst = zip(found, wanted).map { ($0 - $1).magnitude }.max() ?? 1
        // Sums of at most 64 products of numbers below 8: 64 · 8 · 2^-52 for either side, doubled for what layers pass on.
        #expect(worst < 3e-13, "\(what): \(worst)")
    }

    @Test(arguments: [(1, 1, 1, 1), (1, 5, 4, 3), (2, 7, 6, 5), (3, 4, 8, 8), (4, 9, 3, 2)])
    func lstm(_ layers: Int, _ tokens: Int, _ width: Int, _ h: Int) throws {
        var state = PromptState(seed: UInt64(layers * 100 + tokens))
        let root = "module.prompt_encoder.my-adapter"
        var x = state.matrix("\(root).embedding.weight", tokens, width)
        for k in 0..<layers {
            let inputs = k == 0 ? width : 2 * h
            let forward = state.direction("\(root).lstm_head", "l\(k)", inputs, h)
            let reverse = state.direction("\(root).lstm_head", "l\(k)_reverse", inputs, h)
            x = PlainPrompts.bidirectional(forward, reverse, x, hidden: h)
        }
        let first = state.layer("\(root).mlp_head.0", 2 * h, 2 * h)
        let last = state.layer("\(root).mlp_head.2", width, 2 * h)
        x = PlainPrompts.linear(PlainPrompts.apply({ max($0, 0) }, PlainPrompts.linear(x, first.0, first.1)), last.0, last.1)
        expect(try strip(state, config: nil), x, "\(layers) layers")
    }

    @Test(arguments: [2, 3]) func controlTransform(_ depth: Int) throws {
        var state = PromptState(seed: 7 + UInt64(depth))
        var x = state.matrix("_orig_mod.wte.weight", 5, 6)
        for index in 0..<depth {
            let (outputs, inputs) = (index == depth - 1 ? 16 : 9, index == 0 ? 6 : 9)
            let layer = state.layer("_orig_mod.control_trans.\(2 * index)", outputs, inputs)
            x = PlainPrompts.linear(index == 0 ? x : PlainPrompts.apply(tanh, x), layer.0, layer.1)
        }
        let found = try strip(state, config: nil, options: StripOptions(layout: .source), name: "control_trans")
        expect(found, x, "depth \(depth)")
        let stated = StripOptions(stated: PromptFacts(layers: 2, heads: 2))
        expect(try strip(state, config: nil, options: stated), x, "depth \(depth), PEFT's layout")
    }

    /// P-tuning v1: LSTM of half the width, all tensors at the top or under an encoder.
    @Test(arguments: ["", "prompt_encoder.", "module.prompt_encoder."]) func firstPTuning(_ prefix: String) throws {
        var state = PromptState(seed: 12)
        var x = state.matrix("\(prefix)embedding.weight", 4, 6)
        for k in 0..<2 {
            let forward = state.direction("\(prefix)lstm_head", "l\(k)", 6, 3)
            let reverse = state.direction("\(prefix)lstm_head", "l\(k)_reverse", 6, 3)
            x = PlainPrompts.bidirectional(forward, reverse, x, hidden: 3)
        }
        let first = state.layer("\(prefix)mlp_head.0", 6, 6)
        let last = state.layer("\(prefix)mlp_head.2", 6, 6)
        x = PlainPrompts.linear(PlainPrompts.apply({ max($0, 0) }, PlainPrompts.linear(x, first.0, first.1)), last.0, last.1)
        expect(try strip(state, config: nil), x, prefix)
    }

    @Test func openDelta() throws {
        var state = PromptState(seed: 30)
        let root = "backbone.encoder.layer.0.attention.reparams"
        let x = state.matrix("\(root).wte.weight", 3, 5)
        let first = state.layer("\(root).control_trans.0", 7, 5)
        let last = state.layer("\(root).control_trans.2", 2 * 2 * 4, 7)
        state.tensors.append(SmallTensor(name: ExactString("\(root).input_tokens"), shape: [3], values: [0, 1, 2], dtype: .f64))
        let options = StripOptions(stated: PromptFacts(tokenWidth: 4, heads: 2))
        let wanted = PlainPrompts.linear(
            PlainPrompts.apply(tanh, PlainPrompts.linear(x, first.0, first.1)), last.0, last.1)
        expect(try strip(state, config: nil, options: options), wanted, "OpenDelta")
    }

    /// OpenDelta's own layout: a pair of tensors for each attention module, whose names follow from the first one's, or from the
    /// numbers in `modified_modules`; they strip to nothing more, and to the same PEFT adapter.
    @Test(arguments: [[2, 3, 4], [2, 4, 10]]) func openDeltasOwnLayout(_ layers: [Int]) throws {
        var state = PromptState(seed: 31)
        func path(_ layer: Int) -> String { "bert.encoder.layer.\(layer).attention" }
        let x = state.matrix("module.\(path(2)).reparams.wte.weight", 3, 5)
        let first = state.layer("module.\(path(2)).reparams.control_trans.0", 7, 5)
        let last = state.layer("module.\(path(2)).reparams.control_trans.2", 3 * 2 * 4, 7)
        _ = state.matrix("module.classifier.weight", 2, 4)
        let wanted = PlainPrompts.linear(
            PlainPrompts.apply(tanh, PlainPrompts.linear(x, first.0, first.1)), last.0, last.1)
        let modules = layers == [2, 3, 4] ? #"["attention"]"# : #"["2.attention", "4.attention", "10.attention"]"#
        let config = #"{"reparameterize": true, "embed_dim": 5, "mid_dim": 7, "modified_modules": \#(modules)}"#
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: config)
        let options = StripOptions(layout: .source, stated: PromptFacts(layers: 3))
        _ = try #require(try StripCase.strip(source, to: directory.path("own"), options))
        #expect(try StripCase.verify(directory.path("own"), from: source).isEquivalent)
        let own = try PromptSource.open(directory.path("own"))
        #expect(own.checkpoint.tensors.count == 7 && own.checkpoint["classifier.weight"] != nil)
        #expect(own.config?.json["reparameterize"] == false)
        for (index, layer) in layers.enumerated() {
            for (side, name) in ["past_key", "past_value"].enumerated() {
                let found = try own.checkpoint.numbers(ExactString("\(path(layer)).prefix.\(name)"))
                let start = (2 * index + side) * 4
                expect(found, wanted.map { Array($0[start..<(start + 4)]) }, "\(layer) \(name)")
            }
        }
        guard case .alreadyStripped(let reason) = try StripPlan.make(PromptSource(path: directory.path("own"))) else {
            Issue.record("something to strip is left")
            return
        }
        #expect(reason.contains("OpenDelta"))
        let stated = StripOptions(layout: .peft, stated: PromptFacts(heads: 2))
        _ = try #require(try StripCase.strip(directory.path("own"), to: directory.path("peft"), stated))
        #expect(try StripCase.verify(directory.path("peft"), from: directory.path("own")).isEquivalent)
        let peft = try PromptSource.open(directory.path("peft"))
        expect(try peft.checkpoint.numbers("prompt_embeddings"), wanted, "PEFT")
        #expect(peft.config?.json["num_layers"] == 3 && peft.config?.json["token_dim"] == 4)
    }

    @Test func namesThatOpenDeltaDoesNotTellAreRefused() throws {
        func rule(_ path: String, layers: Int?, base: String? = nil, modified: String = "[]") throws -> String? {
            var state = PromptState(seed: 32)
            _ = state.matrix("\(path).reparams.wte.weight", 3, 5)
            _ = state.layer("\(path).reparams.control_trans.0", 7, 5)
            _ = state.layer("\(path).reparams.control_trans.2", 3 * 2 * 4, 7)
            let directory = try TemporaryDirectory()
            let source = try state.write(into: directory, config: #"{"modified_modules": \#(modified)}"#)
            var options = StripOptions(layout: .source, stated: PromptFacts(layers: layers))
            if let base {
                options.base = ("base", try AdapterConfig(json: JSONValue.parse(Array(base.utf8), file: nil).objectValue ?? [:], path: "base"))
            }
            do {
                _ = try StripCase.strip(source, to: directory.path("out"), options)
                return nil
            } catch let error as PeftfileError { return error.rule }
        }
        #expect(try rule("h.0.attn", layers: 3) == nil)
        #expect(try rule("h.0.attn", layers: nil) == "OptionMissing")
        #expect(try rule("h.0.attn", layers: 5) == "PrefixWidth")
        #expect(try rule("block.0.layer.0", layers: 3) == "NoSourceLayout")
        #expect(try rule("h.0.attn", layers: 3, modified: #"["0.attn", "4.attn"]"#) == "NoSourceLayout")
        #expect(try rule("h.0.attn", layers: nil, base: #"{"hidden_size": 4, "num_hidden_layers": 3}"#) == nil)
        #expect(try rule("h.0.attn", layers: nil, base: #"{"hidden_size": 4, "num_hidden_layers": 12}"#) == "NoSourceLayout")
    }

    @Test(arguments: PromptActivation.allCases) func adapterHubsFunctions(_ activation: PromptActivation) throws {
        var state = PromptState(seed: 40)
        let root = "prefix_tuning.prefix_tunings.a.self_prefix"
        let x = state.matrix("\(root).wte.weight", 4, 5)
        let first = state.layer("\(root).control_trans.0", 6, 5)
        let last = state.layer("\(root).control_trans.2", 8, 6)
        let function: (Double) -> Double =
            switch activation {
            case .tanh: { tanh($0) }
            case .relu: { max($0, 0) }
            case .sigmoid: PlainPrompts.sigmoid
            case .silu: { $0 * PlainPrompts.sigmoid($0) }
            case .leakyReLU: { $0 < 0 ? 0.01 * $0 : $0 }
            case .geluTanh: { 0.5 * $0 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * pow($0, 3)))) }
            case .quickGELU: { $0 * PlainPrompts.sigmoid(1.702 * $0) }
            case .identity: { $0 }
            case .relu2: { pow(max($0, 0), 2) }
            case .relu6: { min(max($0, 0), 6) }
            case .gelu: { 0.5 * $0 * erfc(-$0 / 2.0.squareRoot()) }
            case .clippedGELU: { min(max(0.5 * $0 * erfc(-$0 / 2.0.squareRoot()), -10), 10) }
            case .fastGELU: { 0.5 * $0 * (1 + tanh($0 * 0.7978845608 * (1 + 0.044715 * $0 * $0))) }
            case .mish: { $0 * tanh(log1p(exp($0))) }
            case .hardswish: { $0 * min(max($0 + 3, 0), 6) / 6 }
            case .laplace: { 0.5 * (1 + erf(($0 - 0.707107) / (0.282095 * 2.0.squareRoot()))) }
            }
        let wanted = PlainPrompts.linear(
            PlainPrompts.apply(function, PlainPrompts.linear(x, first.0, first.1)), last.0, last.1)
        let config = #"{"config": {"architecture": "prefix_tuning", "flat": false, "non_linearity": "\#(activation.rawValue)"}}"#
        let found = try strip(
            state, config: config, options: StripOptions(layout: .source), name: ExactString("\(root).control_trans"))
        expect(found, wanted, activation.rawValue)
    }

    /// The panels of a weight and the number of threads change no bit.
    @Test func widePrefix() throws {
        var state = PromptState(seed: 50)
        let x = state.matrix("transformer.prefix_encoder.embedding.weight", 2, 24)
        let first = state.layer("transformer.prefix_encoder.trans.0", 600, 24)
        let last = state.layer("transformer.prefix_encoder.trans.2", 4000, 600)
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: nil)
        var files: [[UInt8]] = []
        for jobs in [1, 3] {
            guard case .plan(let plan) = try StripPlan.make(PromptSource(path: source), StripOptions(layout: .source)) else {
                Issue.record("nothing to strip")
                return
            }
            _ = try StripExecutor(plan: plan, target: directory.path("out\(jobs)"), settings: .init(jobs: jobs)).run()
            files.append(try TestFile.bytes(directory.path("out\(jobs)/adapter_model.safetensors")))
        }
        #expect(files[0] == files[1])
        let wanted = PlainPrompts.linear(
            PlainPrompts.apply(tanh, PlainPrompts.linear(x, first.0, first.1)), last.0, last.1).flatMap { $0 }
        let result = try PromptSource.open(directory.path("out1")).checkpoint
        let values = try Conversion.widened(try result.read(result.tensors[0]), as: .f64, count: 8000)
        #expect(zip(values, wanted).allSatisfy { ($0 - $1).magnitude < 1e-11 })
        #expect(try StripCase.verify(directory.path("out1"), from: source).isEquivalent)
    }
}

import ByteAccess
import Checking
import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

/// Modules that the config names and the file lacks. What PEFT would adapt is `check_target_module_exists` in
/// peft/tuners/tuners_utils.py: a string matches the whole path, a list the ends of it.
@Suite struct LostModuleTests {
    let folder: TemporaryDirectory
    init() throws { folder = try TemporaryDirectory() }

    static let projections = ["q_proj", "k_proj", "v_proj", "o_proj"]

    /// A base of `layers` layers with four projections each, and biases.
    func base(layers: Int = 4, head: Bool = true, config: String = "") throws -> Checkpoint {
        var tensors: [SmallAdapter.Values] = head ? [.init("lm_head.weight", [6, 8])] : []
        for layer in 0..<layers {
            for name in Self.projections {
                let path = "model.layers.\(layer).self_attn.\(name)"
                tensors += [.init("\(path).weight", [8, 8]), .init("\(path).bias", [8])]
            }
        }
        let rest = tensors.filter { $0.name != "model.layers.0.self_attn.q_proj.weight" }
        try SmallAdapter.base(in: folder.path("base"), config: #", "num_hidden_layers": 4\#(config)"#, more: rest)
        return try Checkpoint.open(folder.path("base"))
    }

    /// A LoRA on the modules that `has` keeps.
    func adapter(_ config: String, extra: [SmallAdapter.Values] = [], layers: Range<Int> = 0..<4, has: (Int, String) -> Bool) throws -> String {
        var tensors = extra
        for layer in layers {
            for name in Self.projections where has(layer, name) {
                let path = "base_model.model.model.layers.\(layer).self_attn.\(name)"
                tensors += [.init("\(path).lora_A.weight", [2, 8]), .init("\(path).lora_B.weight", [8, 2])]
            }
        }
        let path = folder.path("adapter")
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try SmallAdapter.write(tensors, to: "\(path)/adapter_model.safetensors")
        try TestFile.write(#"{"peft_type": "LORA", "r": 2, "lora_alpha": 2, \#(config)}"#, to: "\(path)/adapter_config.json")
        return path
    }

    func findings(_ path: String, _ base: Checkpoint?) throws -> [Finding] {
        try Checker(options: CheckOptions(base: base, jobs: 1)).check(path).findings.filter { $0.severity > .note }
    }

    static let all = #""target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]"#
    static let configs = [
        all, #""target_modules": "all-linear""#, #""target_modules": ".*\\.(q|k|v|o)_proj""#,
        #""target_modules": "^(?!.*vision).*_proj$""#, all + #", "exclude_modules": ["lm_head"]"#,
        all + #", "exclude_modules": ".*lm_head""#, all + #", "layers_to_transform": [0, 1, 2, 3]"#,
    ]

    @Test(arguments: configs) func oneThatIsGoneIsAnErrorWithTheBase(_ config: String) throws {
        let base = try base()
        #expect(try findings(adapter(config) { _, _ in true }, base) == [])
        let found = try findings(adapter(config) { $0 != 3 || $1 != "v_proj" }, base)
        #expect(found.map(\.rule) == ["missing-module"] && found.map(\.severity) == [.error])
        #expect(found.first?.message.contains(#""model.layers.3.self_attn.v_proj""#) == true)
        // Of every layer, where the config does not spell it.
        #expect(try findings(adapter(config) { $1 != "v_proj" }, base).contains { $0.rule == "missing-module" && $0.severity == .error })
        // A layer of its own.
        #expect(try findings(adapter(config) { layer, _ in layer != 3 }, base).contains { $0.severity == .error })
    }

    /// What the config leaves out is not lost, nor are layers that a checkpoint holds beyond the model's.
    @Test func whatIsNotMeantIsNotMissed() throws {
        let five = try base(layers: 5)
        #expect(try findings(adapter(Self.all) { _, _ in true }, five) == [])
        for config in [
            Self.all + #", "exclude_modules": ["v_proj"]"#, Self.all + #", "exclude_modules": ".*\\.v_proj""#,
            #""target_modules": ".*\\.[qko]_proj""#,
        ] { #expect(try findings(adapter(config) { $1 != "v_proj" }, five) == []) }
        #expect(try findings(adapter(Self.all + #", "layers_to_transform": [1, 2]"#) { layer, _ in (1...2).contains(layer) }, five) == [])
    }

    @Test func gapsAreAWarningWithoutABase() throws {
        func gaps(_ config: String = Self.all, layers: Range<Int> = 0..<8, has: (Int, String) -> Bool) throws -> [Severity] {
            try findings(adapter(config, layers: layers, has: has), nil).filter { $0.rule == "missing-module" }.map(\.severity)
        }
        #expect(try gaps { _, _ in true } == [])
        #expect(try gaps { $0 != 4 || $1 != "q_proj" } == [.warning])
        #expect(try gaps { layer, _ in layer != 3 } == [.warning])
        // Two kinds of layers that take turns are no gap, nor is what the config says.
        #expect(try gaps { layer, _ in layer % 2 == 0 } == [])
        #expect(try gaps(layers: 0..<32) { layer, _ in layer % 8 == 4 } == [])
        #expect(try gaps { $1 != "v_proj" || $0 % 4 == 0 } == [])
        #expect(try gaps(Self.all + #", "layers_to_transform": [0, 1, 2, 4]"#) { layer, _ in layer != 3 } == [])
    }

    @Test func biasesThatTheConfigMeansAreMissed() throws {
        let base = try base()
        func biases(_ names: [String]) -> [SmallAdapter.Values] {
            (0..<4).flatMap { layer in
                names.map { .init("base_model.model.model.layers.\(layer).self_attn.\($0).base_layer.bias", [8]) }
            }
        }
        let two = #""target_modules": ["q_proj", "v_proj"]"#
        func found(_ bias: String, _ extra: [SmallAdapter.Values]) throws -> [String] {
            try findings(adapter(two + #", "bias": "\#(bias)""#, extra: extra) { $1 == "q_proj" || $1 == "v_proj" }, base).map(\.rule)
        }
        #expect(try found("none", []) == [])
        #expect(try found("lora_only", biases(["q_proj", "v_proj"])) == [])
        #expect(try found("lora_only", biases(["q_proj"])) == ["missing-module"])
        #expect(try found("lora_only", []) == ["missing-module"])
        #expect(try found("all", []) == ["missing-module"])
    }

    @Test func everyLoraBHasItsBias() throws {
        let bias: (Int) -> SmallAdapter.Values = { .init("base_model.model.model.layers.\($0).self_attn.q_proj.lora_B.bias", [8]) }
        let config = #""target_modules": ["q_proj"], "lora_bias": true"#
        #expect(try findings(adapter(config, extra: (0..<4).map(bias)) { $1 == "q_proj" }, nil) == [])
        let found = try findings(adapter(config, extra: (0..<3).map(bias)) { $1 == "q_proj" }, nil)
        #expect(found.map(\.rule) == ["missing-pair"] && found[0].tensor?.text.contains("layers.3.self_attn.q_proj.lora_B.bias") == true)
    }

    @Test(arguments: [
        (#""target_modules": "(q_proj""#, "target_modules"), (#""target_modules": ["q_proj"], "exclude_modules": "*bad""#, "exclude_modules"),
        (#""target_modules": ["q_proj"], "rank_pattern": {"(": 2}"#, "rank_pattern"),
    ])
    func whatIsNoRegularExpressionIsAFinding(_ config: String, _ key: String) throws {
        let subject = try Checker().check(adapter(config) { $1 == "q_proj" })
        let errors = subject.findings.filter { $0.severity == .error }
        #expect(errors.map(\.rule) == ["config-invalid"] && errors[0].message.hasPrefix("\(key) is no regular expression"))
        #expect(subject.verdict(failOn: .error) == .fail)
    }

    /// What Python knows and this version does not cannot be judged, and is no defect.
    @Test func aPatternBeyondThisVersionStaysOpen() throws {
        let subject = try Checker().check(adapter(#""target_modules": "(?i).*q_proj""#) { $1 == "q_proj" })
        #expect(subject.findings == [])
        #expect(subject.verdict(failOn: .error) == .inconclusive)
    }
}

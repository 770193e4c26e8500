import Peftfile
import TestSupport
import Testing

/// What strip refuses, completes and leaves alone.
@Suite struct StripRuleTests {
    private static let root = "prompt_encoder.default"

    /// A prefix MLP: 3 tokens, width 4, 2 layers with slots of 4, hidden 5.
    static func prefix(_ prefix: String = "", seed: UInt64 = 1) -> PromptState {
        var state = PromptState(seed: seed)
        _ = state.matrix("\(prefix)\(root).embedding.weight", 3, 4)
        _ = state.layer("\(prefix)\(root).transform.0", 5, 4)
        _ = state.layer("\(prefix)\(root).transform.2", 16, 5)
        return state
    }

    static func config(_ more: String = "") -> String {
        #"{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3, "token_dim": 4, "num_layers": 2, "num_attention_heads": 2,"#
            + #" "encoder_hidden_size": 5, "prefix_projection": true, "task_type": "CAUSAL_LM"\#(more)}"#
    }

    private func error(_ state: PromptState, _ config: String?, _ options: StripOptions = StripOptions()) throws -> PeftfileError? {
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: config)
        let error = #expect(throws: PeftfileError.self) {
            _ = try StripCase.strip(source, to: directory.path("out"), options)
        }
        #expect(try directory.names() == ["state"], "nothing is written")
        return error
    }

    // MARK: Hostile shapes

    @Test(arguments: [
        ("embedding.weight", [3, 5]), ("embedding.weight", [3, 0]), ("embedding.weight", [12]),
        ("transform.0.weight", [5, 3]), ("transform.0.weight", [4, 4]), ("transform.0.bias", [4]),
        ("transform.0.bias", [5, 1]), ("transform.2.weight", [16, 4]), ("transform.2.bias", [15]),
    ])
    func shapesThatDoNotMeet(_ leaf: String, _ shape: [Int]) throws {
        var state = Self.prefix()
        let index = try #require(state.tensors.firstIndex { $0.name.text == "\(Self.root).\(leaf)" })
        state.tensors[index].shape = shape
        state.tensors[index].values = [Double](repeating: 1, count: shape.reduce(1, *))
        let error = try error(state, nil)
        #expect(error?.rule == "PromptShape" && error?.code == .refused && error?.tensor != nil)
    }

    @Test(arguments: ["embedding.weight", "transform.0.weight", "transform.0.bias", "transform.2.weight", "transform.2.bias"])
    func missingTensors(_ leaf: String) throws {
        var state = Self.prefix()
        state.tensors.removeAll { $0.name.text == "\(Self.root).\(leaf)" }
        let error = try error(state, Self.config())
        #expect(error?.rule == "PromptTensorMissing" && error?.tensor?.text == "\(Self.root).\(leaf)")
    }

    @Test func unknownTensors() throws {
        var state = Self.prefix()
        _ = state.vector("\(Self.root).transform.1.weight", 5)
        #expect(try error(state, Self.config())?.rule == "PromptTensorUnknown")
    }

    @Test func integersAreNoPrompt() throws {
        let directory = try TemporaryDirectory()
        let header = #"{"prompt_embeddings":{"dtype":"I32","shape":[1,2],"data_offsets":[0,8]}}"#
        let bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
        let path = try directory.write(bytes + [UInt8](repeating: 0, count: 8), to: "x.safetensors")
        #expect(#expect(throws: PeftfileError.self) { _ = try PromptSource(path: path) }?.rule == "PromptDType")
    }

    @Test func gatesThatAreNotFour() throws {
        var state = PromptState(seed: 3)
        _ = state.matrix("\(Self.root).embedding.weight", 2, 4)
        for suffix in ["l0", "l0_reverse"] {
            _ = state.matrix("\(Self.root).lstm_head.weight_ih_\(suffix)", 9, 4)
            _ = state.matrix("\(Self.root).lstm_head.weight_hh_\(suffix)", 9, 3)
            _ = state.vector("\(Self.root).lstm_head.bias_ih_\(suffix)", 9)
            _ = state.vector("\(Self.root).lstm_head.bias_hh_\(suffix)", 9)
        }
        let error = try error(state, nil)
        #expect(error?.rule == "GateLayout" && error?.message.contains("[9, 3]") == true)
        #expect(error?.message.contains("[12, 3]") == true)
    }

    @Test(arguments: [
        #", "num_virtual_tokens": 4"#, #", "token_dim": 8"#, #", "num_layers": 3"#, #", "encoder_hidden_size": 6"#,
        #", "prefix_projection": false"#, #", "peft_type": "P_TUNING""#, #", "num_layers": 9223372036854775807"#,
    ])
    func configsThatContradict(_ change: String) throws {
        // The later of two keys would win in Python; here two are refused, so the first is taken out.
        let key = try #require(change.split(separator: "\"").dropFirst().first)
        var members = try JSONValue.parse(Array(Self.config().utf8), file: nil).objectValue ?? JSONObject()
        let value = try JSONValue.parse(Array("{\(change.dropFirst(2))}".utf8), file: nil)
        members[ExactString(String(key))] = value[ExactString(String(key))]
        let error = try error(Self.prefix(), JSONValue.object(members).serialized())
        #expect(error?.rule == "ConfigContradiction", "\(error?.description ?? "")")
    }

    // MARK: What the source cannot tell

    @Test func missingNumbersAreNamed() throws {
        #expect(try error(Self.prefix(), nil)?.help?.contains("--num-layers") == true)
        let options = StripOptions(stated: PromptFacts(layers: 2))
        let error = try error(Self.prefix(), nil, options)
        #expect(error?.rule == "OptionMissing" && error?.help?.contains("--num-heads") == true)
    }

    @Test func groupedQueriesAreHeldAgainstTheBase() throws {
        let directory = try TemporaryDirectory()
        let source = try Self.prefix().write(into: directory, config: nil)
        func base(_ text: String) throws -> StripOptions {
            try directory.write(text, to: "config.json")
            return StripOptions(base: (directory.path, try PromptSource.baseConfig(at: directory.path)))
        }
        // 2 layers, 8 query heads of 2, 2 key/value heads: slots of 4.
        let fits = #"{"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 8, "num_key_value_heads": 2}"#
        _ = try #require(try StripCase.strip(source, to: directory.path("out"), base(fits)))
        let config = try AdapterConfig(path: directory.path("out/adapter_config.json"))
        #expect(try config.count("num_attention_heads") == 2 && config.count("token_dim") == 4)
        #expect(try config.count("num_layers") == 2 && config.count("num_virtual_tokens") == 3)
        #expect(config["task_type"]?.stringValue == "CAUSAL_LM" && config.baseModel == directory.path)
        #expect(try StripCase.verify(directory.path("out"), from: source).isEquivalent)
        // All 8 heads, as a prefix made for multi-head attention would have.
        let wide = fits.replacing(#", "num_key_value_heads": 2"#, with: "")
        let error = #expect(throws: PeftfileError.self) {
            _ = try StripCase.strip(source, to: directory.path("other"), base(wide))
        }
        #expect(error?.rule == "PrefixWidth" && error?.message.contains("[3, 16]") == true)
        #expect(error?.message.contains("[3, 64]") == true)
    }

    // MARK: Whole models, wrappers

    @Test(arguments: ["", "module.", "_orig_mod.", "module._fsdp_wrapped_module.", "_fsdp_wrapped_module._orig_mod."])
    func insideAWholeModel(_ wrapper: String) throws {
        var state = Self.prefix(wrapper)
        _ = state.matrix("\(wrapper)base_model.model.layers.0.q_proj.weight", 4, 4)
        _ = state.matrix("\(wrapper)word_embeddings.weight", 6, 4)
        let directory = try TemporaryDirectory()
        let source = try state.write(into: directory, config: Self.config())
        guard case .plan(let plan) = try StripPlan.make(PromptSource(path: source)) else { throw TestSupportError("stripped") }
        #expect(plan.leftOut.count == 2)
        _ = try StripExecutor(plan: plan, target: directory.path("peft")).run()
        #expect(try PromptSource.open(directory.path("peft")).checkpoint.tensors.map(\.name) == ["prompt_embeddings"])
        _ = try StripCase.strip(source, to: directory.path("own"), StripOptions(layout: .source))
        let names = try PromptSource.open(directory.path("own")).checkpoint.tensors.map(\.name.text)
        #expect(Set(names) == ["\(Self.root).embedding.weight", "base_model.model.layers.0.q_proj.weight", "word_embeddings.weight"])
        #expect(try StripCase.verify(directory.path("peft"), from: source).isEquivalent)
        #expect(try StripCase.verify(directory.path("own"), from: source).isEquivalent)
        let other = try TemporaryDirectory()
        let plain = try Self.prefix().write(into: other, config: Self.config())
        _ = try StripCase.strip(plain, to: directory.path("plain"))
        #expect(
            try TestFile.bytes(directory.path("plain/adapter_model.safetensors"))
                == TestFile.bytes(directory.path("peft/adapter_model.safetensors")))
    }

    @Test func configIsCompletedForInference() throws {
        let directory = try TemporaryDirectory()
        let source = try Self.prefix().write(into: directory, config: Self.config())
        _ = try StripCase.strip(source, to: directory.path("out"))
        let config = try AdapterConfig(path: directory.path("out/adapter_config.json"))
        #expect(try config.flag("inference_mode") && !config.flag("prefix_projection"))
        #expect(config.json.keys.prefix(2) == ["peft_type", "num_virtual_tokens"], "keys keep their order")
    }

    @Test func severalPromptsAreNoPEFTAdapter() throws {
        let strip = try StripCase("prefixtuning-bart")
        let directory = try TemporaryDirectory()
        let error = #expect(throws: PeftfileError.self) {
            _ = try StripCase.strip(strip.unstripped, to: directory.path("out"), StripOptions(layout: .peft))
        }
        #expect(error?.rule == "SeveralPrompts" && error?.help?.contains("--layout source") == true)
    }

    /// The pool that AdapterHub stores once for every layer is one prompt.
    @Test func copiesOfOnePromptAreOnePrompt() throws {
        let strip = try StripCase("adapterhub-bert")
        let directory = try TemporaryDirectory()
        let options = StripOptions(layout: .peft, stated: PromptFacts(heads: 4))
        _ = try StripCase.strip(strip.unstripped, to: directory.path("out"), options)
        let result = try PromptSource(path: directory.path("out"))
        #expect(result.modules[0].tokens == 6 && result.modules[0].width == 96)
        #expect(try StripCase.verify(directory.path("out"), from: strip.unstripped).isEquivalent)
    }

    // MARK: Output

    @Test func dtypeAndForce() throws {
        let strip = try StripCase("ptuning-lstm")
        let directory = try TemporaryDirectory()
        for dtype in [DType.bf16, .f16, .f64] {
            let target = directory.path(dtype.rawValue)
            _ = try StripCase.strip(strip.unstripped, to: target, StripOptions(dtype: dtype))
            #expect(try PromptSource(path: target).modules[0].dtype == dtype)
            #expect(try StripCase.verify(target, from: strip.unstripped).isEquivalent)
        }
        let again = #expect(throws: PeftfileError.self) {
            _ = try StripCase.strip(strip.unstripped, to: directory.path("BF16"))
        }
        #expect(again?.code == .exists)
        _ = try StripCase.strip(strip.unstripped, to: directory.path("BF16"), StripOptions(writesStripped: true))
        #expect(try PromptSource(path: directory.path("BF16")).modules[0].dtype == .f32)
        let own = #expect(throws: PeftfileError.self) {
            _ = try StripCase.strip(directory.path("BF16"), to: directory.path("BF16"), StripOptions(writesStripped: true))
        }
        #expect(own?.rule == "OutputIsInput")
    }

    /// Verification finds a single flipped bit, a wrong config, a missing and an added tensor.
    @Test func verificationFindsOneBit() throws {
        let strip = try StripCase("ptuning-mlp")
        let directory = try TemporaryDirectory()
        let target = directory.path("out")
        _ = try StripCase.strip(strip.unstripped, to: target)
        let path = "\(target)/adapter_model.safetensors"
        let bytes = try TestFile.bytes(path)
        for position in [bytes.count - 4, bytes.count - 300] {
            var changed = bytes
            changed[position] ^= 1
            try TestFile.write(changed, to: path)
            let report = try StripCase.verify(target, from: strip.unstripped)
            #expect(!report.isEquivalent && report.tensors[0].mismatched == 1)
        }
        try TestFile.write(bytes, to: path)
        #expect(try StripCase.verify(target, from: strip.unstripped).isEquivalent)
        let config = try TestFile.text("\(target)/adapter_config.json")
        try TestFile.write(
            config.replacing(#""num_virtual_tokens": 6"#, with: #""num_virtual_tokens": 5"#), to: "\(target)/adapter_config.json")
        let report = try StripCase.verify(target, from: strip.unstripped)
        #expect(report.config.map(\.key) == ["num_virtual_tokens"] && !report.isEquivalent)
    }
}

/// Whole models of several shards, and files that ask for more than they hold.
@Suite struct StripModelTests {
    /// A model directory of two shards with an index; the prefix encoder lies in both.
    private func model(in directory: TemporaryDirectory) throws -> String {
        var state = PromptState(seed: 60)
        _ = state.matrix("transformer.prefix_encoder.embedding.weight", 3, 4)
        _ = state.layer("transformer.prefix_encoder.trans.0", 4, 4)
        _ = state.matrix("transformer.layers.0.weight", 4, 4)
        let first = state.tensors
        state.tensors = []
        _ = state.layer("transformer.prefix_encoder.trans.2", 16, 4)
        _ = state.matrix("transformer.layers.1.weight", 4, 4)
        let path = directory.path("model")
        try FileSystem.makeDirectory(path)
        var map: [(tensor: ExactString, fileName: String)] = []
        for (number, tensors) in [first, state.tensors].enumerated() {
            let name = "model-0000\(number + 1)-of-00002.safetensors"
            try SmallTensor.write(tensors, metadata: [("format", "pt")], to: "\(path)/\(name)")
            map += tensors.map { ($0.name, name) }
        }
        try TestFile.write(
            ShardIndex.text(weightMap: map, totalSize: 1, totalParameters: 1), to: "\(path)/model.safetensors.index.json")
        try TestFile.write(
            #"{"pre_seq_len": 3, "prefix_projection": true, "num_layers": 2, "hidden_size": 4, "num_attention_heads": 2, "x": 1.50}"#,
            to: "\(path)/config.json")
        try TestFile.write("{}", to: "\(path)/tokenizer.json")
        try TestFile.write("state", to: "\(path)/optimizer.pt")
        return path
    }

    @Test func shardsKeepTheirPlace() throws {
        let directory = try TemporaryDirectory()
        let source = try model(in: directory)
        let target = directory.path("own")
        let receipt = try #require(try StripCase.strip(source, to: target, StripOptions(layout: .source)))
        let result = try Checkpoint.open(target)
        #expect(result.shards.count == 2 && result.index != nil && result.tensors.count == 3)
        #expect(result["transformer.prefix_encoder.embedding.weight"]?.shape == [3, 16])
        #expect(result.config?["prefix_projection"] == false)
        #expect(try TestFile.text("\(target)/config.json").contains("1.50"), "other keys keep their text")
        #expect(FileSystem.exists("\(target)/tokenizer.json") && !FileSystem.exists("\(target)/optimizer.pt"))
        #expect(receipt.document["predicate"]?["files_left_out"] == ["optimizer.pt"])
        #expect(try StripCase.verify(target, from: source).isEquivalent)
        let before = try Inspection(path: source)
        #expect(before.kind == .checkpoint && before.prompts.count == 1 && before.prompts[0].module.isReparametrized)
        #expect(before.prompts[0].layers == 2 && before.prompts[0].heads == 2 && before.prompts[0].headWidth == 2)
    }

    @Test func aPEFTAdapterComesOutOfAModel() throws {
        let directory = try TemporaryDirectory()
        let source = try model(in: directory)
        let target = directory.path("peft")
        guard case .plan(let plan) = try StripPlan.make(PromptSource(path: source)) else { throw TestSupportError("stripped") }
        #expect(plan.leftOut == ["transformer.layers.0.weight", "transformer.layers.1.weight"])
        _ = try StripExecutor(plan: plan, target: target).run()
        let config = try AdapterConfig(path: "\(target)/adapter_config.json")
        #expect(try config.count("num_layers") == 2 && config.count("token_dim") == 4)
        #expect(try config.count("num_attention_heads") == 2 && config.count("num_virtual_tokens") == 3)
        #expect(try StripCase.verify(target, from: source).isEquivalent)
    }

    /// 20 MB that ask for a prompt of 10^12 numbers are refused before anything is allocated for it.
    @Test func promptsBeyondMeasureAreRefused() throws {
        let directory = try TemporaryDirectory()
        let n = 1 << 20
        let shapes: [(String, [Int])] = [
            ("embedding.weight", [n, 1]), ("trans.0.bias", [1]), ("trans.0.weight", [1, 1]), ("trans.2.bias", [n]),
            ("trans.2.weight", [n, 1]),
        ]
        let tensors = shapes.map { leaf, shape in
            SmallTensor(
                name: ExactString("prefix_encoder.\(leaf)"), shape: shape,
                values: [Double](repeating: 0, count: shape.reduce(1, *)))
        }
        try SmallTensor.write(tensors, to: directory.path("model.safetensors"))
        let error = #expect(throws: PeftfileError.self) { _ = try PromptSource(path: directory.path("model.safetensors")) }
        #expect(error?.rule == "PromptShape")
    }
}

import Peftfile
import TestSupport
import Testing

/// Training states of whole models, as the libraries write them: merged they give PEFT's own merge in float64, and every number of
/// the base beside the adapter is looked at.
@Suite struct WholeStateTests {
    static let names = ((try? FileSystem.list(Fixtures.path("states"))) ?? []).filter { $0 != "bases" && !$0.hasSuffix(".py") }

    private struct Case {
        let folder: String
        let file: JSONValue

        init(_ name: String) throws {
            folder = Fixtures.path("states/\(name)")
            file = try JSONValue.parse(TestFile.bytes("\(folder)/case.json"), file: name)
        }

        var base: String { FileSystem.join(folder, file["base"]?.stringValue ?? "") }
        var state: String { "\(folder)/state" }
        var stateFile: String { "\(state)/\(file["file"]?.stringValue ?? "")" }
        var changed: Set<ExactString> {
            Set((file["changed"]?.arrayValue ?? []).compactMap(\.stringValue).map { ExactString($0) })
        }
        var expected: String { "\(folder)/expected/merged.safetensors" }
        // The expected files follow PEFT's own merge, which moves both sides of a tie.
        var options: BindingOptions { BindingOptions(tie: .keep) }

        func binding(_ path: String? = nil, base: String? = nil) throws -> Binding {
            try Binding(base: .open(base ?? self.base), adapters: [Adapter(path: path ?? state)], options: options)
        }
    }

    @Test func allCasesAreThere() { #expect(WholeStateTests.names.count == 13) }

    @Test(arguments: names) func mergesAsPEFTDoes(_ name: String) throws {
        let state = try Case(name)
        let directory = try TemporaryDirectory()
        let binding = try state.binding()
        let notes = binding.warnings.filter { $0.contains("training state of the whole model") }
        #expect(notes.count == 1 && notes[0].contains("all of them compared"), "\(binding.warnings)")
        let codes = state.file["codes"]?.intValue.map { "\($0) quantised tensors could not be compared" }
        #expect(codes.map { notes[0].contains($0) } ?? !notes[0].contains("quantised"))
        #expect(binding.warnings.contains { $0.contains("one training state beside the config") })
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("out")).run()
        let receipt = try JSONValue.parse(TestFile.bytes(directory.path("out/peftfile-receipt.json")), file: nil)
        let frozen = receipt["predicate"]?["adapters"]?.arrayValue?.first?["frozen"]
        #expect(frozen?["compared"]?.intValue.map { notes[0].contains("\($0) frozen weights") } == true)
        #expect(frozen?["left_out"]?.intValue ?? 0 >= frozen?["compared"]?.intValue ?? 1)
        #expect((frozen?["rounded"]?.intValue ?? 0 > 0) == (name == "torch-half"))
        let (result, base, expected) = try (Checkpoint.open(directory.path("out")), Checkpoint.open(state.base), Checkpoint.open(state.expected))
        #expect(Set(expected.tensors.map(\.name)) == state.changed)
        #expect(Set(result.tensors.map(\.name)) == Set(base.tensors.map(\.name)).union(state.changed))
        for tensor in result.tensors {
            guard let wanted = expected[tensor.name] else {
                #expect(try result.read(tensor) == base.read(#require(base[tensor.name])), "\(tensor.name) is the base's")
                continue
            }
            #expect(wanted.shape == tensor.shape && wanted.dtype == tensor.dtype)
            for (a, b) in zip(try result.numbers(tensor.name), try expected.numbers(tensor.name)) {
                #expect(Ulp.distance(a, b, in: tensor.dtype) <= 1, "\(tensor.name): \(a) for \(b)")
            }
        }
        #expect(try Verifier(binding: binding, result: result).run().isEquivalent)
        // The file itself is the same adapter as its directory.
        let own = try state.binding(state.stateFile)
        #expect(Set(own.targets.map(\.target)) == Set(binding.targets.map(\.target)))
        #expect(own.warnings == binding.warnings.filter { !$0.contains("beside the config") })
    }

    /// Each tensor of the base in turn gets one number of the other sign: the state shows that it was another, or does not hold it.
    @Test(arguments: names) func everyFrozenWeightIsCompared(_ name: String) throws {
        let state = try Case(name)
        let base = try Checkpoint.open(state.base)
        let file = try #require(base.shards.first).file.path
        // What the adapter replaces whole is no matter of comparison.
        guard state.file["codes"] == nil else { return }
        let replaced = Set(try state.binding().outputs.filter(\.recipe.isFromAdapter).map(\.recipe.name))
        var found = 0
        for tensor in base.tensors where !replaced.contains(tensor.name) {
            let directory = try TemporaryDirectory()
            var bytes = try TestFile.bytes(file)
            bytes[Int(tensor.info.end) - 1] ^= 0x80
            try directory.write(bytes, to: "model.safetensors")
            try directory.write(TestFile.bytes("\(state.base)/config.json"), to: "config.json")
            let error = #expect(throws: PeftfileError.self, "\(tensor.name)") { _ = try state.binding(base: directory.path) }
            #expect(error?.rule == "FrozenWeight" && error?.message.contains(tensor.name.text) == true, "\(error as Any)")
            found += 1
        }
        #expect(found > 5)
    }

    /// A state of QLoRA's training shows that it was QLoRA: which values of the base are meant must be said, as for an adapter whose config says so.
    /// A parameter of the model itself, CLIP's `logit_scale`, is in no module, and AdaLoRA's count of ranks is in no base.
    @Test(arguments: [true, false]) func aParameterInNoModuleIsCompared(_ isEqual: Bool) throws {
        let base = [SmallModel.tensor("q.weight", [4, 4], seed: 1), SmallModel.tensor("logit_scale", [], seed: 2)]
        var state = [
            SmallModel.tensor("base_model.model.q.base_layer.weight", [4, 4], seed: 1),
            SmallModel.tensor("base_model.model.logit_scale", [], seed: isEqual ? 2 : 3),
            SmallModel.tensor("base_model.model.q.lora_A.default.weight", [2, 4], seed: 4),
            SmallModel.tensor("base_model.model.q.lora_B.default.weight", [4, 2], seed: 5),
        ]
        state.append(SmallModel.tensor("base_model.model.q.ranknum.default", [1], seed: 6))
        let model = try DialectModel(
            base: base, adapter: state, config: #"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q"]}"#)
        guard isEqual else {
            #expect(model.refusal()?.rule == "FrozenWeight" && model.refusal()?.tensor == "base_model.model.logit_scale")
            return
        }
        let wanted = Plain.sum(base[0].values, Plain.product(state[3].values, state[2].values, 4, 2, 4), scale: 2)
        let merged = try model.merged()
        #expect(try merged.numbers("q.weight") == wanted)
        #expect(try merged.numbers("logit_scale") == base[1].values)
    }

    /// The bytes that are compared are counted, each once, and workers change nothing.
    @Test(arguments: [1, 3]) func comparisonsShowTheirProgress(jobs: Int) throws {
        let state = try Case("torch-lora")
        let adapter = try Adapter(path: state.state)
        let seen = Mutex(UInt64(0))
        var options = state.options
        options.comparison.jobs = jobs
        options.comparison.progress = { bytes in seen.withLock { $0 += bytes } }
        let binding = try Binding(base: .open(state.base), adapters: [adapter], options: options)
        let whole = try #require(adapter.wholeState)
        #expect(whole.comparedBytes > 0 && seen.withLock { $0 } == whole.comparedBytes)
        #expect(try binding.warnings == state.binding().warnings)
    }

    /// A check says that the base is another, and not that nothing was compared.
    @Test func checkSaysThatAWeightDiffers() throws {
        let state = try Case("torch-lora")
        let directory = try TemporaryDirectory()
        try directory.write(TestFile.bytes("\(state.base)/config.json"), to: "config.json")
        var bytes = try TestFile.bytes("\(state.base)/model.safetensors")
        bytes[Int(try #require(Checkpoint.open(state.base)["model.norm.weight"]).info.end) - 1] ^= 0x80
        try directory.write(bytes, to: "model.safetensors")
        let check = try Tool.run(["check", state.stateFile, "--base", directory.path])
        #expect(check.status == 1 && !check.errors.contains("were not compared") && check.errors.contains("are not all the base's"), "\(check.errors)")
    }

    /// `state_dict` of a model with two adapters has both, and one config is of one of them.
    @Test(arguments: ["q", "n"]) func twoAdaptersOfOneModelAreRefused(second: String) throws {
        let base = [SmallModel.tensor("q.weight", [4, 4], seed: 1), SmallModel.tensor("n.weight", [4, 4], seed: 2)]
        let state = base.map {
            SmallTensor(
                name: ExactString("base_model.model." + $0.name.text.replacing(".weight", with: ".base_layer.weight")), shape: $0.shape, values: $0.values)
        }
        let factors = [("q", "default"), (second, "other")].enumerated().flatMap { number, part in
            [
                SmallModel.tensor(ExactString("base_model.model.\(part.0).lora_A.\(part.1).weight"), [2, 4], seed: 4 + number),
                SmallModel.tensor(ExactString("base_model.model.\(part.0).lora_B.\(part.1).weight"), [4, 2], seed: 6 + number),
            ]
        }
        let model = try DialectModel(
            base: base, adapter: state + factors, config: #"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q", "n"]}"#)
        let refusal = model.refusal()
        #expect(refusal?.rule == "SeveralAdapters" && refusal?.message.contains("other") == true && refusal?.message.contains("default") == true, "\(refusal as Any)")
    }

    /// One of several shards is no state, whatever it holds.
    @Test func aShardWithoutAnIndexIsRefused() throws {
        let directory = try TemporaryDirectory()
        try directory.write(#"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q"]}"#, to: "adapter_config.json")
        try SmallTensor.write(
            [
                SmallModel.tensor("base_model.model.q.base_layer.weight", [4, 4], seed: 1),
                SmallModel.tensor("base_model.model.q.lora_A.default.weight", [2, 4], seed: 4),
                SmallModel.tensor("base_model.model.q.lora_B.default.weight", [4, 2], seed: 5),
            ], to: directory.path("model-00001-of-00002.safetensors"))
        try SmallTensor.write([SmallModel.tensor("base_model.model.lm_head.weight", [4, 4], seed: 6)], to: directory.path("model-00002-of-00002.safetensors"))
        let error = #expect(throws: PeftfileError.self) { try Adapter(path: directory.path) }
        #expect(error?.rule == "AdapterWeightsMissing" && error?.message.contains("model-00001-of-00002.safetensors is one of several shards") == true)
        let check = try Tool.run(["check", directory.path])
        #expect(check.status == 1 && check.output.contains("is one of several shards"), "\(check.output)\(check.errors)")
    }

    /// Lightning's word before a tensor of the whole adapter.
    @Test(arguments: ["model.base_model.vera_A.default", "base_model.vera_A.default", "base_model.vera_A"])
    func projectionsKeepTheirName(_ name: String) {
        #expect(KeyRepair.name(of: AdapterKey(ExactString(name))) == "base_model.vera_A")
    }

    @Test func codesOfFourBitsAskForTheBase() throws {
        let state = try Case("torch-nf4")
        let directory = try TemporaryDirectory()
        func merge(_ options: [String]) throws -> Tool.Result {
            try Tool.run(["merge", state.base, state.state, "-o", directory.path("out"), "--force"] + options)
        }
        let open = try merge([])
        #expect(open.status == 2 && open.errors.contains("BaseAs") && open.errors.contains("4 bits"), "\(open.errors)")
        #expect(try merge(["--base-as", "stored"]).status == 0)
        #expect(try merge(["--base-as", "nf4"]).errors.contains("--double-quant"))
        let trained = try merge(["--base-as", "nf4", "--double-quant"])
        #expect(trained.status == 0 && trained.errors.contains("14 quantised weights have the base's codes, all of them compared"), "\(trained.errors)")
        // Of another base they are other codes.
        try FileSystem.makeDirectory(directory.path("other"))
        try directory.write(TestFile.bytes("\(state.base)/config.json"), to: "other/config.json")
        var bytes = try TestFile.bytes("\(state.base)/model.safetensors")
        let info = try #require(Checkpoint.open(state.base)["model.layers.1.mlp.up_proj.weight"]).info
        bytes[Int(info.end) - 1] ^= 0x80
        try directory.write(bytes, to: "other/model.safetensors")
        let other = try Tool.run(["merge", directory.path("other"), state.state, "-o", directory.path("out"), "--force", "--base-as", "nf4", "--double-quant"])
        #expect(other.status == 2 && other.errors.contains("FrozenWeight") && other.errors.contains("model.layers.1.mlp.up_proj.weight"), "\(other.errors)")
        #expect(try Tool.run(["merge", state.base, Case("torch-int8").state, "-o", directory.path("int8")]).status == 0)
    }

    @Test(arguments: names) func convertsWithoutABase(_ name: String) throws {
        let state = try Case(name)
        guard state.file["resized"] == nil else { return }
        let directory = try TemporaryDirectory()
        let run = try Tool.run(["convert", state.state, "--to", "peft", "-o", directory.path("peft")])
        #expect(run.status == 0 && run.errors.contains("left out of the adapter and were not compared"), "\(run.errors)")
        let held = try Tool.run(["convert", state.state, "--to", "peft", "--base", state.base, "-o", directory.path("held")])
        #expect(held.status == 0 && held.errors.contains("all of them compared"), "\(held.errors)")
        // What was converted is an adapter alone, and the same.
        for path in ["peft", "held"] {
            let adapter = try Adapter(path: directory.path(path))
            #expect(adapter.stateNote == nil)
            #expect(adapter.keys.allSatisfy { !$0.stored.text.contains("base_layer.weight") && !$0.stored.text.contains("default") })
            let (one, two) = try (state.binding(directory.path(path)), state.binding())
            #expect(Set(one.targets.map(\.target)) == Set(two.targets.map(\.target)))
            #expect(Set(one.outputs.filter { !$0.recipe.isCopy || $0.recipe.isFromAdapter }.map(\.recipe.name)) == state.changed)
        }
    }

    @Test(arguments: names) func checkLooksAtTheAdapterAlone(_ name: String) throws {
        let state = try Case(name)
        for base in [[], ["--base", state.base]] {
            let run = try Tool.run(["check", state.stateFile, "--json"] + base)
            #expect(run.status != 2, "\(run.errors)")
            #expect(run.output.contains("training state of the whole model"))
            let report = try JSONValue.parse(Array(run.output.utf8), file: nil)
            let findings = report["findings"]?.arrayValue ?? []
            #expect(!findings.isEmpty)
            let wanted: Set = ["adapter-name-in-key", "prefix-missing", "pickle", "base-mismatch", "sharded-adapter", "vocabulary-size"]
            for finding in findings where finding["severity"]?.stringValue != "note" {
                #expect(wanted.contains(finding["rule"]?.stringValue ?? ""), "\(finding.serialized())")
            }
        }
        let run = try Tool.run(["inspect", state.state, "--json"])
        #expect(run.status == 0 && run.output.contains("training state of the whole model") && run.output.contains("\"unclaimed\": []"))
    }
}

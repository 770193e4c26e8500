import Peftfile
import TestSupport
import Testing

/// Adapters with random projections whose files lack something, or say what cannot be.
@Suite struct ProjectionTests {
    /// A fixture of the library with tensors left out or changed, and lines of its config replaced.
    private func changed(
        _ name: String, in folder: String = "merge", _ config: [(String, String)] = [],
        tensors: (inout [SmallTensor]) -> Void = { _ in }, base: String? = nil
    ) throws -> (TemporaryDirectory, () throws -> Binding) {
        let merge = try MergeCase(name, in: folder)
        let directory = try TemporaryDirectory()
        let stored = try Checkpoint.open(merge.adapter)
        var list = try stored.tensors.map {
            SmallTensor(
                name: $0.name, shape: $0.shape,
                values: $0.dtype == .u8
                    ? try stored.read($0).map { Double($0) }
                    : try Conversion.widened(stored.read($0), as: $0.dtype, count: $0.info.elementCount), dtype: .f32)
        }
        tensors(&list)
        try FileSystem.makeDirectory(directory.path("adapter"))
        try SmallTensor.write(list, to: directory.path("adapter/adapter_model.safetensors"))
        var text = String(decoding: try TestFile.bytes("\(merge.adapter)/adapter_config.json"), as: UTF8.self)
        for (old, new) in config {
            #expect(text.contains(old), "\(name) says \(old)")
            text = text.split(separator: old, omittingEmptySubsequences: false).joined(separator: new)
        }
        try directory.write(text, to: "adapter/adapter_config.json")
        return (
            directory,
            {
                try Binding(
                    base: Checkpoint.open(base ?? merge.base), adapters: [Adapter(path: directory.path("adapter"))],
                    options: merge.options)
            }
        )
    }

    private func refusal(
        _ name: String, in folder: String = "merge", _ config: [(String, String)] = [], base: String? = nil,
        tensors: (inout [SmallTensor]) -> Void = { _ in }
    ) throws -> String? {
        let (_, binding) = try changed(name, in: folder, config, tensors: tensors, base: base)
        do {
            _ = try binding()
            return nil
        } catch let error as PeftfileError {
            return error.code == .refused || error.code == .malformed ? error.rule : "\(error)"
        }
    }

    /// Torch 2.15 drew these projections, and they are in the files: without them the merge is the same.
    @Test(arguments: [
        ("vera", ["vera_A", "vera_B"]), ("pvera", ["pvera_A", "pvera_B"]), ("randlora", ["randlora_A", "randlora_B"]),
        ("tinylora", ["tinylora_P"]),
    ]) func theSavedProjectionIsTheOneOfTheSeed(_ name: String, _ left: [String]) throws {
        let (directory, binding) = try changed(name, [("\"save_projection\": true", "\"save_projection\": false")]) { list in
            list.removeAll { tensor in left.contains { tensor.name.text.hasSuffix($0) } }
        }
        let receipt = try PlanExecutor(plan: .merge(binding()), target: directory.path("out")).run()
        #expect(receipt.warnings.contains { $0.contains("assumed") && $0.contains("torch") })
        #expect(receipt.warnings.filter { $0.contains("assumed") }.count == 1)
        let result = try Checkpoint.open(directory.path("out"))
        let expected = try MergeCase(name).expected()
        for tensor in expected.tensors {
            let merged = try #require(result[tensor.name])
            #expect(try result.read(merged) == expected.read(tensor))
        }
    }

    /// The receipt on disk says what was made again, of which modules, from which seed, and by which rule of torch.
    @Test func tinyLoRAsReceiptNamesTheNumbersThatWereMadeAgain() throws {
        func warnings(_ left: [String]) throws -> [String] {
            let (directory, binding) = try changed("tinylora") { list in
                list.removeAll { tensor in left.contains { tensor.name.text.hasSuffix($0) } }
            }
            _ = try PlanExecutor(plan: .merge(binding()), target: directory.path("out")).run()
            let bytes = try TestFile.bytes(directory.path("out/peftfile-receipt.json"))
            let receipt = try #require(JSONValue.parse(bytes, file: nil).objectValue)
            let list = receipt["predicate"]?["warnings"]?.arrayValue ?? receipt["warnings"]?.arrayValue ?? []
            return list.compactMap(\.stringValue).filter { $0.contains("tinylora_P") }
        }
        #expect(try warnings([]) == [])
        let all = try warnings(["tinylora_P"])
        #expect(all.count == 1)
        for part in ["tinylora_P of each module", "projection_seed 42", "assumed", "torch", "AVX2"] { #expect(all[0].contains(part), "\(all[0])") }
        let one = try warnings(["layers.0.self_attn.q_proj.tinylora_P"])
        #expect(one.count == 1 && one[0].contains("tinylora_P of model.layers.0.self_attn.q_proj"), "\(one)")
        #expect(!one[0].contains("o_proj"))
    }

    @Test func missingProjectionsAreRefused() throws {
        for (name, tensor) in [("vera", "vera_B"), ("pvera", "pvera_A")] {
            #expect(try refusal(name) { $0.removeAll { $0.name.text.hasSuffix(tensor) } } == "MissingTensor")
        }
        #expect(try refusal("vera") { $0.removeAll { $0.name.text.contains("vera_A") || $0.name.text.contains("vera_B") } }
            == "MissingTensor")
        #expect(try refusal("randlora") { $0.removeAll { $0.name.text.contains("randlora_A") } } == "MissingTensor")
        #expect(try refusal("vblora") { $0.removeAll { $0.name.text.contains("bank") } } == "MissingTensor")
        #expect(try refusal("unilora") { $0[0].name = "base_model.unilora_theta" } != nil)
        #expect(try refusal("tinylora") { $0.removeAll { $0.name.text.hasSuffix("v.1") } } == "MissingTensor")
    }

    /// With another seed the stored P are of no module, or of the next one: never of the module that has them.
    @Test(arguments: ["41", "43", "7"]) func aSeedThatDidNotMakeTheStoredProjectionIsRefused(_ seed: String) throws {
        #expect(try refusal("tinylora", [("\"projection_seed\": 42", "\"projection_seed\": \(seed)")]) == "ConfigMismatch")
    }

    @Test func aSeedOfNullIsRefused() throws {
        for (name, key, seed) in [
            ("vera-noproj", "projection_prng_key", "0"), ("fourierft", "random_loc_seed", "777"),
            ("waveft", "random_loc_seed", "777"), ("unilora", "proj_seed", "42"),
        ] {
            #expect(try refusal(name, [("\"\(key)\": \(seed)", "\"\(key)\": null")]) == "SeedMissing")
            #expect(try refusal(name, [("\"\(key)\": \(seed)", "\"\(key)\": 1.5")]) == "ConfigValue")
        }
    }

    @Test func anotherSeedIsAnotherUpdate() throws {
        for (name, key, seed) in [
            ("vera-noproj", "projection_prng_key", "0"), ("fourierft", "random_loc_seed", "777"),
            ("unilora", "proj_seed", "42"),
        ] {
            let (directory, binding) = try changed(name, [("\"\(key)\": \(seed)", "\"\(key)\": 5")])
            _ = try PlanExecutor(plan: .merge(binding()), target: directory.path("out")).run()
            let result = try Checkpoint.open(directory.path("out"))
            let expected = try MergeCase(name).expected()
            for tensor in expected.tensors {
                #expect(try result.numbers(tensor.name) != expected.numbers(tensor.name))
            }
        }
    }

    @Test func shapesAreHeldAgainstEachOther() throws {
        func cut(_ end: String, _ shape: Shape) -> (inout [SmallTensor]) -> Void {
            { list in
                for index in list.indices where list[index].name.text.hasSuffix(end) {
                    list[index].shape = shape
                    list[index].values = Array(list[index].values.prefix(shape.reduce(1, *)))
                }
            }
        }
        #expect(try refusal("vera", tensors: cut("vera_A", [6, 23])) == "ShapeMismatch")
        #expect(try refusal("vera", tensors: cut("lambda_d", [5])) == "RankMismatch")
        #expect(try refusal("pvera", tensors: cut("lambda_d", [7])) == "ShapeMismatch")
        #expect(try refusal("randlora", tensors: cut("gamma", [3, 11])) == "ShapeMismatch")
        #expect(try refusal("fourierft", tensors: cut("spectrum", [49])) == "ConfigMismatch")
        #expect(try refusal("fourierft", [("\"n_frequency\": 50", "\"n_frequency\": 49")]) == "ConfigMismatch")
        #expect(try refusal("unilora", tensors: cut("theta_d", [63])) == "ConfigMismatch")
        #expect(try refusal("vblora", [("\"topk\": 2", "\"topk\": 13")]) == "ShapeMismatch")
        #expect(try refusal("vblora-topk", [("\"topk\": 2", "\"topk\": 3")]) == "ConfigMismatch")
        #expect(try refusal("tinylora", tensors: cut("tinylora_P", [64, 2, 1])) == "ShapeMismatch")
    }

    @Test func unknownKeysAreRefused() throws {
        for name in ["vera", "pvera", "vblora", "randlora", "fourierft", "waveft", "unilora", "tinylora"] {
            #expect(try refusal(name, [("\"revision\": null", "\"twist\": 3")]) == "UnknownConfigKey")
        }
    }

    @Test func usesWithoutAFormulaAreRefused() throws {
        #expect(try refusal("pvera", [("\"sample_at_inference\": false", "\"sample_at_inference\": true")]) == "SampledUpdate")
        for family in ["db11", "coif5", "rabbit"] {
            #expect(
                try refusal("waveft", [("\"wavelet_family\": \"db1\"", "\"wavelet_family\": \"\(family)\"")])
                    == "WaveletFamily")
        }
        // Two logits that are the same, one of which topk takes.
        #expect(try refusal("vblora") { list in
            guard let index = list.firstIndex(where: { $0.name.text.hasSuffix("logits_A") }) else { return }
            for place in 0..<12 { list[index].values[place] = place < 3 ? 1 : 0 }
        } == "TopK")
        #expect(try refusal("vblora-topk") { list in
            guard let index = list.firstIndex(where: { $0.name.text.hasSuffix("A_topk_indices") }) else { return }
            list[index].values[1] = list[index].values[0]
        } == "TopK")
        #expect(try refusal("vblora-topk") { list in
            guard let index = list.firstIndex(where: { $0.name.text.hasSuffix("A_topk_indices") }) else { return }
            list[index].values[1] = 12
        } == "IndexRange")
    }

    @Test func copiesMustBeCopies() throws {
        #expect(try refusal("randlora") { list in
            guard let index = list.firstIndex(where: { $0.name.text.hasSuffix("v_proj.randlora_B") }) else { return }
            list[index].values[3] += 1
        } == "ProjectionMismatch")
    }

    @Test func modulesThatNothingTellsAreRefused() throws {
        let targets = "\"target_modules\": [\n    \"o_proj\",\n    \"q_proj\"\n  ]"
        #expect(try refusal("unilora", [(targets, "\"target_modules\": \"all-linear\"")]) == "TargetModules")
        #expect(try refusal("unilora", [(targets, "\"target_modules\": [\"z_proj\"]")]) == "MissingTarget")
        #expect(try refusal("unilora", [(targets, "\"target_modules\": null")]) == "ConfigKeyMissing")
        // q_proj before or after k_proj: OPT's and Llama's classes differ, and a base without o_proj is neither.
        let merge = try MergeCase("unilora")
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("base"))
        let stored = try Checkpoint.open(merge.base)
        let list = try stored.tensors.filter { !$0.name.text.contains("o_proj") }.map {
            SmallTensor(name: $0.name, shape: $0.shape, values: try stored.numbers($0.name), dtype: .f32)
        }
        try SmallTensor.write(list, to: directory.path("base/model.safetensors"))
        // Of a type that nobody knows not even the names in memory are.
        for (type, rule) in [("persimmon", "ModuleOrder"), ("novel", "TargetModules")] {
            try directory.write("{\"model_type\": \"\(type)\"}", to: "base/config.json")
            #expect(
                try refusal(
                    "unilora", [(targets, "\"target_modules\": [\"q_proj\", \"k_proj\"]")], base: directory.path("base")) == rule, "\(type)")
        }
    }
}

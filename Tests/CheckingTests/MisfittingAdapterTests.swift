import Adapters
import ByteAccess
import Checking
import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

/// Genuine adapters whose parts do not fit each other any more: bound to their base they are refused, and `check` says so.
@Suite struct MisfittingAdapterTests {
    private func bind(_ fixture: String, check isFound: Bool = true, _ change: (inout AlteredAdapter) throws -> Void) throws -> Binding {
        let folder = try TemporaryDirectory()
        var adapter = try AlteredAdapter(Fixtures.path("merge/\(fixture)/adapter"), in: folder.path("adapter"))
        try change(&adapter)
        try adapter.write()
        let base = try Checkpoint.open(Fixtures.path("merge/\(fixture)/base"))
        let report = try Checker(options: CheckOptions(base: base, jobs: 2)).check(adapter.path)
        #expect(report.findings.contains { $0.severity == .error } == isFound, "\(report.findings)")
        return try Binding(base: base, adapters: [Adapter(path: adapter.path)])
    }

    private func refusal(_ fixture: String, check isFound: Bool = true, _ change: (inout AlteredAdapter) throws -> Void) -> PeftfileError? {
        #expect(throws: PeftfileError.self) { _ = try bind(fixture, check: isFound, change) }
    }

    /// An operand of the base's own size times one that is a column short: nothing may be read past its end.
    @Test func aHadamardFactorThatIsTooNarrow() {
        let error = refusal("hira") { adapter in
            let index = try #require(adapter.tensors.firstIndex { $0.name.hasSuffix("q_proj.hira_A") })
            adapter.tensors[index] = adapter.tensors[index].transposed.rows(23).transposed
        }
        #expect(error?.rule == "FactorShape" || error?.rule == "ShapeMismatch")
        #expect(error?.tensor?.text.contains("q_proj") == true)
    }

    /// HiRA multiplies the base by its product element by element, where a row or a column of factors would be repeated: PEFT has no such
    /// factors, and raises "size mismatch" (seen with 0.21.2).
    @Test(arguments: [("hira_A", [4, 1]), ("hira_B", [1, 4])]) func aFactorOfOneRowOrColumn(_ name: String, _ shape: [Int]) {
        let error = refusal("hira") { adapter in
            for index in adapter.tensors.indices where adapter.tensors[index].name.hasSuffix(name) {
                adapter.tensors[index].shape = shape
                adapter.tensors[index].bytes = Data(adapter.tensors[index].bytes.prefix(16))
            }
        }
        #expect(error?.rule == "ShapeMismatch" && error?.tensor?.text.hasSuffix(name) == true, "\(String(describing: error))")
    }

    struct Dimensions: Sendable, CustomTestStringConvertible {
        var fixture, tensor: String
        var shape: @Sendable ([Int]) -> [Int]
        var testDescription: String { "\(fixture) \(tensor)" }
    }

    /// As many elements in other dimensions: PEFT raises "size mismatch" (seen with 0.21.2).
    static let dimensions: [Dimensions] = [
        ("vera", "vera_lambda_b"), ("vera", "vera_lambda_d"), ("pvera", "pvera_lambda_d"), ("tinylora", "tinylora_v.0"), ("lora-kasa", "lora_diag"),
        ("dora-embedding", "lora_magnitude_vector"), ("dora-embedding", "lora_embedding_B"), ("lokr-both", "lokr_w1"), ("lokr-default", "lokr_w2_a"),
        ("miss-mini", "miss_block"), ("road1", "road_alpha"), ("lora-lora-bias", "lora_B.bias"), ("lora-velora", "lora_velora_embed"),
        ("lora-monteclora", "expert_weights_prior"), ("lora-monteclora", "gaussian_var_prior"), ("loha-conv2d-cp", "hada_t1"),
        ("shira", "shira_weight"), ("beft", "beft_bias"),
    ].map { fixture, tensor in Dimensions(fixture: fixture, tensor: tensor) { $0 + [1] } } + [
        Dimensions(fixture: "delora", tensor: "delora_lambda") { _ in [] },
        Dimensions(fixture: "ia3-llama", tensor: "ia3_l") { [$0.reduce(1, *)] },
        Dimensions(fixture: "boft", tensor: "boft_s") { $0.reversed() },
        Dimensions(fixture: "boft-conv2d", tensor: "boft_s") { $0.reversed() },
        Dimensions(fixture: "ia3-conv2d", tensor: "ia3_l") { [$0.reduce(1, *), 1] },
    ]

    @Test(arguments: dimensions) func otherDimensionsOfAsManyElements(_ item: Dimensions) {
        let error = refusal(item.fixture) { adapter in
            let indices = adapter.tensors.indices.filter { adapter.tensors[$0].name.hasSuffix(item.tensor) }
            #expect(!indices.isEmpty)
            for index in indices { adapter.tensors[index].shape = item.shape(adapter.tensors[index].shape) }
        }
        #expect(["ShapeMismatch", "FactorShape"].contains(error?.rule), "\(String(describing: error))")
        #expect(error?.tensor?.text.hasSuffix(item.tensor) == true, "\(String(describing: error))")
    }

    @Test(arguments: ["hada_t1", "hada_t2"]) func oneCoreWithASmallerWindow(_ core: String) {
        let error = refusal("loha-conv2d-cp") { adapter in
            let index = try #require(adapter.tensors.firstIndex { $0.name.hasSuffix(core) })
            let tensor = adapter.tensors[index]
            let count = tensor.shape.dropLast().reduce(1, *)
            adapter.tensors[index].shape[3] -= 1
            adapter.tensors[index].bytes = Data(tensor.bytes.prefix(tensor.bytes.count / tensor.shape[3] / count * count * (tensor.shape[3] - 1)))
        }
        #expect(error?.rule == "FactorShape" || error?.rule == "ShapeMismatch")
    }

    /// A projection of the whole adapter is as large as its largest module (`VeraModel._find_dim`, `RandLoraModel._find_dim`): one that
    /// is larger is of another base.
    @Test(arguments: [
        ("vera", "vera_A", 1), ("vera", "vera_B", 0), ("pvera", "pvera_A", 1), ("pvera", "pvera_B", 0), ("randlora", "randlora_A", 2),
        ("randlora", "randlora_B", 0),
    ]) func aProjectionThatIsTooLarge(_ fixture: String, _ name: String, _ axis: Int) {
        let error = refusal(fixture) { adapter in
            for index in adapter.tensors.indices where adapter.tensors[index].name.contains(name) {
                adapter.tensors[index] = adapter.tensors[index].lengthened(axis)
            }
        }
        #expect(error?.rule == "ShapeMismatch" && error?.message.contains("largest") == true, "\(String(describing: error))")
    }

    /// On a layer without a bias PEFT stores C, D and E empty, and of the layer's own size.
    @Test(arguments: ["glora_C", "glora_D", "glora_E"]) func whatAMissingBiasWouldTake(_ name: String) throws {
        let folder = try TemporaryDirectory()
        func bind(_ edit: (inout [SmallAdapter.Values]) -> Void) throws -> PeftfileError? {
            let place = folder.path(UUID().uuidString)
            try SmallAdapter.base(in: "\(place)/base")
            let root = SmallAdapter.root
            var list: [SmallAdapter.Values] = [.init("\(root).glora_A.X", [1]), .init("\(root).glora_B.X", [1])]
            let (rows, columns) = (8, 8)
            let empty: [(String, Shape)] = [("C", [columns, 1]), ("D", [rows]), ("E", [rows])]
            for (part, shape) in empty { list.append(SmallAdapter.Values("\(root).glora_\(part).zeros", shape, 0)) }
            edit(&list)
            try FileManager.default.createDirectory(atPath: "\(place)/a", withIntermediateDirectories: true)
            try SmallAdapter.write(list, to: "\(place)/a/adapter_model.safetensors")
            try TestFile.write(
                #"{"peft_type": "GLORA", "r": 2, "config_A_B": "constant", "config_C": "lora", "config_D_E": "constant", "target_modules": ["q_proj"]}"#,
                to: "\(place)/a/adapter_config.json")
            let base = try Checkpoint.open("\(place)/base")
            let hasError = try Checker(options: CheckOptions(base: base, jobs: 2)).check("\(place)/a").findings.contains { $0.severity == .error }
            do {
                _ = try Binding(base: base, adapters: [Adapter(path: "\(place)/a")])
                #expect(!hasError)
                return nil
            } catch let error as PeftfileError {
                #expect(hasError)
                return error
            }
        }
        #expect(try bind { _ in } == nil)
        let error = try bind { list in
            for index in list.indices where list[index].name.contains(name) { list[index].shape[0] += 1; list[index].values.append(0) }
        }
        #expect(error?.rule == "ShapeMismatch" && error?.tensor?.text.contains(name) == true, "\(String(describing: error))")
        // A trained one is of a layer that has a bias.
        let trained = try bind { list in
            for index in list.indices where list[index].name.contains(name) {
                list[index] = .init("\(SmallAdapter.root).\(name).X", list[index].shape)
            }
        }
        #expect(trained?.rule == "VariantLayout", "\(String(describing: trained))")
    }

    @Test(arguments: [("loha-linear", "r"), ("loha-linear", "alpha"), ("lokr-both", "alpha"), ("randlora", "randlora_alpha")])
    func aScaleThatTheConfigDoesNotSay(_ fixture: String, _ key: String) {
        let error = refusal(fixture) { $0.config[key] = nil }
        #expect(error?.rule == "AlphaMissing" && error?.message.contains(key) == true)
    }

    /// Indices are dealt over all modules in a row: one that is not seen gives all others wrong ones.
    @Test(arguments: [["q_proj", "o_proj", "nosuch"], ["q_proj", "lm_head.base"]]) func aModuleThatIndicesAreDealtTo(_ targets: [String]) {
        let error = refusal("unilora") { $0.config["target_modules"] = targets }
        #expect(error?.rule == "MissingTarget" && error?.message.contains(targets.last ?? "") == true)
    }

    /// AdaLoRA with a module of which no singular value is left: PEFT saves it without elements and merges it as nothing.
    @Test func aModuleThatWasPrunedAway() throws {
        let binding = try bind("adalora", check: false) { adapter in
            for index in adapter.tensors.indices where adapter.tensors[index].name.contains("q_proj") {
                var shape = adapter.tensors[index].shape
                shape[adapter.tensors[index].name.hasSuffix("lora_B") ? 1 : 0] = 0
                (adapter.tensors[index].shape, adapter.tensors[index].bytes) = (shape, Data())
            }
            let modules = Set(adapter.tensors.map { $0.name.split(separator: ".").dropLast().dropFirst(2).joined(separator: ".") })
            adapter.config["rank_pattern"] = Dictionary(uniqueKeysWithValues: modules.map {
                ("\($0).lora_E", [Bool](repeating: !$0.contains("q_proj"), count: 4))
            })
        }
        let pruned = binding.outputs.filter { $0.recipe.name.text.contains("q_proj") && !$0.recipe.updates.isEmpty }
        #expect(pruned.count == 1 && pruned.allSatisfy { $0.recipe.updates.count == 1 })
    }

    /// A state dict of one adapter as the model holds it, its name in every key.
    @Test(arguments: ["hra", "ia3-llama", "loha-linear", "oft-block"]) func namesWithTheAdaptersName(_ fixture: String) throws {
        let binding = try bind(fixture) { adapter in
            adapter.rename { name in
                guard name.hasSuffix(".weight") else { return name + ".default" }
                return name.dropLast(".weight".count) + ".default.weight"
            }
        }
        #expect(!binding.outputs.filter { $0.recipe.changesValues }.isEmpty)
    }

    /// OSF that keeps all of the base's triplets: PEFT stores factors without elements (`OSFLayer`), of which nothing is lost. A
    /// placeholder that ZeRO-3 left has one side, and stays a finding. Kernels that target_modules names get no update.
    @Test func osfThatKeepsAll() throws {
        let folder = try TemporaryDirectory()
        func findings(_ name: String, u: Shape, s: Shape, v: Shape) throws -> [Finding] {
            try SmallAdapter.base(in: folder.path("\(name)/base"), more: [.init("conv1.weight", [4, 2, 3]), .init("model.layers.0.self_attn.k_proj.weight", [8, 8])])
            let root = "\(SmallAdapter.root).osf_svd_params"
            let other = root.replacing("q_proj", with: "k_proj")
            try FileManager.default.createDirectory(atPath: folder.path("\(name)/a"), withIntermediateDirectories: true)
            try SmallAdapter.write(
                [.init("\(root).U_low", u), .init("\(root).S_low", s), .init("\(root).V_low", v)]
                    + [("U", [8, 1]), ("S", [1]), ("V", [1, 8])].map { .init("\(other).\($0)_low", $1) },
                to: folder.path("\(name)/a/adapter_model.safetensors"))
            try TestFile.write(
                #"{"peft_type": "OSF", "effective_rank": 8, "rank_pattern": {"k_proj": 7}, "target_modules": ["q_proj", "k_proj", "conv1"]}"#,
                to: folder.path("\(name)/a/adapter_config.json"))
            let base = try Checkpoint.open(folder.path("\(name)/base"))
            return try Checker(options: CheckOptions(base: base, jobs: 2)).check(folder.path("\(name)/a")).findings.filter { $0.severity == .error }
        }
        #expect(try findings("kept", u: [8, 0], s: [0], v: [0, 8]) == [])
        #expect(try findings("lost", u: [0], s: [0], v: [0]).count { $0.rule == "empty-tensor" } == 3)
    }

    /// PEFT saves an output head's own weight beside the adapter, and Uni-LoRA's modules have no tensors: the head is no sign that
    /// those of the others are lost.
    @Test func aHeadThatWasSavedBesideUniLoRA() throws {
        let folder = try TemporaryDirectory()
        try SmallAdapter.base(in: folder.path("base"), more: [.init("lm_head.weight", [12, 8])])
        try FileManager.default.createDirectory(atPath: folder.path("a"), withIntermediateDirectories: true)
        try SmallAdapter.write(
            [.init("base_model.unilora_theta_d", [7]), .init("base_model.model.lm_head.base_layer.weight", [12, 8], 1)],
            to: folder.path("a/adapter_model.safetensors"))
        try TestFile.write(
            #"{"peft_type": "UNILORA", "r": 2, "theta_d_length": 7, "proj_seed": 42, "target_modules": ["q_proj", "lm_head"]}"#,
            to: folder.path("a/adapter_config.json"))
        let base = try Checkpoint.open(folder.path("base"))
        let report = try Checker(options: CheckOptions(base: base, jobs: 2)).check(folder.path("a"))
        #expect(report.findings.filter { $0.severity == .error } == [], "\(report.findings)")
    }
}

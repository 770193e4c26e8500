import Foundation
import Peftfile
import TestSupport
import Testing

/// A config key that decides a tensor's size is held against the tensor: fixtures of the library with one number of their
/// config changed, which PEFT would make other tensors of.
@Suite struct ConfigContradictionTests {
    /// The fixture, the key, a value that makes another shape, and the rule.
    struct Change: Sendable {
        let (fixture, key, value, rule): (String, String, String, String)
        init(_ fixture: String, _ key: String, _ value: String, _ rule: String = "ConfigMismatch") {
            (self.fixture, self.key, self.value, self.rule) = (fixture, key, value, rule)
        }
    }

    static let changes = [
        Change("c3a", "block_size", "8"), Change("c3a", "block_size_pattern", #"{"q_proj": 8}"#),
        Change("vblora", "num_vectors", "13"), Change("vblora", "vector_length", "4"), Change("vblora-topk", "topk", "3"),
        Change("shira", "r", "5"), Change("adamss", "subspace_rank", "2"), Change("adamss", "r", "5"),
        Change("adamss", "num_subspaces", "3", "ClusterMismatch"), Change("adalora", "init_r", "6", "RankMismatch"),
        Change("boft", "boft_block_size", "8", "BlockSize"), Change("oft-block", "oft_block_size", "8", "BlockSize"),
        // 7 is nearest to 6 and 8 in a width of 24, and PEFT takes the smaller; 5 is taken for 4 (`adjust_oft_parameters`).
        Change("oft-block", "oft_block_size", "7", "BlockSize"), Change("oft-block", "r", "6", "ConfigContradiction"), Change("oft-block", "oft_block_size", "0", "ConfigValue"),
        Change("lora-kasa", "kasa_config", #"{"beta": 1, "theta": 2}"#, "UnknownConfigKey"),
        Change("lora-moe-target-params", "target_parameters", #"["mlp.experts.gate_up_proj"]"#, "TensorNotLoaded"),
        Change("lora-moe-target-params", "target_parameters", #"["mlp.experts.up", "mlp.experts.down"]"#, "TensorNotLoaded"),
        Change("lora-linear-f32", "target_modules", #"["q_proj"]"#, "TensorNotLoaded"),
        Change("deft", "r", "5", "RankMismatch"), Change("delora", "r", "5", "RankMismatch"),
        Change("fourierft", "n_frequency", "51"), Change("fourierft", "n_frequency_pattern", #"{"q_proj": 60}"#),
        Change("frod", "sparse_rate", "0.05"), Change("glora", "config_A_B", #""vector""#), Change("glora", "r", "5", "RankMismatch"),
        Change("gralora", "gralora_k", "4"), Change("gralora", "r", "8", "RankMismatch"), Change("hira", "r", "5", "RankMismatch"),
        Change("hra", "r", "5", "RankMismatch"), Change("loha-linear", "r", "5", "RankMismatch"),
        Change("loha-conv2d-cp", "use_effective_conv2d", "false"), Change("lokr-factor2", "decompose_factor", "-1"),
        Change("lokr-default", "r", "64", "RankMismatch"), Change("lokr-full", "r", "1"),
        Change("lokr-conv2d-cp", "use_effective_conv2d", "false"),
        Change("miss", "r", "5", "RankMismatch"), Change("miss-mini", "mini_r", "8"), Change("osf", "effective_rank", "3", "RankMismatch"),
        Change("osf", "rank_pattern", #"{"q_pr.j": 3}"#, "RankMismatch"), Change("peanut", "r", "5", "RankMismatch"),
        Change("pvera", "r", "5", "RankMismatch"), Change("randlora", "r", "5", "RankMismatch"), Change("vera", "r", "5", "RankMismatch"),
        Change("road1", "group_size", "14", "GroupSize"), Change("supertuning", "sparsity", "0.5"), Change("tinylora", "u", "63"),
        Change("unilora", "theta_d_length", "63"), Change("waveft", "n_frequency", "41"), Change("lora-linear-f32", "r", "5", "RankMismatch"),
        Change("refuse-poly", "n_skills", "3"), Change("refuse-poly", "n_tasks", "3"), Change("refuse-poly", "n_splits", "2"),
    ]

    /// The fixture's adapter with a key of its config set.
    private func adapter(_ fixture: String, _ key: String, _ value: String, in directory: TemporaryDirectory) throws -> String {
        let merge = try MergeCase(fixture)
        let target = directory.path("adapter")
        try FileManager.default.copyItem(atPath: merge.adapter, toPath: target)
        let path = target + "/adapter_config.json"
        var config = try #require(JSONValue.parse(TestFile.bytes(path), file: nil, allowing: .python).objectValue)
        config[ExactString(key)] = try JSONValue.parse(Array(value.utf8), file: nil)
        try Data(JSONValue.object(config).serialized().utf8).write(to: URL(fileURLWithPath: path))
        return target
    }

    @Test(arguments: changes) func isRefused(_ change: Change) throws {
        let directory = try TemporaryDirectory()
        let path = try adapter(change.fixture, change.key, change.value, in: directory)
        let base = try Checkpoint.open(MergeCase(change.fixture).base)
        let options = BindingOptions(task: change.fixture == "refuse-poly" ? 0 : nil)
        let error = #expect(throws: PeftfileError.self) {
            _ = try RewritePlan.merge(Binding(base: base, adapters: [Adapter(path: path)], options: options))
        }
        #expect(error?.rule == change.rule && error?.help?.contains(",,") == false, "\(error?.description ?? "")")
        guard change.rule == "ConfigMismatch" else { return }
        let text = error?.description ?? ""
        #expect(error?.tensor != nil && text.contains("has shape [") && text.contains("and the config says"), "\(text)")
        let key = change.key.hasSuffix("_pattern") ? String(change.key.dropLast("_pattern".count)) : change.key
        #expect(text.contains(key), "\(text)")
    }

    /// The true value, written out under another form, is no contradiction.
    @Test(arguments: [
        ("c3a", "block_size_pattern", #"{"q_proj": 4}"#), ("oft-block", "oft_block_size", "5"), ("osf", "rank_pattern", #"{"nothing": 3}"#), ("osf", "effective_rank", "0.5"),
        ("adamss", "use_dynamic_rank", "true"), ("fourierft", "n_frequency_pattern", #"{"k_proj": 60}"#),
    ]) func isNone(_ fixture: String, _ key: String, _ value: String) throws {
        let directory = try TemporaryDirectory()
        let path = try adapter(fixture, key, value, in: directory)
        _ = try RewritePlan.merge(Binding(base: .open(MergeCase(fixture).base), adapters: [Adapter(path: path)]))
    }
}

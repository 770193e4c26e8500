import Checking
import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

/// Adapters as PEFT 0.21.2 initialises them, by the lines of its layers: they are untrained, and one small step of training away they are not.
@Suite struct FirstValueTests {
    /// A step of an optimiser: every number moves by up to the learning rate.
    enum Training: Double, CaseIterable { case none = 0, oneStep = 1e-4, much = 1e-2 }

    private static let root = "base_model.model.model.layers.0.self_attn."

    private static func tensor(_ name: String, _ shape: Shape, _ training: Training, seed: UInt64, _ first: (Int, inout SplitMix64) -> Double) -> SmallAdapter.Values {
        var (result, random, step) = (SmallAdapter.Values(name, shape), SplitMix64(seed: seed), SplitMix64(seed: seed + 1000))
        result.values = result.values.indices.map { index in
            let value = first(index, &random)
            return Double(Float(value + (uniform(&step) < 0 ? -1 : 1) * training.rawValue))
        }
        return result
    }

    /// Evenly from (−1, 1).
    private static func uniform(_ random: inout SplitMix64) -> Double { Double(random.next() >> 11) * 0x1p-52 - 1 }

    /// Row k of the cosine transform of n numbers: unit vectors, at right angles.
    private static func cosine(_ k: Int, _ j: Int, _ n: Int) -> Double {
        (k == 0 ? (1 / Double(n)) : 2 / Double(n)).squareRoot() * cos(.pi * (Double(j) + 0.5) * Double(k) / Double(n))
    }

    static let names = ["c3a", "c3a kaiming", "unilora", "vblora", "hra", "hra apply_GS", "osf"]

    private static func made(_ name: String, _ training: Training) -> (config: String, tensors: [SmallAdapter.Values]) {
        switch name {
        case "c3a":
            // Sides of 64 · 16 and 64 · 16, of 32 · 16 and 96 · 16: ±√(6 / (in + out)).
            let kernels = [("q_proj", 64, 64), ("o_proj", 32, 96)].map { name, rows, columns in
                let bound = (6.0 / Double(16 * (rows + columns))).squareRoot()
                return tensor("\(root)\(name).c3a_kernel", [rows, columns, 16], training, seed: UInt64(rows)) { bound * uniform(&$1) }
            }
            return (#""peft_type": "C3A", "block_size": 16, "init_weights": "xavier_uniform""#, kernels)
        case "c3a kaiming":
            let bound = (1.0 / 1280).squareRoot()
            return (
                #""peft_type": "C3A", "block_size": 16, "init_weights": "kaiming_uniform""#,
                [tensor("\(root)q_proj.c3a_kernel", [64, 80, 16], training, seed: 3) { bound * uniform(&$1) }]
            )
        case "unilora":
            return (
                #""peft_type": "UNILORA", "r": 4, "theta_d_length": 40000, "proj_seed": 42, "save_indices": false, "init_theta_d_bound": 0.05, "init_weights": true"#,
                [tensor("base_model.unilora_theta_d", [40000], training, seed: 4) { 0.05 * uniform(&$1) }]
            )
        case "vblora":
            return (
                #""peft_type": "VBLORA", "r": 2, "topk": 2, "num_vectors": 320, "vector_length": 64, "init_vector_bank_bound": 0.02, "save_only_topk_weights": false"#,
                [
                    tensor("base_model.vblora_vector_bank", [320, 64], training, seed: 5) { 0.02 * uniform(&$1) },
                    tensor("\(root)q_proj.vblora_logits_A", [2, 1, 320], training, seed: 6) { 0.1 * uniform(&$1) },
                    tensor("\(root)q_proj.vblora_logits_B", [1, 2, 320], training, seed: 7) { 0.1 * uniform(&$1) },
                ]
            )
        case "hra":
            let bound = (1.0 / 5).squareRoot()
            return (
                #""peft_type": "HRA", "r": 5, "apply_GS": false, "init_weights": true"#,
                [tensor("\(root)q_proj.hra_u", [65536, 5], training, seed: 8) { bound * uniform(&$1) }]
            )
        case "hra apply_GS":
            return (
                #""peft_type": "HRA", "r": 4, "apply_GS": true, "init_weights": true"#,
                [tensor("\(root)q_proj.hra_u", [64, 4], training, seed: 9) { index, _ in sin(Double((index / 2) * (index / 2) + 1)) }]
            )
        default:
            return (
                #""peft_type": "OSF", "effective_rank": 20, "rank_pattern": {}, "target_svd_config": null"#,
                [
                    tensor("\(root)q_proj.osf_svd_params.U_low", [96, 44], training, seed: 10) { index, _ in cosine(index % 44 + 3, index / 44, 96) },
                    tensor("\(root)q_proj.osf_svd_params.S_low", [44], training, seed: 11) { index, _ in 3 - Double(index) / 20 },
                    tensor("\(root)q_proj.osf_svd_params.V_low", [44, 64], training, seed: 12) { index, _ in cosine(index / 64 + 20, index % 64, 64) },
                ]
            )
        }
    }

    private func errors(_ name: String, _ training: Training, in folder: TemporaryDirectory) throws -> [String] {
        let made = Self.made(name, training)
        let path = folder.path("adapter")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try SmallAdapter.write(made.tensors, to: "\(path)/adapter_model.safetensors")
        try TestFile.write(#"{\#(made.config), "target_modules": ["q_proj", "o_proj"]}"#, to: "\(path)/adapter_config.json")
        let subject = try Checker(options: CheckOptions(jobs: 1)).check(path)
        return subject.findings.filter { $0.severity != .note && $0.rule != "missing-module" }.map(\.rule)
    }

    @Test(arguments: names, Training.allCases) func onlyTheFirstValuesAreUntrained(_ name: String, _ training: Training) throws {
        let found = try errors(name, training, in: TemporaryDirectory())
        #expect(found == (training == .none ? ["untrained"] : []), "\(found)")
    }

    /// What has no ends cannot be told: kernels from a normal distribution, and an interval that another config gave.
    @Test func whatCannotBeToldIsSilent() throws {
        let folder = try TemporaryDirectory()
        _ = try errors("c3a", .none, in: folder)
        for kind in [#""gaussian""#, #""kaiming_uniform""#] {
            try TestFile.write(
                #"{"peft_type": "C3A", "block_size": 16, "init_weights": \#(kind), "target_modules": ["q_proj", "o_proj"]}"#,
                to: folder.path("adapter/adapter_config.json"))
            let subject = try Checker(options: CheckOptions(jobs: 1)).check(folder.path("adapter"))
            #expect(!subject.findings.contains { $0.rule == "untrained" })
        }
    }

    /// DEFT on a base of which a few rows are looked at.
    @Test(arguments: [1.0, 1.001]) func aPartOfALargeBaseTells(_ trained: Double) throws {
        let folder = try TemporaryDirectory()
        let (rows, columns) = (2112, 2048)
        var random = SplitMix64(seed: 13)
        var weight = SmallAdapter.Values("model.layers.0.self_attn.q_proj.weight", [rows, columns])
        weight.values = weight.values.indices.map { _ in Double(Float(Self.uniform(&random) * 0.05)) }
        var (p, r) = (SmallAdapter.Values("\(Self.root)q_proj.deft_P", [rows, 2]), SmallAdapter.Values("\(Self.root)q_proj.deft_R", [2, columns]))
        p.values = p.values.indices.map { _ in Double(Float(Self.uniform(&random) * 0.02)) }
        for (rank, column) in (0..<2).flatMap({ rank in (0..<columns).map { (rank, $0) } }) {
            let sum = (0..<rows).reduce(0.0) { $0 + max(0, p.values[$1 * 2 + rank]) * weight.values[$1 * columns + column] }
            r.values[rank * columns + column] = Double(Float(sum * trained))
        }
        #expect(try deftErrors(weight, p, r, in: folder) == (trained == 1 ? ["untrained"] : []))
    }

    /// DEFT begins with R = max(P, 0)ᵀ·W, which takes out what it puts in: the base alone tells, up to the rounding of R.
    @Test(arguments: [1.0, 1.001]) func anInjectionOfTheBasesOwnPart(_ trained: Double) throws {
        let folder = try TemporaryDirectory()
        var weight = SmallAdapter.Values("model.layers.0.self_attn.q_proj.weight", [8, 8])
        weight.values = (0..<64).map { Double(Float(0.1 * Double($0 * 5 % 13 - 6))) }
        var p = SmallAdapter.Values("\(SmallAdapter.root).deft_P", [8, 2]), r = SmallAdapter.Values("\(SmallAdapter.root).deft_R", [2, 8])
        p.values = (0..<16).map { Double(Float(0.3 * Double($0 * 3 % 7 - 2))) }
        r.values = (0..<16).map { index in
            (0..<8).reduce(0) { $0 + max(0, p.values[$1 * 2 + index / 8]) * weight.values[$1 * 8 + index % 8] } * (index == 3 ? trained : 1)
        }
        #expect(try deftErrors(weight, p, r, in: folder) == (trained == 1 ? ["untrained"] : []))
    }

    /// The errors of a DEFT adapter of one layer, beside its base.
    private func deftErrors(
        _ weight: SmallAdapter.Values, _ p: SmallAdapter.Values, _ r: SmallAdapter.Values, in folder: TemporaryDirectory
    ) throws -> [String] {
        for name in ["base", "adapter"] { try FileManager.default.createDirectory(atPath: folder.path(name), withIntermediateDirectories: true) }
        try SmallAdapter.write([weight], to: folder.path("base/model.safetensors"))
        try TestFile.write(#"{"model_type": "llama", "tie_word_embeddings": false}"#, to: folder.path("base/config.json"))
        try SmallAdapter.write([p, r], to: folder.path("adapter/adapter_model.safetensors"))
        try TestFile.write(
            #"{"peft_type": "DEFT", "r": 2, "alpha": null, "decomposition_method": "relu", "para": false, "target_modules": ["q_proj"]}"#,
            to: folder.path("adapter/adapter_config.json"))
        let base = try Checkpoint.open(folder.path("base"))
        let report = try Checker(options: CheckOptions(base: base, jobs: 1)).check(folder.path("adapter"))
        return report.findings.filter { $0.severity == .error }.map(\.rule)
    }
}

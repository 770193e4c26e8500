import Adapters
import ByteAccess
import Checking
import Checkpoints
import Foundation
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

    @Test(arguments: [("loha-linear", "r"), ("loha-linear", "alpha"), ("lokr-both", "alpha"), ("randlora", "randlora_alpha")])
    func aScaleThatTheConfigDoesNotSay(_ fixture: String, _ key: String) {
        let error = refusal(fixture) { $0.config[key] = nil }
        #expect(error?.rule == "AlphaMissing" && error?.message.contains(key) == true)
    }

    /// Indices are dealt over all modules in a row: one that is not seen gives all others wrong ones.
    @Test(arguments: [["q_proj", "o_proj", "nosuch"], ["q_proj", "lm_head.base"]]) func aModuleThatIndicesAreDealtTo(_ targets: [String]) {
        let error = refusal("unilora", check: false) { $0.config["target_modules"] = targets }
        #expect(error?.rule == "TargetModules")
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
}

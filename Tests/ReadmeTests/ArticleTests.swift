@testable import Adapters
import Foundation
import Peftfile
import TestSupport
import Testing

/// The articles of `Peftfile.docc`: what they show is compiled here, and run.
@Suite struct ArticleTests {
    static let catalogue = "\(Fixtures.repository)/Sources/Peftfile/Peftfile.docc"

    @Test(arguments: ["InspectAndMerge", "CustomCheckRule", "NewMethod"]) func articleShowsWhatIsCompiled(_ name: String) throws {
        let page = try TestFile.text("\(Self.catalogue)/\(name).md")
        var code = try TestFile.text("\(Fixtures.repository)/Tests/ReadmeTests/Articles/\(name).swift")
        // Inside the module that it belongs to, a method imports nothing.
        code.trimPrefix("@testable import Adapters\n\n")
        let blocks = page.split(separator: "```").enumerated().filter { $0.offset % 2 == 1 }.map { String($0.element) }
        #expect(blocks == ["swift\n\(code)"])
        #expect(try TestFile.text("\(Self.catalogue)/Peftfile.md").contains("<doc:\(name)>"))
    }

    @Test func tenLinesMerge() throws {
        let directory = try TemporaryDirectory()
        let merge = Fixtures.path("merge/lora-sharded-bf16")
        let survival = try #require(
            try inspectAndMerge(base: "\(merge)/base", adapter: "\(merge)/adapter", into: directory.path("out")))
        #expect(survival > 0.9 && survival < 1.1)
        #expect(FileManager.default.fileExists(atPath: directory.path("out/peftfile-receipt.json")))
    }

    /// Ranks 4 and 3 in one fixture; 64 in the other.
    @Test func ownRuleIsOneOfTheRules() throws {
        let odd = Fixtures.path("merge/lora-rank-pattern/adapter")
        let report = try Checker(rules: RuleRegistry.rules + [RankMultiple()]).check([odd])
        let found = report.subjects.flatMap(\.findings).filter { $0.rule == "rank-multiple" }
        #expect(found.count > 5 && found.contains { $0.message.contains("rank 3") && $0.help == "train with r = 8" })
        #expect(try areFitForOurServer([odd]) == false)
        let even = try Checker(rules: [RankMultiple()]).check([Fixtures.path("merge/lora-r64/adapter")])
        #expect(even.isClean && even.subjects.map(\.rulesRun) == [1])
    }

    /// Every formula of the article, with numbers that are exact in float32.
    @Test func ownMethodMerges() throws {
        let directory = try TemporaryDirectory()
        let weights: [Float] = [1, 2, 3, 4, 5, 6]
        let gates: [Float] = [0.5, -2]
        try Self.write("layer.weight", [2, 3], weights, to: directory.path("base.safetensors"))
        try FileManager.default.createDirectory(atPath: directory.path("adapter"), withIntermediateDirectories: true)
        try Self.write(
            "base_model.model.layer.gate_vector", [2], gates, to: directory.path("adapter/adapter_model.safetensors"))
        try TestFile.write(#"{"peft_type": "GATE", "init_gate": 0}"#, to: directory.path("adapter/adapter_config.json"))

        // What the registry does for a method that it has.
        var adapter = try Adapter(path: directory.path("adapter"))
        adapter.method = Gate()
        adapter.keys = adapter.keys.map { AdapterKey(stored: $0.stored, module: "layer", component: "gate_vector", leaf: "") }

        let binding = try Binding(base: .open(directory.path("base.safetensors")), adapters: [adapter])
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("out.safetensors")).run()
        let merged = try Checkpoint.open(directory.path("out.safetensors"))
        let tensor = try #require(merged["layer.weight"])
        let values = try merged.read(tensor).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        #expect(values == [1.5, 3, 4.5, -4, -5, -6])
        #expect(try Verifier(binding: binding, result: merged).run().isEquivalent)
    }

    private static func write(_ name: ExactString, _ shape: Shape, _ values: [Float], to path: String) throws {
        let layout = try SafetensorsLayout(metadata: nil, tensors: [(name: name, dtype: .f32, shape: shape)])
        let bytes = values.withUnsafeBytes { Array($0) }
        try TestFile.write(layout.headerBytes + bytes, to: path)
    }
}

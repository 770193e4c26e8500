import Peftfile
import TestSupport
import Testing

/// Bottleneck adapters: what inspect says of them, and that merge refuses them.
@Suite struct BottleneckTests {
    /// AdapterHub's output adapters named `task` in the given layers.
    private func state(layers: [Int], up: Double = 0.5, bottleneck: Int = 2) -> [SmallTensor] {
        layers.flatMap { layer -> [SmallTensor] in
            let root = "bert.encoder.layer.\(layer).output.output_adapters.adapters.task"
            func tensor(_ leaf: String, _ shape: Shape, _ value: Double) -> SmallTensor {
                let values = [Double](repeating: value, count: shape.reduce(1, *))
                return SmallTensor(name: ExactString("\(root).\(leaf)"), shape: shape, values: values)
            }
            return [
                tensor("adapter_down.0.weight", [bottleneck, 8], 1), tensor("adapter_down.0.bias", [bottleneck], 0),
                tensor("adapter_up.weight", [8, bottleneck], up), tensor("adapter_up.bias", [8], 0),
            ]
        }
    }

    private let config = """
        {"config": {"architecture": null, "reduction_factor": 4, "non_linearity": "relu", "leave_out": []}, "hidden_size": 8,
         "model_type": "bert", "name": "task", "version": "adapters.1.3.0"}
        """

    private func inspect(
        _ tensors: [SmallTensor], config: String?, file: String = "adapter.safetensors", _ check: (Inspection) throws -> Void
    ) throws {
        let directory = try TemporaryDirectory()
        try SmallTensor.write(tensors, to: directory.path(file))
        if let config { try directory.write(config, to: "adapter_config.json") }
        try check(try Inspection(path: config == nil ? directory.path(file) : directory.path))
    }

    @Test func whatIsRightHasNoFinding() throws {
        try inspect(state(layers: [0, 1, 2]), config: config) { inspection in
            let report = try #require(inspection.bottlenecks)
            #expect(report.modules.count == 3 && report.hidden == 8 && report.bottlenecks == [2])
            #expect(report.layers == [0, 1, 2] && report.nonLinearity == "relu" && report.reductionFactor == 4)
            #expect(report.findings.isEmpty && inspection.warnings.count == 1 && inspection.unclaimed.isEmpty)
            #expect(inspection.dialect == "adapterhub" && inspection.kind == .adapter)
            #expect(inspection.targets.map(\.rank) == [2, 2, 2])
        }
    }

    @Test func whatIsWrongIsFound() throws {
        var tensors = state(layers: [0, 1, 3])
        tensors.removeAll { $0.name.text.contains("layer.1.") && $0.name.text.contains("adapter_up.weight") }
        try inspect(tensors, config: config.replacing("\"task\"", with: "\"other\"")) { inspection in
            let findings = try #require(inspection.bottlenecks).findings
            #expect(findings.count == 3, "\(findings)")
            #expect(findings[0].contains("layer.1.") && findings[0].contains("no up-projection"))
            #expect(findings[1].contains("task") && findings[1].contains("other"))
            #expect(findings[2].contains("layer.*") && findings[2].contains("layer 2"))
        }
        try inspect(state(layers: [0], bottleneck: 3), config: config) { inspection in
            #expect(inspection.bottlenecks?.findings.first?.contains("reduction_factor 4 makes it 2") == true)
        }
    }

    @Test func zeroUpProjectionsAreUntrained() throws {
        try inspect(state(layers: [0], up: 0) + state(layers: [1]), config: config) { inspection in
            var inspection = inspection
            #expect(inspection.untrained == nil, "no numbers are read unasked")
            inspection.statistics = try inspection.checkpoint.statistics(jobs: 1)
            #expect(inspection.untrained == ["bert.encoder.layer.0.output.output_adapters.adapters.task"])
        }
    }

    @Test func openDeltaIsKnown() throws {
        let tensors = ["attn", "ff"].flatMap { place -> [SmallTensor] in
            let root = "encoder.block.0.\(place).adapter.modulelist"
            return [("down_proj.weight", [3, 6]), ("down_proj.bias", [3]), ("up_proj.weight", [6, 3]), ("up_proj.bias", [6])]
                .map { SmallTensor(
                    name: ExactString("\(root).\($0.0)"), shape: $0.1, values: SmallTensor.numbers($0.1.reduce(1, *), seed: 1)) }
        }
        try inspect(tensors, config: nil) { inspection in
            #expect(inspection.dialect == "opendelta" && inspection.kind == .adapter)
            #expect(inspection.bottlenecks?.modules.count == 2 && inspection.bottlenecks?.findings.isEmpty == true)
        }
    }

    @Test func mergeRefusesWithTheReason() throws {
        let directory = try TemporaryDirectory()
        try SmallTensor.write(state(layers: [0]), to: directory.path("adapter.safetensors"))
        try directory.write(config, to: "adapter_config.json")
        let base = Fixtures.path("merge/lora-r1/base")
        let error = #expect(throws: PeftfileError.self) {
            _ = try Binding(base: .open(base), adapters: [Adapter(path: directory.path)])
        }
        #expect(error?.rule == "NotMergeable" && error?.message.contains("relu") == true)
        #expect(error?.message.contains("no weight-space form") == true)
    }
}

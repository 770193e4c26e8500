@testable import PeftfileCommands
import Testing

/// What pictures are made of, piece by piece.
@Suite struct PictureTests {
    @Test(arguments: [
        ("model.layers.3.self_attn.q_proj", "model.layers", 3, "self_attn.q_proj"),
        ("transformer.h.11.attn.c_attn", "transformer.h", 11, "attn.c_attn"),
        ("bert.encoder.layer.0.attention.self.query", "bert.encoder.layer", 0, "attention.self.query"),
        ("encoder.block.4.layer.1.DenseReluDense.wo", "encoder.block", 4, "layer.1.DenseReluDense.wo"),
        ("model.layers.2.mlp.experts.17.w1", "model.layers", 2, "mlp.experts.*.w1"),
        ("down_blocks.1.attentions.0.transformer_blocks.5.attn1.to_out.0", "down_blocks.1.attentions.0.transformer_blocks", 5, "attn1.to_out.0"),
        ("lora_unet_up_blocks_1_attentions_2_transformer_blocks_0_attn1_to_q", "lora_unet_up_blocks_1_attentions_2_transformer_blocks", 0, "attn1_to_q"),
        ("resnet.encoder.stages.1.conv", "resnet.encoder.stages", 1, "conv"),
        ("lm_head", "", nil, "lm_head"), ("classifier.1", "", nil, "classifier.1"), ("", "", nil, ""),
        ("model.layers.99999999999999999999.q", "", nil, "model.layers.99999999999999999999.q"),
    ] as [(String, String, Int?, String)])
    func modulesHaveTheirPlace(_ path: String, _ stack: String, _ layer: Int?, _ kind: String) {
        let place = ModulePlace(path)
        #expect(place.stack == stack && place.layer == layer && place.kind == kind, "\(place)")
    }

    /// ‖ΔW‖/‖W‖ of what shares a place is that of the block: √(3² + 4²) / √(6² + 8²).
    @Test func expertsCountTogether() {
        let map = HeatMap([
            .init(module: "layers.0.experts.0.w", update: 3, base: 6), .init(module: "layers.0.experts.1.w", update: 4, base: 8),
            .init(module: "layers.1.experts.0.w", update: 1, base: 10), .init(module: "head", update: 0, base: 1),
        ])
        #expect(map.stacks.map(\.name) == ["layers", ""])
        #expect(map.stacks[0].value("experts.*.w", 0) == 0.5 && map.stacks[0].value("experts.*.w", 1) == 0.1)
        #expect(map.stacks[0].value("experts.*.w", 2) == nil && map.stacks[1].value("head", nil) == 0)
        #expect(map.level(0) == nil && map.level(0.1) == 0 && map.level(0.5) == 7 && !map.isLogarithmic)
    }

    @Test func wideRangesAreLogarithmic() {
        let map = HeatMap((0...8).map { .init(module: "layers.\($0).w", update: Double(1 << $0), base: nil) })
        #expect(map.isLogarithmic && !map.isRelative)
        #expect((0...8).map { map.level(Double(1 << $0)) } == [0, 1, 2, 3, 4, 5, 6, 7, 7])
    }

    /// Others keep their steps beside a module that is as good as dead.
    @Test func oneDeadModuleLeavesTheScale() {
        let values = (0...8).map { Double(1 << $0) } + [1e-33]
        let map = HeatMap(values.enumerated().map { .init(module: "layers.\($0).w", update: $1, base: nil) })
        #expect(map.smallest == 1 && map.largest == 256)
        #expect(values.map { map.level($0) } == [0, 1, 2, 3, 4, 5, 6, 7, 7, 0])
    }

    /// Layers that no update changes have their place, within reason.
    @Test func layersWithoutUpdatesKeepTheirPlace() {
        let layers = [0, 1, 4, 1_000_000_000, 1_000_000_001]
        let map = HeatMap(layers.map { .init(module: "layers.\($0).w", update: 1, base: nil) })
        #expect(map.stacks[0].layers == [0, 1, 2, 3, 4, 1_000_000_000, 1_000_000_001])
        #expect(map.stacks[0].value("w", 2) == nil)
    }

    private func picture(_ count: Int, width: Int?) -> String {
        let map = HeatMap((0..<count).flatMap { layer in
            ["a", "bc"].map { HeatMap.Entry(module: "m.layers.\(layer).\($0)", update: Double(layer + 1), base: nil) }
        })
        var picture = TerminalHeatMap(map: map)
        (picture.width, picture.showsColor) = (width, false)
        return picture.text
    }

    @Test func layersFoldIntoTheWidth() {
        let folded: [Substring] = picture(80, width: 40).split(separator: "\n")
        #expect(!folded.dropFirst().contains { $0.count > 40 })
        let wide: [Substring] = picture(80, width: nil).split(separator: "\n")
        #expect(wide.count == 4 && wide[1].contains("0         10        20"))
        // Every layer has its sign, however it is folded.
        for width in [10, 40, 200] as [Int?] + [nil] {
            let lines: [Substring] = picture(33, width: width).split(separator: "\n")
            let rows = lines.filter { $0.contains("    bc ") }
            let signs = rows.map { $0.dropFirst("  m.layers  ".count).count }.reduce(0, +)
            #expect(signs == 33, "\(width ?? 0)")
        }
    }

    @Test func progressFitsItsTerminal() {
        let line = ProgressLine(label: "merge", done: 420_000_000, total: 1_000_000_000, seconds: 0.5)
        #expect(line.text(width: 79) == "merge 42.0 % [################........................] 840 MB/s, 1 s left")
        #expect(line.text(width: 45) == "merge 42.0 % [####.......] 840 MB/s, 1 s left")
        #expect(line.text(width: 34) == "merge 42.0 % 840 MB/s, 1 s left")
        #expect(line.text(width: 24) == "merge 42.0 % 1 s left")
        #expect(line.text(width: 13) == "merge 42.0 %")
        #expect(line.text(width: 7) == "42.0 %")
        #expect(line.text(width: 2).isEmpty)
        for width in 0...200 { #expect(line.text(width: width).count <= max(0, width)) }
        #expect(ProgressLine(label: "x", done: 0, total: 5, seconds: 0).text(width: 10) == "x 0.0 %")
        #expect(ProgressLine(label: "x", done: 9_999_999, total: 10_000_000, seconds: 1).text(width: 79).contains("99.9 %"))
        #expect(ProgressLine(label: "x", done: 7, total: 5, seconds: 1).text(width: 79).contains("100.0 %"))
        #expect([0.2, 59, 61, 3600, 7322, 1e9].map(ProgressLine.time) == ["1 s", "59 s", "1:01", "1:00:00", "2:02:02", "days"])
    }

    @Test func sparklinesKeepTheLargest() {
        let glyphs = Glyphs()
        #expect(glyphs.sparkline([1, 0.5, 0]) == String([glyphs.levels[7], glyphs.levels[4], glyphs.zero]))
        #expect(glyphs.sparkline((0..<64).map { 1 - Double($0) / 64 }).count == 16)
        #expect(glyphs.sparkline([]).isEmpty)
    }
}

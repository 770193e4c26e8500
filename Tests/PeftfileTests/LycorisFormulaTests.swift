import Peftfile
import TestSupport
import Testing

/// The formulas of LyCORIS that no fixture has, against plain loops.
@Suite struct LycorisFormulaTests {
    private typealias Model = SmallModel

    private let weight = Model.tensor("blocks.0.fc.weight", [4, 6], seed: 1)
    private let bias = Model.tensor("blocks.0.fc.bias", [4], seed: 2)
    private let kernel = Model.tensor("blocks.0.conv.weight", [4, 3, 2, 2], seed: 3)
    private let norm = Model.tensor("blocks.0.norm.weight", [5], seed: 4)
    private let normBias = Model.tensor("blocks.0.norm.bias", [5], seed: 5)

    private func merged(_ adapter: [SmallTensor]) throws -> Checkpoint {
        try DialectModel(base: [weight, bias, kernel, norm, normBias], adapter: adapter).merged()
    }

    private func scalar(_ name: ExactString, _ value: Double, _ dtype: DType = .f32) -> SmallTensor {
        SmallTensor(name: name, shape: [], values: [value], dtype: dtype)
    }

    @Test(arguments: [false, true]) func ia3IsAScaleMinusOne(onInput: Bool) throws {
        let count = onInput ? 6 : 4
        let scales = Model.tensor("lycoris_blocks_0_fc.weight", [count], seed: 7)
        let result = try merged([scales, scalar("lycoris_blocks_0_fc.on_input", onInput ? 1 : 0)])
        let wanted = (0..<24).map { weight.values[$0] * (1 + scales.values[onInput ? $0 % 6 : $0 / 6]) }
        #expect(try result.numbers("blocks.0.fc.weight") == wanted)
        // The library's merge leaves the bias.
        #expect(try result.numbers("blocks.0.fc.bias") == bias.values)
    }

    @Test(arguments: [false, true]) func ia3OfAConvolution(onInput: Bool) throws {
        let count = onInput ? 3 : 4
        let scales = Model.tensor("lycoris_blocks_0_conv.weight", [1, count, 1, 1], seed: 7)
        let result = try merged([scales, scalar("lycoris_blocks_0_conv.on_input", onInput ? 1 : 0)])
        let wanted = (0..<48).map { (place: Int) -> Double in
            let line: Int = onInput ? place / 4 % 3 : place / 12
            return kernel.values[place] * (1 + scales.values[line])
        }
        #expect(try result.numbers("blocks.0.conv.weight") == wanted)
    }

    @Test func fullDifferencesAndNorms() throws {
        let parts = [
            Model.tensor("lycoris_blocks_0_fc.diff", [4, 6], seed: 8), Model.tensor("lycoris_blocks_0_fc.diff_b", [4], seed: 9),
            Model.tensor("lycoris_blocks_0_conv.diff", [4, 3, 2, 2], seed: 10),
            Model.tensor("lycoris_blocks_0_norm.w_norm", [5], seed: 11),
            Model.tensor("lycoris_blocks_0_norm.b_norm", [5], seed: 12),
        ]
        let result = try merged(parts)
        for (base, part) in zip([weight, bias, kernel, norm, normBias], parts) {
            #expect(try result.numbers(base.name) == Plain.sum(base.values, part.values, scale: 1), "\(base.name)")
        }
    }

    /// R for blocks of 2 × 2: the Cayley transform of [[0, q], [−q, 0]] in closed form.
    private func rotation(_ x: ArraySlice<Double>, factor: Double = 1) -> [Double] {
        let x = Array(x)
        let q = factor * (x[1] - x[2])
        let (one, two, length): (Double, Double, Double) = (1 - q * q, 2 * q, 1 + q * q)
        return [one / length, two / length, -two / length, one / length]
    }

    @Test(arguments: ["lycoris", "oft_unet"]) func blockRotationsTurnRows(prefix: String) throws {
        let blocks = Model.tensor(ExactString("\(prefix)_blocks_0_fc.oft_blocks"), [2, 2, 2], seed: 13)
        let alpha = prefix == "lycoris" ? 0 : 0.5
        let result = try merged([blocks, scalar(ExactString("\(prefix)_blocks_0_fc.alpha"), alpha)])
        // kohya: ‖Q‖ over all blocks, held to alpha·out.
        let x = blocks.values
        let q: [Double] = [x[1] - x[2], x[5] - x[6]]
        let squares: Double = q.map { $0 * $0 }.reduce(0, +)
        let norm: Double = (2 * squares).squareRoot()
        let held: Double = min(norm, 0.5 * 4) + 1e-8
        let wanted = turned(by: blocks.values, factor: prefix == "lycoris" ? 1 : held / (norm + 1e-8))
        #expect(isClose(try result.numbers("blocks.0.fc.weight"), wanted))
    }

    /// einsum("k n m, k n ... -> k m ...") of two rotations and the weight.
    private func turned(by blocks: [Double], factor: Double) -> [Double] {
        var wanted = [Double](repeating: 0, count: 24)
        for n in 0..<2 {
            let start = 4 * n
            let r: [Double] = rotation(blocks[start..<(start + 4)], factor: factor)
            for m in 0..<2 {
                for column in 0..<6 {
                    for row in 0..<2 {
                        let (target, source): (Int, Int) = ((2 * n + m) * 6 + column, (2 * n + row) * 6 + column)
                        wanted[target] += r[row * 2 + m] * weight.values[source]
                    }
                }
            }
        }
        return wanted
    }

    @Test func theConstraintOfLyCORISHoldsTheNorm() throws {
        let blocks = Model.tensor("lycoris_blocks_0_fc.oft_blocks", [2, 2, 2], seed: 13)
        let rescale = SmallTensor(name: "lycoris_blocks_0_fc.rescale", shape: [4, 1], values: [1, 2, 3, 4])
        let result = try merged([blocks, rescale, scalar("lycoris_blocks_0_fc.alpha", 0.25)])
        let x = blocks.values
        let q: [Double] = [x[1] - x[2], x[5] - x[6]]
        let squares: Double = q.map { $0 * $0 }.reduce(0, +)
        let norm: Double = (2 * squares).squareRoot() + 1e-8
        let factor: Double = min(1, 0.25 * 4 / norm)
        #expect(factor < 1)
        let wanted = turned(by: blocks.values, factor: factor).enumerated().map { rescale.values[$0 / 6] * $1 }
        #expect(isClose(try result.numbers("blocks.0.fc.weight"), wanted))
    }

    @Test func butterfliesAreNotTransposed() throws {
        let blocks = Model.tensor("lycoris_blocks_0_fc.oft_blocks", [2, 2, 2, 2], seed: 14)
        let result = try merged([blocks, scalar("lycoris_blocks_0_fc.alpha", 0)])
        var rows = (0..<4).map { Array(weight.values[($0 * 6)..<($0 * 6 + 6)]) }
        for i in 0..<2 {
            // unflatten(0, (-1, 2, k)).transpose(1, 2).flatten(0, 2), k = 2^i·b/2
            let k = 1 << i
            var order: [Int] = []
            for c in 0..<(4 / (2 * k)) { for x in 0..<k { for g in 0..<2 { order.append(c * 2 * k + g * k + x) } } }
            let shuffled = order.map { rows[$0] }
            var turned = shuffled
            for n in 0..<2 {
                let start = 8 * i + 4 * n
                let r = rotation(blocks.values[start..<(start + 4)])
                for row in 0..<2 {
                    let (first, second) = (shuffled[2 * n], shuffled[2 * n + 1])
                    turned[2 * n + row] = zip(first, second).map { r[row * 2] * $0 + r[row * 2 + 1] * $1 }
                }
            }
            for (place, source) in order.enumerated() { rows[source] = turned[place] }
        }
        #expect(isClose(try result.numbers("blocks.0.fc.weight"), rows.flatMap { $0 }))
    }

    @Test func gloraAddsWhatTheBaseMakes() throws {
        let shapes: [(String, Shape)] = [("a1", [6, 2]), ("a2", [2, 6]), ("b1", [4, 2]), ("b2", [2, 6])]
        let factors = shapes.enumerated().map { seed, factor in
            Model.tensor(ExactString("lycoris_blocks_0_fc.\(factor.0).weight"), factor.1, seed: 20 + seed)
        }
        let result = try merged(factors + [scalar("lycoris_blocks_0_fc.alpha", 1)])
        let a = Plain.product(factors[0].values, factors[1].values, 6, 2, 6)
        let b = Plain.product(factors[2].values, factors[3].values, 4, 2, 6)
        let update = Plain.sum(Plain.product(weight.values, a, 4, 6, 6), b, scale: 1)
        #expect(try result.numbers("blocks.0.fc.weight") == Plain.sum(weight.values, update, scale: 0.5))
    }

    @Test func gloraOfAConvolutionActsOnChannels() throws {
        let shapes: [(String, Shape)] = [("a1", [3, 2, 1, 1]), ("a2", [2, 3, 1, 1]), ("b1", [4, 2, 1, 1]), ("b2", [2, 3, 2, 2])]
        let factors = shapes.enumerated().map { seed, factor in
            Model.tensor(ExactString("lycoris_blocks_0_conv.\(factor.0).weight"), factor.1, seed: 30 + seed)
        }
        let result = try merged(factors + [scalar("lycoris_blocks_0_conv.alpha", 2)])
        let a = Plain.product(factors[0].values, factors[1].values, 3, 2, 3)
        var wanted = Plain.sum(
            kernel.values, Plain.product(factors[2].values, factors[3].values, 4, 2, 12), scale: 1)
        for o in 0..<4 { for j in 0..<3 { for k in 0..<4 { for i in 0..<3 {
            let (target, source): (Int, Int) = (o * 12 + j * 4 + k, o * 12 + i * 4 + k)
            wanted[target] += kernel.values[source] * a[i * 3 + j]
        } } } }
        #expect(try result.numbers("blocks.0.conv.weight") == wanted)
    }

    @Test func decompositionsByInputAndByOutput() throws {
        let down = Model.tensor("lycoris_blocks_0_conv.lora_down.weight", [2, 3, 2, 2], seed: 40)
        let up = Model.tensor("lycoris_blocks_0_conv.lora_up.weight", [4, 2, 1, 1], seed: 41)
        let sum = Plain.sum(kernel.values, Plain.product(up.values, down.values, 4, 2, 12), scale: 1)
        for byInput in [true, false] {
            let count = byInput ? 3 : 4
            let scale = SmallTensor(
                name: "lycoris_blocks_0_conv.dora_scale", shape: byInput ? [1, 3, 1, 1] : [4, 1, 1, 1],
                values: (1...count).map(Double.init))
            let result = try merged([down, up, scale])
            func line(_ place: Int) -> Int { byInput ? place / 4 % 3 : place / 12 }
            var squares = [Double](repeating: 0, count: count)
            for place in 0..<48 { squares[line(place)] += sum[place] * sum[place] }
            let wanted = (0..<48).map { (place: Int) -> Double in
                sum[place] * scale.values[line(place)] / (squares[line(place)].squareRoot() + 0x1p-23)
            }
            #expect(isClose(try result.numbers("blocks.0.conv.weight"), wanted))
        }
    }

    @Test func partsOfAFusedOutputLieBelowEachOther() throws {
        let parts = (0..<2).flatMap { n in
            [
                Model.tensor(ExactString("lora_unet_blocks_0_fc.lora_down.\(n).weight"), [2, 6], seed: 50 + n),
                Model.tensor(ExactString("lora_unet_blocks_0_fc.lora_up.\(n).weight"), [2, 2], seed: 60 + n),
            ]
        }
        let result = try merged(parts + [scalar("lora_unet_blocks_0_fc.alpha", 4)])
        let update = (0..<2).flatMap { Plain.product(parts[2 * $0 + 1].values, parts[2 * $0].values, 2, 2, 6) }
        #expect(try result.numbers("blocks.0.fc.weight") == Plain.sum(weight.values, update, scale: 2))
    }

    @Test func aTensorOfNoMethodIsNamed() throws {
        let model = try DialectModel(
            base: [weight],
            adapter: [
                Model.tensor("lycoris_blocks_0_fc.diff", [4, 6], seed: 8), Model.tensor("lycoris_blocks_0_fc.extra", [2], seed: 9),
            ])
        #expect(model.refusal()?.rule == "UnclaimedTensor")
        #expect(model.refusal()?.tensor == "lycoris_blocks_0_fc.extra")
    }

    @Test func anAlphaOfZeroIsRefused() throws {
        let model = try DialectModel(
            base: [weight],
            adapter: [
                Model.tensor("lora_unet_blocks_0_fc.lora_down.weight", [2, 6], seed: 8),
                Model.tensor("lora_unet_blocks_0_fc.lora_up.weight", [4, 2], seed: 9),
                scalar("lora_unet_blocks_0_fc.alpha", 0),
            ])
        #expect(model.refusal()?.rule == "AlphaValue")
    }
}

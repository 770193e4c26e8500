import TestSupport
import Testing
@testable import Tensors

/// Inputs made to have the fused form of DoRA decide wrongly, against the definition.
@Suite struct MagnitudeAttackTests {
    /// Rows whose factor is 1, next to 1, a ratio as trained ones are, of another size, 0, or no number.
    private static let shares = [
        1, 1.0.nextUp, 1 - 0x1p-24, 1.01, 0.93, -3, 0, 0x1p-960, 0x1p960, .nan, .infinity, 1 + 0x1p-41, 1 - 0x1p-50,
    ]

    /// Checks a panel whose rows are to become `shares` times as long, or, without a norm, that long.
    private func check(_ panel: LowRankPanel, _ what: String, slack: Double = 1e-6, turn: Int = 0) throws {
        var panel = panel
        panel.magnitudes = try panel.norms().enumerated().map { row, norm in
            let share = Self.shares[(row + turn) % Self.shares.count]
            return norm > 0 && norm.isFinite ? norm * share : share
        }
        try panel.check(what, slack: slack)
    }

    @Test("every rank, odd shapes, and scales of every size", arguments: LowRankAttackTests.dtypes)
    func shapes(_ dtype: DType) throws {
        let ranks = [0, 1, 2, 3, 7, 15, 16, 17, 33, 64, 100, 256, 512]
        for (seed, rank) in ranks.enumerated() {
            for (rows, columns) in [(1, 1), (5, 15), (6, 16), (7, 17), (13, 130), (2, 1030)] where rank * columns < 40_000 {
                let scale = [1, -0.3, 1e-20, 2, 1e20][(seed + columns) % 5]
                let panel = try LowRankPanel(
                    dtype, rows: rows, rank: rank, columns: columns, scale: scale, seed: UInt64(seed * 100 + rows))
                try check(panel, "shape", turn: seed)
            }
        }
        // Factors that are no float32 numbers, in one factor and in both.
        for wide in 0..<3 {
            var panel = try LowRankPanel(dtype, rows: 8, rank: 5, columns: 50, scale: 1.5, seed: 77)
            if wide != 1 { panel.right = panel.right.map { $0 * (1 + 0x1p-40) } }
            if wide != 0 { panel.left = panel.left.map { $0 * (1 - 0x1p-43) } }
            try check(panel, "wide")
        }
    }

    /// With a factor of 1, or next to it, the results are V, which is put next to ties and to W.
    @Test("results next to ties and next to W", arguments: LowRankAttackTests.dtypes)
    func ties(_ dtype: DType) throws {
        let step = LowRankAttackTests.power(-LowRankAttackTests.fractionBits(dtype))
        for (seed, distance) in [0, 0x1p-52, 0x1p-45, 0x1p-36, 0x1p-30, 0x1p-24, 0x1p-23, 0x1p-21, 0x1p-20].enumerated() {
            for place in [0.5, 0, 1] {
                var panel = try LowRankPanel(dtype, rows: 26, rank: 2, columns: 48, scale: 1, seed: UInt64(seed))
                // W is a number of the format and the update half a step, one, or none, and a distance.
                try panel.setBase((0..<panel.count).map { 1 + step * Double($0 % 61) })
                for i in 0..<26 { (panel.left[2 * i], panel.left[2 * i + 1]) = (i % 2 == 0 ? 1 : -1, i % 3 == 0 ? -1 : 1) }
                for j in 0..<48 { (panel.right[j], panel.right[48 + j]) = (step * place, distance * Double(j % 3)) }
                try check(panel, "distance \(distance) from \(place)", slack: 1)
                try check(panel, "distance \(distance) from \(place)", slack: 1, turn: 7)
            }
        }
    }

    @Test("cancelled rows, subnormal rows, rows about the largest number, and zeros", arguments: LowRankAttackTests.dtypes)
    func extremes(_ dtype: DType) throws {
        for (seed, exponents) in [(-75)...(-70), (-66)...(-60), (-20)...(-10), 5...9, 30...60, (-149)...(-140)].enumerated() {
            for base in [(-149)...(-120), (-30)...(-10), -2...2, 10...15, 100...127] {
                let panel = try LowRankPanel(
                    dtype, rows: 15, rank: 3, columns: 37, scale: -1.25, seed: UInt64(seed), exponents: exponents,
                    base: base)
                try check(panel, "exponents \(exponents), \(base)", slack: 1, turn: seed)
            }
        }
        var panel = try LowRankPanel(dtype, rows: 13, rank: 4, columns: 64, scale: 0.5, seed: 4)
        try panel.setBase((0..<panel.count).map { -panel.update($0 / 64, $0 % 64) })
        try check(panel, "cancelled", slack: 1e-4)
        try panel.setBase((0..<panel.count).map { $0 % 5 == 0 ? -0.0 : 0 })
        try check(panel, "zeros")
        panel.left = panel.left.map { _ in 0 }
        try check(panel, "only zeros")
    }

    @Test("Inf and NaN in W, in the factors and in the scale", arguments: LowRankAttackTests.dtypes)
    func specials(_ dtype: DType) throws {
        let specials = [Double.nan, -.nan, .infinity, -.infinity, .greatestFiniteMagnitude, .leastNonzeroMagnitude]
        var random = SplitMix64(seed: 12)
        for seed in 0..<40 {
            var panel = try LowRankPanel(dtype, rows: 14, rank: 3, columns: 35, scale: 1.5, seed: UInt64(seed))
            var base = try Conversion.widened(panel.base, as: dtype, count: panel.count)
            for _ in 0..<4 { base[Int.random(in: 0..<490, using: &random)] = specials.randomElement(using: &random) ?? 0 }
            try panel.setBase(base)
            if seed % 3 == 0 { panel.left[Int.random(in: 0..<42, using: &random)] = specials[seed % 6] }
            if seed % 4 == 0 { panel.right[Int.random(in: 0..<105, using: &random)] = specials[seed % 6] }
            if seed % 9 == 0 { panel.scale = specials[seed / 9] }
            try check(panel, "seed \(seed)", slack: 1, turn: seed)
        }
    }

    @Test("rows too long for the bound take the defined sum")
    func longRows() throws {
        try check(LowRankPanel(.bf16, rows: 2, rank: 1, columns: 65_537, scale: 2, seed: 6), "long", turn: 3)
    }
}

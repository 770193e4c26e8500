import TestSupport
import Testing
@testable import Tensors

/// The fused kernel against its definition, over shapes, ranks, scales and every kind of factor.
@Suite struct LowRankKernelTests {
    static let dtypes: [DType] = [.bf16, .f16, .f32]

    @Test("ranks from 0 to 512", arguments: dtypes)
    func ranks(_ dtype: DType) throws {
        for rank in [0, 1, 2, 3, 5, 6, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 256, 512] {
            let (rows, columns) = rank < 100 ? (13, 37) : (7, 21)
            try LowRankPanel(dtype, rows: rows, rank: rank, columns: columns, scale: 0.3, seed: UInt64(rank)).check()
        }
    }

    @Test("1 to 13 rows, 1 to 40 columns", arguments: dtypes)
    func sizes(_ dtype: DType) throws {
        for rows in 1...13 {
            for columns in 1...40 where (rows + columns) % 2 == 0 {
                try LowRankPanel(
                    dtype, rows: rows, rank: 3, columns: columns, scale: -2, seed: UInt64(rows * 100 + columns)
                ).check()
            }
        }
    }

    @Test("more columns than a block, more rows than a chunk", arguments: dtypes)
    func blocks(_ dtype: DType) throws {
        try LowRankPanel(dtype, rows: 7, rank: 1, columns: 2100, scale: 1, seed: 1).check()
        try LowRankPanel(dtype, rows: 1543, rank: 1, columns: 17, scale: 1, seed: 2).check()
        try LowRankPanel(dtype, rows: 131, rank: 512, columns: 17, scale: 0.1, seed: 3).check()
        try LowRankPanel(dtype, rows: 6, rank: 512, columns: 130, scale: 0.1, seed: 4).check()
    }

    @Test("scales: no power of two, negative, huge, tiny, zero, not finite", arguments: dtypes)
    func scales(_ dtype: DType) throws {
        let scales: [Double] = [
            1, -1, 0.5, 2, 1.0 / 3, -1.1, 16.0 / 3, 0x1p-60, 0x1.8p-60, 0x1p-61, 0x1p60, 0x1.8p60, 1e-20, 1e20, 1e30,
            -1e-30, 1e-45, 1e-300, 1e300, 0, -0.0, .nan, .infinity, -.infinity, .leastNonzeroMagnitude,
            .greatestFiniteMagnitude, 1 + 0x1p-24, 1 + 0x1p-52,
        ]
        for (index, scale) in scales.enumerated() {
            var panel = try LowRankPanel(dtype, rows: 7, rank: 9, columns: 35, scale: scale, seed: UInt64(index))
            try panel.check()
            // Updates of the size of W, whatever the scale.
            guard scale.isNormal, abs(scale.exponent) < 120 else { continue }
            panel.left = panel.left.map { Double(Float($0 * Double(sign: .plus, exponent: -scale.exponent, significand: 1))) }
            try panel.check("rescaled")
        }
    }

    /// float32 loses the squares of such updates; onto nothing, all of them survives.
    @Test("norms of tiny updates, of which both factors are small", arguments: dtypes, [1e-6, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-14])
    func tinyUpdatesKeepTheirNorm(_ dtype: DType, _ size: Double) throws {
        var panel = try LowRankPanel(dtype, rows: 31, rank: 5, columns: 67, scale: size, seed: 21)
        panel.right = panel.right.map { Double(Float($0 * size)) }
        for onNothing in [false, true] {
            if onNothing { try panel.setBase([Double](repeating: 0, count: panel.count)) }
            let exact = try panel.defined().statistics
            for path in KernelPath.available {
                let sums = panel.computed(by: path).statistics
                #expect(abs(sums.updateSquares - exact.updateSquares) <= 1e-6 * exact.updateSquares)
                #expect(abs(sums.storedSquares - exact.storedSquares) <= 1e-6 * exact.storedSquares)
            }
        }
    }

    @Test("adapters in F16, BF16 and F64, in either factor", arguments: dtypes)
    func factors(_ dtype: DType) throws {
        var random = SplitMix64(seed: 77)
        for stored in [DType.f16, .bf16, .f64] {
            var panel = try LowRankPanel(dtype, rows: 8, rank: 11, columns: 34, scale: 0.7, seed: 9)
            let left = random.doubles(8 * 11), right = random.doubles(11 * 34)
            panel.left = try Conversion.widened(Conversion.narrowed(left, to: stored), as: stored, count: left.count)
            try panel.check("left \(stored)")
            panel.right = try Conversion.widened(Conversion.narrowed(right, to: stored), as: stored, count: right.count)
            try panel.check("both \(stored)")
            // One row alone that float32 cannot hold.
            panel.left = panel.left.map { Double(Float($0)) }
            panel.left[3 * 11 + 5] = 0.1
            try panel.check("one of left")
        }
    }

    @Test("any division into panels gives the same bytes and counts", arguments: dtypes)
    func panels(_ dtype: DType) throws {
        let whole = try LowRankPanel(dtype, rows: 29, rank: 8, columns: 50, scale: 0.3, seed: 6, base: -8...(-3))
        let size = 50 * dtype.bits / 8
        let expected = whole.computed(by: .active)
        for height in [1, 2, 5, 6, 7, 12, 28] {
            var bytes: [UInt8] = []
            var sums = PanelStatistics()
            for first in stride(from: 0, to: 29, by: height) {
                var part = whole
                let last = min(29, first + height)
                part.rows = last - first
                part.left = Array(whole.left[(first * 8)..<(last * 8)])
                part.base = Array(whole.base[(first * size)..<(last * size)])
                let result = part.computed(by: .active)
                bytes += result.bytes
                sums.updated += result.statistics.updated
                sums.unchanged += result.statistics.unchanged
                sums.updateSquares += result.statistics.updateSquares
            }
            #expect(bytes == expected.bytes)
            #expect(sums.updated == expected.statistics.updated && sums.unchanged == expected.statistics.unchanged)
            #expect(abs(sums.updateSquares - expected.statistics.updateSquares) < 1e-6 * sums.updateSquares)
        }
    }

    @Test("zero rows and columns, and zeros of either sign, are not updates", arguments: dtypes)
    func zeros(_ dtype: DType) throws {
        for scale in [2.0, -2.0, 0.3, -0.3, 0, -0.0] {
            var panel = try LowRankPanel(dtype, rows: 9, rank: 4, columns: 37, scale: scale, seed: 12)
            for k in 0..<4 {
                panel.left[2 * 4 + k] = k % 2 == 0 ? 0 : -0.0
                for j in [0, 5, 16, 36] { panel.right[k * 37 + j] = j % 2 == 0 ? -0.0 : 0 }
            }
            try panel.setBase((0..<panel.count).map { [0, -0.0, 1, -1, .infinity, .nan, 0x1p-24][$0 % 7] })
            try panel.check("zero lines")
            panel.right = panel.right.map { _ in -0.0 }
            try panel.check("zero right")
        }
    }

    /// -fl(a b) + a b: only a fused step leaves the error of the product, and not zero.
    @Test("products of float64 factors are not rounded", arguments: dtypes)
    func fusedSteps(_ dtype: DType) throws {
        for factor in [0.1, Double(Float(0.1))] {
            var panel = try LowRankPanel(dtype, rows: 13, rank: 2, columns: 19, scale: 0x1p52, seed: 31)
            for i in 0..<13 {
                let a = 1 + Double(i) / 7
                (panel.left[2 * i], panel.left[2 * i + 1]) = (-(a * factor), a)
            }
            for j in 0..<19 { (panel.right[j], panel.right[19 + j]) = (1, factor) }
            try panel.check("\(factor)")
        }
    }

    @Test("wild exponents in everything", arguments: dtypes)
    func wild(_ dtype: DType) throws {
        var random = SplitMix64(seed: 21)
        for seed in 0..<120 {
            let width = [5, 20, 60, 120][seed % 4]
            let rank = [1, 2, 7, 16, 40, 90][seed / 4 % 6]
            try LowRankPanel(
                dtype, rows: 6, rank: rank, columns: 33, scale: random.double(exponents: -70...70), seed: UInt64(seed),
                exponents: -width...(width / 2), base: -width...min(width, 15)
            ).check("seed \(seed)")
        }
    }
}

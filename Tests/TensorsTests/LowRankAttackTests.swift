import TestSupport
import Testing
@testable import Tensors

/// Inputs made to have the fused kernel decide wrongly, against the definition.
@Suite struct LowRankAttackTests {
    static let dtypes: [DType] = [.bf16, .f16, .f32]
    static let sixteen: [DType] = [.bf16, .f16]

    /// Fraction bits of a type: 1 + 2^-bits follows 1.
    static func fractionBits(_ dtype: DType) -> Int { dtype == .bf16 ? 7 : dtype == .f16 ? 10 : 23 }

    static func power(_ exponent: Int) -> Double { Double(sign: .plus, exponent: exponent, significand: 1) }

    @Test("every 16-bit pattern as W, under updates of every size", arguments: sixteen)
    func patterns(_ dtype: DType) throws {
        let columns = 509
        let rows = (65_536 + columns - 1) / columns
        for (seed, exponents) in [(-80)...(-70), (-75)...40, (-14)...(-2), (-4)...4, 4...9, 55...63].enumerated() {
            var panel = try LowRankPanel(
                dtype, rows: rows, rank: 2, columns: columns, scale: seed % 2 == 0 ? 1 : -0.7, seed: UInt64(seed),
                exponents: exponents)
            panel.base = bytes((0..<panel.count).map { UInt16(truncatingIfNeeded: $0) })
            try panel.check("\(exponents)")
        }
        // No update at all, of either sign.
        for scale in [1.0, -1] {
            var panel = try LowRankPanel(dtype, rows: rows, rank: 0, columns: columns, scale: scale, seed: 1)
            panel.base = bytes((0..<panel.count).map { UInt16(truncatingIfNeeded: $0) })
            try panel.check("rank 0")
        }
    }

    @Test("cancellation: W is minus the update, rounded, and its neighbours", arguments: dtypes)
    func cancellation(_ dtype: DType) throws {
        for (seed, rank) in [1, 2, 5, 16, 33, 64, 100, 256, 512].enumerated() {
            var panel = try LowRankPanel(
                dtype, rows: 7, rank: rank, columns: 33, scale: [1, 0.3, -5][seed % 3], seed: UInt64(seed),
                exponents: -3...0)
            for away in [0, Self.power(-30), Self.power(-20), Self.power(-9), -Self.power(-8)] {
                try panel.setBase((0..<panel.count).map { -panel.update($0 / 33, $0 % 33) * (1 + away) })
                try panel.check("away \(away)")
            }
        }
        // The terms cancel each other and leave W, or little beside it.
        for rank in [2, 8, 64, 130, 512] {
            var panel = try LowRankPanel(dtype, rows: 6, rank: rank, columns: 32, scale: 1.3, seed: 90)
            for k in stride(from: 1, to: rank, by: 2) {
                for i in 0..<6 { panel.left[i * rank + k] = -panel.left[i * rank + k - 1] }
                for j in 0..<32 {
                    let twin = Float(panel.right[(k - 1) * 32 + j])
                    panel.right[k * 32 + j] = Double(j % 2 == 0 ? twin : twin.nextUp)
                }
            }
            try panel.check("terms")
        }
    }

    /// W + update lies on the middle between two numbers of the type, or as near to it as the last factor can bring
    /// it: one column of right is solved for.
    @Test("ties, and their neighbours in float64 and float32", arguments: dtypes)
    func ties(_ dtype: DType) throws {
        let bits = Self.fractionBits(dtype)
        for (seed, rank) in [1, 2, 3, 8, 16, 17, 33, 64, 65, 256, 512].enumerated() {
            for scale in [1, -0.5, 1.0 / 3, 1.7] {
                var panel = try LowRankPanel(
                    dtype, rows: 6, rank: rank, columns: 48, scale: scale, seed: UInt64(seed), exponents: -9...(-5))
                // One row of left for all, ending in 1, so that a column's last entry adds itself times scale.
                for i in 0..<6 {
                    for k in 0..<rank { panel.left[i * rank + k] = k == rank - 1 ? 1 : panel.left[k] }
                }
                var base = [Double](repeating: 0, count: panel.count)
                for j in 0..<48 {
                    panel.right[(rank - 1) * 48 + j] = 0
                    let rest = panel.update(0, j)
                    let step = Self.power(-bits)
                    let tie = 1 + Double(j) * step + step / 2
                    let last = Float((tie - 1 - rest) / scale)
                    panel.right[(rank - 1) * 48 + j] = Double([last, last.nextUp, last.nextDown][j % 3])
                    for i in 0..<6 { base[i * 48 + j] = 1 + Double(i % 2) * step }
                }
                try panel.setBase(base)
                try panel.check("solved")
            }
        }
        // Exact: W = 1, one term of half a step and one of a few units of float64's or float32's last place.
        let half = Self.power(-bits - 1)
        var panel = try LowRankPanel(dtype, rows: 4, rank: 2, columns: 128, scale: 1, seed: 4)
        for j in 0..<128 {
            panel.right[j] = half
            panel.right[128 + j] = Double(j % 8 - 4) * Self.power(-60 + j / 8 * 3)
        }
        for i in 0..<4 { (panel.left[2 * i], panel.left[2 * i + 1]) = (i % 2 == 0 ? 1 : -1, 1) }
        for scale in [1.0, -1] {
            panel.scale = scale
            for base in [1, 1 + 2 * half, -1, -1 - 2 * half, 2, -4] {
                try panel.setBase([Double](repeating: base, count: panel.count))
                try panel.check("exact")
            }
        }
    }

    /// The bound is almost reached: the first product is 1, and each further one is a hair less than half of float32's
    /// last place there, so that every step of the first chunk of 16 loses all of it. The terms of a later chunk add up
    /// to as much, which the addition to the total loses. The first factors are equal and the others too,
    /// so that Cauchy and Schwarz lose nothing. The last term brings W + update near a tie, on either side.
    @Test("sums that lose half a place in every step", arguments: sixteen)
    func losses(_ dtype: DType) throws {
        let bits = Self.fractionBits(dtype)
        for rank in [2, 3, 8, 16, 17, 32, 33, 48, 63, 64, 65, 128, 256, 512] {
            for scale in [1, 1 + Self.power(-24), 1.5] {
                let columns = rank < 512 ? 96 : 32
                var panel = try LowRankPanel(dtype, rows: 12, rank: rank, columns: columns, scale: scale, seed: 8)
                let roots = (0..<rank).map { k in
                    k == 0 ? 1 : Double(Float(Self.power(k < 16 ? -12 : -14) * 0.9999))
                }
                for i in 0..<12 {
                    for k in 0..<rank { panel.left[i * rank + k] = k == 0 || i < 6 ? roots[k] : -roots[k] }
                }
                for k in 0..<rank { for j in 0..<columns { panel.right[k * columns + j] = roots[k] } }
                // The first entry moves in single places of float32, so that the true sums pass the tie slowly.
                let tie = 1 + Self.power(-bits - 1)
                let rest = roots.dropFirst().reduce(0) { $0 + $1 * $1 }
                var base = [Double](repeating: 0, count: panel.count)
                for j in 0..<columns {
                    let start = tie / scale - rest
                    panel.right[j] = Double(Float(start) + Float(j - columns / 2) * Float(Self.power(-23)))
                }
                // The squares are of sums that lost as much, twice: see low_rank_bounds.h.
                let slack = 2 * Double(min(rank, 16) + rank / 16 + 12) * Self.power(-24)
                try panel.check("W = random", slack: slack)
                for i in 0..<12 { for j in 0..<columns { base[i * columns + j] = i % 2 == 0 ? 0 : 2 * Self.power(-bits) } }
                try panel.setBase(base)
                try panel.check("near a tie", slack: slack)
                // And with W = -1, so that little is left and the error is the sum's alone.
                let little = Self.power(bits - 17) * tie
                for j in 0..<columns {
                    let start = (1 + little) / scale - rest
                    panel.right[j] = Double(Float(start) + Float(j - columns / 2) * Float(Self.power(-23)))
                }
                try panel.setBase([Double](repeating: -1, count: panel.count))
                try panel.check("cancelled, near a tie", slack: slack)
            }
        }
    }

    /// v = fl(w + u) is wrong by up to half of its last place, and more than the sum is: u is a product of two.
    @Test("additions to W that lose half a place", arguments: sixteen)
    func additions(_ dtype: DType) throws {
        let bits = Self.fractionBits(dtype)
        var panel = try LowRankPanel(dtype, rows: 6, rank: 1, columns: 256, scale: 1, seed: 3)
        for base in [1.0, -1, 1.5, 1024, Self.power(-10), Self.power(-14)] {
            for i in 0..<6 { panel.left[i] = base.magnitude * (i % 2 == 0 ? 1 : -1) }
            for j in 0..<256 {
                panel.right[j] = Self.power(-bits - 1) + Double(j - 128) * Self.power(-23 - 7)
            }
            for scale in [1.0, -1, 1 + Self.power(-30)] {
                panel.scale = scale
                try panel.setBase([Double](repeating: base, count: panel.count))
                try panel.check("base \(base)")
            }
        }
    }

    @Test("subnormals in W, in results and in products", arguments: dtypes)
    func subnormals(_ dtype: DType) throws {
        let smallest = dtype == .bf16 ? -133 : dtype == .f16 ? -24 : -149
        for (seed, rank) in [1, 3, 16, 64].enumerated() {
            for total in [smallest - 4, smallest - 1, smallest, smallest + 3, smallest + 9, smallest + 12] {
                // Exponents of the factors add up to `total`, evenly or not.
                for split in [total / 2, 0, 100, -140] where total - split > -145 && total - split < 120 {
                    var panel = try LowRankPanel(
                        dtype, rows: 7, rank: rank, columns: 19, scale: [1, -0.3, 3][seed % 3], seed: UInt64(seed),
                        exponents: split...(split + 1), base: (total - 1)...(total + 2))
                    panel.right = panel.right.map {
                        Double(Float(Double(sign: .plus, exponent: total - 2 * split, significand: 1) * $0))
                    }
                    try panel.check("exponents \(split), \(total - split)")
                    try panel.setBase((0..<panel.count).map { $0 % 2 == 0 ? -0.0 : 0 })
                    try panel.check("zeros")
                }
            }
        }
        // All factors subnormal in float32.
        try LowRankPanel(dtype, rows: 7, rank: 5, columns: 19, scale: 0.1, seed: 1, exponents: -149...(-127)).check()
    }

    @Test("results about the largest number, and beyond", arguments: dtypes)
    func overflow(_ dtype: DType) throws {
        let largest = dtype == .f16 ? 65_504 : try Conversion.widened(
            dtype == .bf16 ? bytes([UInt16(0x7F7F)]) : bytes([UInt32(0x7F7F_FFFF)]), as: dtype, count: 1)[0]
        let step = largest.ulp * Self.power(52 - Self.fractionBits(dtype))
        for scale in [1.0, -1, 1.5] {
            var panel = try LowRankPanel(dtype, rows: 6, rank: 2, columns: 64, scale: scale, seed: 2)
            for i in 0..<6 {
                (panel.left[2 * i], panel.left[2 * i + 1]) = (i % 2 == 0 ? 1 : -1, Self.power(-20))
            }
            for j in 0..<64 {
                panel.right[j] = step * Double(j - 32) / 16
                panel.right[64 + j] = step * Self.power(-10) * Double(j % 3 - 1)
            }
            try panel.setBase((0..<panel.count).map { ($0 % 2 == 0 ? 1 : -1) * largest })
            try panel.check("largest")
        }
        for exponents in [10...16, 50...64, 100...127, (-127)...127] {
            for rank in [1, 2, 70] {
                try LowRankPanel(
                    dtype, rows: 7, rank: rank, columns: 19, scale: 1.3, seed: 5, exponents: exponents, base: 0...14
                ).check("\(exponents)")
            }
        }
    }

    /// float32 takes W for the tie, or for zero, and without an update no bound of one stands between.
    @Test("W in float64 a hair beside a tie of BF16's subnormals", arguments: dtypes)
    func hairs(_ dtype: DType) throws {
        for (each, sign) in [1.0, 1, -1, -1].enumerated() {
            var panel = try LowRankPanel(dtype, rows: 7, rank: 3, columns: 35, scale: 1.5, seed: UInt64(each))
            panel.left = [Double](repeating: 0, count: panel.left.count)
            let hair = Self.power(-160 - each)
            let wide = (0..<panel.count).map { index in
                let tie = (Double(index / 2) + 0.5) * Self.power(-133)
                return sign * (index % 35 == 0 ? hair : index % 2 == 0 ? tie + hair : tie - hair)
            }
            try panel.check(wide: wide, "\(dtype), \(each)")
        }
    }

    @Test("Inf and NaN with payloads in W, in the factors and in both", arguments: dtypes)
    func specials(_ dtype: DType) throws {
        let specials = [
            Double.nan, -.nan, .infinity, -.infinity, 0, -0.0, Double(bitPattern: 0x7FF0_0000_0000_0001),
            Double(bitPattern: 0xFFFF_0000_0000_0001), .greatestFiniteMagnitude, .leastNonzeroMagnitude,
            Double(Float.greatestFiniteMagnitude), Double(Float.leastNonzeroMagnitude), 1, -1,
        ]
        var random = SplitMix64(seed: 11)
        for seed in 0..<90 {
            var panel = try LowRankPanel(dtype, rows: 8, rank: 3, columns: 35, scale: 1.5, seed: UInt64(seed))
            var base = try Conversion.widened(panel.base, as: dtype, count: panel.count)
            for _ in 0..<9 { base[Int.random(in: 0..<280, using: &random)] = specials.randomElement(using: &random) ?? 0 }
            try panel.setBase(base)
            // NaN of W with payloads and signs, quiet and not.
            for _ in 0..<4 {
                let index = Int.random(in: 0..<280, using: &random) * (dtype.bits / 8)
                let payload: [UInt8] = dtype == .f32 ? [1, 0, 0x80, 0xFF] : dtype == .bf16 ? [0x81, 0xFF] : [1, 0xFC]
                panel.base.replaceSubrange(index..<(index + payload.count), with: payload)
            }
            for _ in 0..<(seed % 3) {
                panel.left[Int.random(in: 0..<24, using: &random)] = specials.randomElement(using: &random) ?? 0
            }
            for _ in 0..<(seed % 5) {
                panel.right[Int.random(in: 0..<105, using: &random)] = specials.randomElement(using: &random) ?? 0
            }
            if seed % 7 == 0 { panel.scale = specials[seed / 7 % specials.count] }
            try panel.check("seed \(seed)")
        }
    }
}

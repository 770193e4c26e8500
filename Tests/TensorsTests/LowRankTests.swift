import TestSupport
import Testing
@testable import Tensors

@Suite struct LowRankTests {
    struct Update {
        var rows: Int, rank: Int, columns: Int, stride: Int
        var left: [Double], right: [Double], base: [Double]
        var scale: Double

        init(
            rows: Int, rank: Int, columns: Int, stride: Int, scale: Double, seed: UInt64, exponents: ClosedRange<Int>
        ) {
            var random = SplitMix64(seed: seed)
            (self.rows, self.rank, self.columns, self.stride, self.scale) = (rows, rank, columns, stride, scale)
            left = random.doubles(rows * rank, exponents: exponents)
            right = random.doubles(rank * columns, exponents: exponents)
            base = random.doubles(rows * stride, exponents: exponents)
        }

        /// The definition, with Swift's fused multiply-add. NaN compares as the canonical NaN.
        var defined: [UInt64] {
            var result = base
            for i in 0..<rows {
                for j in 0..<columns {
                    var sum = 0.0
                    for k in 0..<rank { sum = sum.addingProduct(left[i * rank + k], right[k * columns + j]) }
                    let update = scale * sum
                    result[i * stride + j] = result[i * stride + j] + update
                    if result[i * stride + j].isNaN {
                        result[i * stride + j] = Double(bitPattern: 0x7FF8_0000_0000_0000)
                    }
                }
            }
            return bitPatterns(result)
        }

        func computed(by path: KernelPath) -> [UInt64] {
            var result = base
            left.withUnsafeBufferPointer { left in
                right.withUnsafeBufferPointer { right in
                    result.withUnsafeMutableBufferPointer {
                        Kernels.addLowRank(
                            left: left, right: right, rows: rows, rank: rank, columns: columns, scale: scale, into: $0,
                            rowStride: stride, by: path)
                    }
                }
            }
            return bitPatterns(result)
        }

        func check(_ sourceLocation: SourceLocation = #_sourceLocation) {
            let expected = defined
            for path in KernelPath.available {
                #expect(computed(by: path) == expected, "\(path), \(rows) x \(rank) x \(columns)",
                        sourceLocation: sourceLocation)
            }
        }
    }

    @Test("every rank up to 70, odd sizes and strides")
    func ranks() {
        for rank in 0...70 {
            let rows = rank % 9 + 1, columns = rank * 7 % 31 + 1
            Update(
                rows: rows, rank: rank, columns: columns, stride: columns + rank % 4, scale: 0.3,
                seed: UInt64(rank), exponents: -8...0
            ).check()
        }
    }

    @Test("every width up to 70 and every height up to 9")
    func sizes() {
        for columns in 0...70 {
            Update(
                rows: columns % 10, rank: 5, columns: columns, stride: columns + columns % 3, scale: -1.7,
                seed: UInt64(1000 + columns), exponents: -8...0
            ).check()
        }
    }

    @Test("a block of real size")
    func larger() {
        Update(rows: 19, rank: 16, columns: 257, stride: 300, scale: 2, seed: 5, exponents: -20...2).check()
    }

    @Test("cancellation, subnormals and overflow")
    func extremes() {
        Update(rows: 7, rank: 9, columns: 29, stride: 29, scale: 0.1, seed: 6, exponents: -540...(-500)).check()
        Update(rows: 7, rank: 9, columns: 29, stride: 31, scale: 1e-3, seed: 7, exponents: -1060...(-3)).check()
        Update(rows: 7, rank: 9, columns: 29, stride: 29, scale: 1e10, seed: 8, exponents: 480...515).check()
        // The base is minus the first product: what is left is the rounding error that fma keeps and a product loses.
        var update = Update(rows: 5, rank: 1, columns: 17, stride: 17, scale: 1, seed: 9, exponents: -3...3)
        for i in 0..<5 { for j in 0..<17 { update.base[i * 17 + j] = -(update.left[i] * update.right[j]) } }
        update.check()
        var pair = Update(rows: 4, rank: 2, columns: 13, stride: 13, scale: 1, seed: 10, exponents: -3...3)
        for i in 0..<4 { pair.left[2 * i + 1] = -pair.left[2 * i] }
        for j in 0..<13 { pair.right[13 + j] = pair.right[j] }
        pair.check()
        #expect(pair.defined != bitPatterns(pair.base))
    }

    @Test("NaN, Inf and signed zeros, everywhere")
    func specials() {
        let specials = [
            Double.nan, -.nan, .infinity, -.infinity, 0, -0.0, Double(bitPattern: 0x7FF0_0000_0000_0001),
            Double(bitPattern: 0xFFFF_0000_0000_0001), .greatestFiniteMagnitude, .leastNonzeroMagnitude, 1, -1,
        ]
        var random = SplitMix64(seed: 11)
        for seed in 0..<60 {
            var update = Update(
                rows: 6, rank: 3, columns: 17, stride: 17, scale: 1.5, seed: UInt64(seed), exponents: -2...2)
            for _ in 0..<6 {
                update.left[Int.random(in: 0..<18, using: &random)] = specials.randomElement(using: &random) ?? 0
                update.right[Int.random(in: 0..<51, using: &random)] = specials.randomElement(using: &random) ?? 0
                update.base[Int.random(in: 0..<102, using: &random)] = specials.randomElement(using: &random) ?? 0
            }
            if seed % 5 == 0 { update.scale = specials[seed / 5 % specials.count] }
            update.check()
        }
    }

    @Test("rank 0 still makes the sum: -0 becomes +0")
    func rankZero() {
        var update = Update(rows: 5, rank: 0, columns: 15, stride: 16, scale: 2, seed: 12, exponents: 0...0)
        update.base = update.base.map { _ in -0.0 }
        update.check()
        let result = update.computed(by: .active)
        #expect(result[0] == 0 && result[15] == (-0.0).bitPattern)
    }

    @Test("transposition and the test for finite elements")
    func matrices() {
        for (rows, columns) in [(0, 5), (1, 1), (3, 40), (16, 16), (17, 33), (50, 2)] {
            let source = (0..<rows * columns).map { Double($0) }
            var result = [Double](repeating: -1, count: rows * columns)
            source.withUnsafeBufferPointer { source in
                result.withUnsafeMutableBufferPointer {
                    Kernels.transpose(source, rows: rows, columns: columns, into: $0)
                }
            }
            for i in 0..<rows { for j in 0..<columns { #expect(result[j * rows + i] == source[i * columns + j]) } }
        }
        func finite(_ values: [Double]) -> Bool { values.withUnsafeBufferPointer { Kernels.allFinite($0) } }
        #expect(finite([]) && finite([0, -.greatestFiniteMagnitude, .leastNonzeroMagnitude]))
        #expect(!finite([1, .nan, 1]) && !finite([1, 1, -.infinity]))
    }
}

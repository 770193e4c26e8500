import TestSupport
import Testing
@testable import Tensors

/// One panel for the fused kernel, and what the definition says of it.
struct LowRankPanel {
    var dtype: DType
    var rows: Int, rank: Int, columns: Int
    var left: [Double], right: [Double]
    /// W, as stored.
    var base: [UInt8]
    var scale: Double
    /// DoRA's, one for each row.
    var magnitudes: [Double]?

    /// Factors are float32 numbers with exponents in `exponents`, and so is W before it is rounded to `dtype`.
    init(
        _ dtype: DType, rows: Int, rank: Int, columns: Int, scale: Double, seed: UInt64,
        exponents: ClosedRange<Int> = -6...0, base baseExponents: ClosedRange<Int> = -6...0
    ) throws {
        var random = SplitMix64(seed: seed)
        (self.dtype, self.rows, self.rank, self.columns, self.scale) = (dtype, rows, rank, columns, scale)
        left = random.doubles(rows * rank, exponents: exponents).map { Double(Float($0)) }
        right = random.doubles(rank * columns, exponents: exponents).map { Double(Float($0)) }
        base = try Conversion.narrowed(random.doubles(rows * columns, exponents: baseExponents), to: dtype)
    }

    var count: Int { rows * columns }

    mutating func setBase(_ values: [Double]) throws { base = try Conversion.narrowed(values, to: dtype) }

    /// ||V|| of each row, by the definition.
    func norms() throws -> [Double] {
        let old = try Conversion.widened(base, as: dtype, count: count)
        return (0..<rows).map { i in
            (0..<columns).reduce(0.0) { squares, j in
                let value = old[i * columns + j] + update(i, j)
                return squares.addingProduct(value, value)
            }.squareRoot()
        }
    }

    /// scale * acc, by Swift's fused multiply-add.
    func update(_ i: Int, _ j: Int) -> Double {
        var sum = 0.0
        for k in 0..<rank { sum = sum.addingProduct(left[i * rank + k], right[k * columns + j]) }
        return scale * sum
    }

    /// The stored result and its statistics, by the definition.
    func defined() throws -> (bytes: [UInt8], statistics: PanelStatistics) {
        let old = try Conversion.widened(base, as: dtype, count: count)
        var totals = old
        var updates = old
        for i in 0..<rows {
            for j in 0..<columns {
                let index = i * columns + j
                updates[index] = update(i, j)
                totals[index] = old[index] + updates[index]
            }
            guard let magnitudes else { continue }
            let line = (i * columns)..<((i + 1) * columns)
            let squares = totals[line].reduce(0) { $0.addingProduct($1, $1) }
            let factor = magnitudes[i] / squares.squareRoot()
            for index in line {
                totals[index] *= factor
                updates[index] = totals[index] - old[index]
            }
        }
        let bytes = try narrowed(totals, to: dtype, by: .generic)
        let stored = try Conversion.widened(bytes, as: dtype, count: count)
        var statistics = PanelStatistics()
        for index in old.indices {
            if !stored[index].isFinite && old[index].isFinite { statistics.nonfinite += 1 }
            if !old[index].isFinite { statistics.baseNonfinite += 1 }
            guard updates[index] != 0 else { continue }
            statistics.updated += 1
            let kept = stored[index] - old[index]
            if stored[index] == old[index] { statistics.unchanged += 1 }
            if updates[index].isFinite && kept.isFinite {
                statistics.updateSquares += updates[index] * updates[index]
                statistics.storedSquares += kept * kept
            }
        }
        return (bytes, statistics)
    }

    func computed(by path: KernelPath, inPlace: Bool = false) -> (bytes: [UInt8], statistics: PanelStatistics) {
        let kernel = LowRankKernel(right: right, rank: rank, columns: columns)
        var result = inPlace ? base : [UInt8](repeating: 0xA5, count: base.count)
        let statistics = left.withUnsafeBufferPointer { left in
            base.withUnsafeBytes { base in
                result.withUnsafeMutableBytes { result in
                    func merge(_ magnitudes: UnsafeBufferPointer<Double>?) -> PanelStatistics {
                        kernel.mergePanel(
                            source: inPlace ? UnsafeRawBufferPointer(result) : base, dtype: dtype, left: left,
                            rows: rows, scale: scale, magnitudes: magnitudes, into: result, by: path)
                    }
                    return magnitudes?.withUnsafeBufferPointer { merge($0) } ?? merge(nil)
                }
            }
        }
        return (result, statistics)
    }

    /// Every form against the definition, bit for bit; the counts exactly, the sums as documented: `slack` is what the
    /// sum of the squared updates may be off, relative to itself.
    func check(
        _ what: String = "", slack updateSlack: Double = 1e-6, _ sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let expected = try defined()
        let name = "\(what) \(dtype) \(rows) x \(rank) x \(columns) scale \(scale)"
        for path in KernelPath.available where path != .avx2sha {
            for inPlace in [false, true] {
                compare(computed(by: path, inPlace: inPlace), expected, "\(path): \(name)", updateSlack, sourceLocation)
            }
        }
        guard magnitudes == nil else { return }
        // The same W in float64, and near it, on either side of whatever the attack aims at.
        let values = try Conversion.widened(base, as: dtype, count: count)
        var random = SplitMix64(seed: UInt64(count))
        let near = values.map { value in
            let step = value * Double(sign: .plus, exponent: -Int.random(in: 25...53, using: &random), significand: 1)
            return random.next() % 2 == 0 ? value + step : value - step
        }
        for wide in [values, near] { try check(wide: wide, name, slack: updateSlack, sourceLocation) }
    }

    /// Every form against the definition for W in float64.
    func check(
        wide: [Double], _ what: String, slack updateSlack: Double = 1e-6, _ sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let updates = (0..<rows).flatMap { i in (0..<columns).map { j in update(i, j) } }
        let expected = try defined(wide, updates)
        for path in KernelPath.available where path != .avx2sha {
            compare(computed(wide, by: path), expected, "\(path), W in float64: \(what)", updateSlack, sourceLocation)
        }
    }

    /// The stored result and its statistics for W in float64, by the definition.
    private func defined(_ values: [Double], _ updates: [Double]) throws -> (bytes: [UInt8], statistics: PanelStatistics) {
        let bytes = try narrowed(zip(values, updates).map { $0 + $1 }, to: dtype, by: .generic)
        let stored = try Conversion.widened(bytes, as: dtype, count: count)
        let rounded = try Conversion.widened(
            try narrowed(values.map { Double(Float($0)) }, to: dtype, by: .generic), as: dtype, count: count)
        var statistics = PanelStatistics()
        for index in values.indices {
            if !stored[index].isFinite && rounded[index].isFinite { statistics.nonfinite += 1 }
            if !rounded[index].isFinite { statistics.baseNonfinite += 1 }
            guard updates[index] != 0 else { continue }
            statistics.updated += 1
            let kept = stored[index] - rounded[index]
            if stored[index] == rounded[index] { statistics.unchanged += 1 }
            if updates[index].isFinite && kept.isFinite {
                statistics.updateSquares += updates[index] * updates[index]
                statistics.storedSquares += kept * kept
            }
        }
        return (bytes, statistics)
    }

    private func computed(_ values: [Double], by path: KernelPath) -> (bytes: [UInt8], statistics: PanelStatistics) {
        let kernel = LowRankKernel(right: right, rank: rank, columns: columns)
        var result = [UInt8](repeating: 0xA5, count: base.count)
        let statistics = left.withUnsafeBufferPointer { left in
            values.withUnsafeBufferPointer { values in
                result.withUnsafeMutableBytes { result in
                    kernel.mergePanel(values: values, dtype: dtype, left: left, rows: rows, scale: scale, into: result, by: path)
                }
            }
        }
        return (result, statistics)
    }

    private func compare(
        _ result: (bytes: [UInt8], statistics: PanelStatistics), _ expected: (bytes: [UInt8], statistics: PanelStatistics),
        _ name: String, _ updateSlack: Double, _ sourceLocation: SourceLocation
    ) {
        if result.bytes != expected.bytes {
            let size = dtype.bits / 8
            let wrong = (0..<count).filter {
                result.bytes[($0 * size)..<($0 * size + size)] != expected.bytes[($0 * size)..<($0 * size + size)]
            }
            Issue.record("\(wrong.count) wrong, first \(wrong[0]): \(name)", sourceLocation: sourceLocation)
        }
        let (counted, known) = (result.statistics, expected.statistics)
        #expect(counted.updated == known.updated, "updated: \(name)", sourceLocation: sourceLocation)
        #expect(counted.unchanged == known.unchanged, "unchanged: \(name)", sourceLocation: sourceLocation)
        #expect(counted.nonfinite == known.nonfinite, "nonfinite: \(name)", sourceLocation: sourceLocation)
        #expect(counted.baseNonfinite == known.baseNonfinite, "nonfinite in W: \(name)", sourceLocation: sourceLocation)
        for (sum, exact, relative) in [
            (counted.updateSquares, known.updateSquares, updateSlack),
            (counted.storedSquares, known.storedSquares, 1e-6),
        ] {
            let slack = relative * exact + Double(count) * 0x1p-149
            #expect(abs(sum - exact) <= slack || sum == exact, "squares: \(name)", sourceLocation: sourceLocation)
        }
    }
}

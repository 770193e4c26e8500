/// Pairs of finite numbers with their differences, a few thousand at a time: what is counted and summed of them.
///
/// Sums run in eight lanes that are added at the end, one order on every machine.
struct DifferenceBlock {
    private typealias Lanes = SIMD8<Double>

    let a: UnsafeMutableBufferPointer<Double>
    let b: UnsafeMutableBufferPointer<Double>
    /// b − a, as many.
    let differences: UnsafeMutableBufferPointer<Double>

    private var count: Int { a.count }
    private var wholeLanes: Int { count & ~7 }

    /// How many differ, how many of them beyond the tolerance, and the largest |b − a|.
    func counts(_ tolerance: DifferenceTolerance) -> (unequal: Int, differing: Int, largest: Double) {
        var unequal = SIMD8<Int64>()
        var differing = SIMD8<Int64>()
        var largest = Lanes()
        let (rtol, atol) = (Lanes(repeating: tolerance.relative), Lanes(repeating: tolerance.absolute))
        for index in stride(from: 0, to: wholeLanes, by: 8) {
            let d = magnitude(lanes(differences, index))
            unequal.replace(with: unequal &+ 1, where: d .> 0)
            if !tolerance.isExact {
                let allowed = atol + rtol * magnitude(lanes(a, index))
                differing.replace(with: differing &+ 1, where: d .> allowed)
            }
            largest.replace(with: d, where: d .> largest)
        }
        var result = (unequal: Int(unequal.wrappedSum()), differing: Int(differing.wrappedSum()), largest: largest.max())
        for index in wholeLanes..<count {
            let d = abs(differences[index])
            if d > 0 { result.unequal += 1 }
            if !tolerance.isExact, exceeds(tolerance, index) { result.differing += 1 }
            result.largest = max(result.largest, d)
        }
        if tolerance.isExact { result.differing = result.unequal }
        return result
    }

    /// The first pair beyond the tolerance.
    func first(_ tolerance: DifferenceTolerance) -> Int? { (0..<count).first { exceeds(tolerance, $0) } }

    private func exceeds(_ tolerance: DifferenceTolerance, _ index: Int) -> Bool {
        abs(differences[index]) > tolerance.absolute + tolerance.relative * abs(a[index])
    }

    /// Sums over the pairs, each with the power of two that it was scaled by.
    struct Sums {
        var absolutes = ScaledSum()
        var squaresA = ScaledSum()
        var squaresB = ScaledSum()
        var squaresOfDifference = ScaledSum()
        var product = ScaledSum()
    }

    /// - Parameter isWide: whether numbers may be too large or too small for their squares; these are then scaled in
    ///   place.
    func sums(largestDifference: Double, isWide: Bool) -> Sums {
        var exponents = (a: 0, b: 0, differences: 0)
        if isWide {
            exponents = (scale(a, largest(a)), scale(b, largest(b)), 0)
            // The difference of two finite numbers can overflow: it is then taken of their halves, from the scaled ones.
            if largestDifference.isInfinite { exponents.differences = scaleOverflown(exponents.a, exponents.b) }
            else { exponents.differences = scale(differences, largestDifference) }
        }
        var sums = (Lanes(), Lanes(), Lanes(), Lanes(), Lanes())
        for index in stride(from: 0, to: wholeLanes, by: 8) {
            let (x, y, d) = (lanes(a, index), lanes(b, index), lanes(differences, index))
            sums.0 += magnitude(d)
            sums.1 += x * x
            sums.2 += y * y
            sums.3 += d * d
            sums.4 += x * y
        }
        var totals = (sums.0.sum(), sums.1.sum(), sums.2.sum(), sums.3.sum(), sums.4.sum())
        for index in wholeLanes..<count {
            let (x, y, d) = (a[index], b[index], differences[index])
            totals.0 += abs(d)
            totals.1 += x * x
            totals.2 += y * y
            totals.3 += d * d
            totals.4 += x * y
        }
        return Sums(
            absolutes: ScaledSum(totals.0, exponent: exponents.differences),
            squaresA: ScaledSum(totals.1, exponent: 2 * exponents.a),
            squaresB: ScaledSum(totals.2, exponent: 2 * exponents.b),
            squaresOfDifference: ScaledSum(totals.3, exponent: 2 * exponents.differences),
            product: ScaledSum(totals.4, exponent: exponents.a + exponents.b))
    }

    private func largest(_ values: UnsafeMutableBufferPointer<Double>) -> Double {
        values.reduce(0) { max($0, abs($1)) }
    }

    /// Brings the largest number of a buffer near 1 where squares could leave the range: 2³⁰⁰ squared, times any count
    /// of elements, does not, and below 2⁻³⁰⁰ a square loses nothing that matters beside it until 2⁻⁵¹¹.
    ///
    /// - Returns: the power of two that was taken out.
    private func scale(_ values: UnsafeMutableBufferPointer<Double>, _ largest: Double) -> Int {
        guard largest > 0, !(0x1p-300...0x1p300).contains(largest) else { return 0 }
        let exponent = Int(largest.exponent)
        for index in values.indices { values[index] = ScaledSum.shifted(values[index], by: -exponent) }
        return exponent
    }

    /// The differences again, from numbers that were scaled apart: 2^ea·a and 2^eb·b, taken out at 2^max(ea, eb).
    private func scaleOverflown(_ exponentA: Int, _ exponentB: Int) -> Int {
        let exponent = max(exponentA, exponentB)
        for index in differences.indices {
            differences[index] = ScaledSum.shifted(b[index], by: exponentB - exponent)
                - ScaledSum.shifted(a[index], by: exponentA - exponent)
        }
        return exponent
    }

    private func lanes(_ values: UnsafeMutableBufferPointer<Double>, _ index: Int) -> Lanes {
        // index + 8 is at most the count: the loops above end at whole lanes.
        UnsafeRawBufferPointer(values).loadUnaligned(fromByteOffset: index * 8, as: Lanes.self)
    }

    private func magnitude(_ values: Lanes) -> Lanes {
        // Without its sign bit.
        unsafeBitCast(
            unsafeBitCast(values, to: SIMD8<UInt64>.self) & SIMD8(repeating: 0x7FFF_FFFF_FFFF_FFFF), to: Lanes.self)
    }
}

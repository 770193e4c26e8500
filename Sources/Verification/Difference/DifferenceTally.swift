import Tensors

/// What the comparison of some elements came to. Joined in the order of the elements, tallies give the same whole
/// whatever the number of threads.
struct DifferenceTally: Sendable {
    /// Pairs of different numbers, and those of them that are beyond the tolerance.
    var unequal = 0
    var differing = 0
    /// The first pair beyond the tolerance.
    var first: Int?
    /// Pairs of two finite numbers; the figures below are over these.
    var finite = 0
    /// Pairs of different numbers of which one at least is NaN or infinite.
    var nonfinite = 0
    var nans = (a: 0, b: 0)
    var infinities = (a: 0, b: 0)
    var maxAbs = 0.0
    var absolutes = ScaledSum()
    var squaresA = ScaledSum()
    var squaresB = ScaledSum()
    var squaresOfDifference = ScaledSum()
    var product = ScaledSum()
    var maxULP: UInt64 = 0
    /// Whether a NaN met a number, which no count of steps expresses.
    var hasUncountedDistance = false

    mutating func join(_ other: DifferenceTally) {
        unequal += other.unequal
        differing += other.differing
        first = first ?? other.first
        finite += other.finite
        nonfinite += other.nonfinite
        nans = (nans.a + other.nans.a, nans.b + other.nans.b)
        infinities = (infinities.a + other.infinities.a, infinities.b + other.infinities.b)
        maxAbs = max(maxAbs, other.maxAbs)
        absolutes += other.absolutes
        squaresA += other.squaresA
        squaresB += other.squaresB
        squaresOfDifference += other.squaresOfDifference
        product += other.product
        maxULP = max(maxULP, other.maxULP)
        hasUncountedDistance = hasUncountedDistance || other.hasUncountedDistance
    }

    /// Notes a block of pairs.
    ///
    /// - Parameters:
    ///   - a, b: the numbers; they are changed where some are not finite, or too large or small to be squared.
    ///   - differences: b − a, exact or rounded once, and 0 only where the two are equal; changed likewise.
    ///   - start: the position in the tensor of the first pair.
    ///   - isWide: whether squares may leave the range of float64, as those of F64 can.
    mutating func add(
        a: UnsafeMutableBufferPointer<Double>, b: UnsafeMutableBufferPointer<Double>,
        differences: UnsafeMutableBufferPointer<Double>, start: Int, tolerance: DifferenceTolerance, isWide: Bool
    ) {
        let countBefore = differing
        var firstNonfinite: Int?
        if !Kernels.allFinite(UnsafeBufferPointer(a)) || !Kernels.allFinite(UnsafeBufferPointer(b)) {
            firstNonfinite = setNonfiniteAside(a, b, differences)
        } else {
            finite += a.count
        }
        let block = DifferenceBlock(a: a, b: b, differences: differences)
        let counts = block.counts(tolerance)
        unequal += counts.unequal
        differing += counts.differing
        if differing > countBefore, first == nil {
            let firstFinite = counts.differing > 0 ? block.first(tolerance) : nil
            first = [firstFinite, firstNonfinite].compactMap { $0 }.min().map { start + $0 }
        }
        // The largest difference is taken before anything is scaled.
        maxAbs = max(maxAbs, counts.largest)
        let sums = block.sums(largestDifference: counts.largest, isWide: isWide)
        absolutes += sums.absolutes
        squaresA += sums.squaresA
        squaresB += sums.squaresB
        squaresOfDifference += sums.squaresOfDifference
        product += sums.product
    }

    /// Counts the pairs with NaN or an infinity and puts zeros in their place, which change no figure.
    ///
    /// - Returns: the first of them whose numbers are not the same.
    private mutating func setNonfiniteAside(
        _ a: UnsafeMutableBufferPointer<Double>, _ b: UnsafeMutableBufferPointer<Double>,
        _ differences: UnsafeMutableBufferPointer<Double>
    ) -> Int? {
        var first: Int?
        for index in 0..<a.count {
            let (x, y) = (a[index], b[index])
            if x.isFinite, y.isFinite {
                finite += 1
                continue
            }
            if x.isNaN { nans.a += 1 } else if x.isInfinite { infinities.a += 1 }
            if y.isNaN { nans.b += 1 } else if y.isInfinite { infinities.b += 1 }
            if x != y, !(x.isNaN && y.isNaN) {
                unequal += 1
                differing += 1
                nonfinite += 1
                if first == nil { first = index }
            }
            a[index] = 0
            b[index] = 0
            differences[index] = 0
        }
        return first
    }
}

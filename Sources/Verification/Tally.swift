import Tensors

/// What the comparison of some elements came to. Parts can be joined in any order and give the same whole.
struct Tally: Sendable {
    var mismatched = 0
    var ambiguous = 0
    var acceptedByLibraryBound = 0
    var nonfinite = 0
    var maxULP: UInt64 = 0
    /// Whether some distance has no number.
    var hasUncountedDistance = false
    var maxAbs = 0.0
    var first: EquivalenceReport.Mismatch?
    var probeFailures = 0
    var probeWorst = 0.0
    var probedRows = 0

    mutating func join(_ other: Tally) {
        mismatched += other.mismatched
        ambiguous += other.ambiguous
        acceptedByLibraryBound += other.acceptedByLibraryBound
        nonfinite += other.nonfinite
        maxULP = max(maxULP, other.maxULP)
        hasUncountedDistance = hasUncountedDistance || other.hasUncountedDistance
        maxAbs = max(maxAbs, other.maxAbs)
        if let found = other.first, found.index < first?.index ?? .max { first = found }
        probeFailures += other.probeFailures
        probeWorst = max(probeWorst, other.probeWorst)
        probedRows += other.probedRows
    }

    /// Notes an element that is not accepted.
    mutating func reject(_ index: Int, stored: Double, expected: Double) {
        mismatched += 1
        if index < first?.index ?? .max { first = .init(index: index, stored: stored, expected: expected) }
    }

    /// Notes the distance of an element from its expected value.
    mutating func note(stored: Double, expected: Double, dtype: DType) {
        let distance = Ulp.distance(stored, expected, in: dtype)
        if distance == .max { hasUncountedDistance = true } else { maxULP = max(maxULP, distance) }
    }

    /// Notes |stored − expected| of many elements.
    mutating func noteDifferences(stored: UnsafeBufferPointer<Double>, expected: UnsafeBufferPointer<Double>) {
        var largest = maxAbs
        for index in 0..<min(stored.count, expected.count) {
            let difference = abs(stored[index] - expected[index])
            if difference <= largest { continue }
            if difference < .infinity {
                largest = difference
            } else if stored[index].isNaN != expected[index].isNaN
                || (!stored[index].isNaN && stored[index] != expected[index])
            {
                nonfinite += 1
            }
        }
        maxAbs = largest
    }
}

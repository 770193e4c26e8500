/// cos and sin of the n-th parts of a turn, correctly rounded (``DoubleFunctions``): what a discrete Fourier transform
/// multiplies with. Reflections are exact, so equal magnitudes are equal numbers.
enum CircleTable {
    /// cos(2πk/n) for k = 0 ..< n.
    static func cosines(_ count: Int) -> [Double] { (0..<max(0, count)).map { cosine($0, of: count) } }

    /// sin(2πk/n) = cos(2π(k/n − ¼)) for k = 0 ..< n.
    static func sines(_ count: Int) -> [Double] {
        (0..<max(0, count)).map { part in
            // In fourths of a part, where a quarter turn is a whole number.
            cosine((4 * part - count) % (4 * count), of: 4 * count)
        }
    }

    /// cos(2πk/n) for |k| ≤ n.
    private static func cosine(_ part: Int, of count: Int) -> Double {
        // Eighths of a turn: x = octant·π/4 + rest/n·π/4.
        let eighths = 8 * part.magnitude
        let (octant, rest) = eighths.quotientAndRemainder(dividingBy: UInt(count))
        let forward = rest == 0 && octant & 1 == 0
        // Odd octants count back from their end.
        let steps = octant & 1 == 0 ? rest : UInt(count) - rest
        let angle = DoublePair(Double(steps)) / DoublePair(Double(count)) * DoublePair(0x1.921fb54442d18p-1, 0x1.1a62633145c07p-55)
        let isSine = ((octant + 1) >> 1) & 1 == 1
        if forward && isSine { return 0 }
        let size = isSine ? DoubleFunctions.sine(small: angle).high : DoubleFunctions.cosine(small: angle).high
        // Negative from a quarter to three quarters of a turn.
        return (2..<6).contains(octant % 8) ? -size : size
    }
}

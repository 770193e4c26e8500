/// `numpy.random.default_rng(seed)`: PCG64 (M. E. O'Neill, PCG XSL-RR 128/64), with the two ways of drawing that
/// Uni-LoRA uses.
///
/// Source: numpy/random/src/pcg64/pcg64.h; `random_bounded_uint64`, `random_interval` in
/// numpy/random/src/distributions/distributions.c; `Generator.choice`, `shuffle` in numpy/random/_generator.pyx.
struct NumpyGenerator {
    private static let multiplier: UInt128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645

    private var state: UInt128 = 0
    private let increment: UInt128
    /// The high half of the last 64 bits, which the next draw of 32 takes.
    private var half: UInt32?

    init(seed: UInt64) {
        let words = SeedSequence(seed: seed).words(4).map { UInt128($0) }
        increment = (words[2] << 64 | words[3]) << 1 | 1
        step()
        state &+= words[0] << 64 | words[1]
        step()
    }

    private mutating func step() { state = state &* Self.multiplier &+ increment }

    private mutating func random64() -> UInt64 {
        step()
        let mixed = UInt64(truncatingIfNeeded: state >> 64 ^ state)
        let turn = Int(truncatingIfNeeded: state >> 122)
        return mixed >> turn | mixed << ((64 - turn) & 63)
    }

    private mutating func random() -> UInt32 {
        if let kept = half {
            half = nil
            return kept
        }
        let bits = random64()
        half = UInt32(truncatingIfNeeded: bits >> 32)
        return UInt32(truncatingIfNeeded: bits)
    }

    /// 0 … limit by D. Lemire's multiplication (arXiv:1805.10941); limit is below 2³² − 1.
    private mutating func bounded(_ limit: Int) -> Int {
        guard limit > 0 else { return 0 }
        let count = UInt64(limit) + 1
        var product = UInt64(random()) * count
        if product & 0xffff_ffff < count {
            let threshold = (0x1_0000_0000 - count) % count
            while product & 0xffff_ffff < threshold { product = UInt64(random()) * count }
        }
        return Int(product >> 32)
    }

    /// 0 … limit by masking and drawing again; limit is below 2³².
    private mutating func masked(_ limit: Int) -> Int {
        guard limit > 0 else { return 0 }
        let mask = UInt32.max >> UInt32(UInt32(limit).leadingZeroBitCount)
        while true {
            let value = random() & mask
            if value <= UInt32(limit) { return Int(value) }
        }
    }

    /// `choice(population, size, replace=False)` for 0 < size ≤ population < 2³¹.
    mutating func choice(_ size: Int, of population: Int) -> [Int] {
        if population > 10_000, size > population / 50 {
            var all = Array(0..<population)
            for index in stride(from: population - 1, through: max(population - size, 1), by: -1) {
                all.swapAt(index, bounded(index))
            }
            return Array(all[(population - size)...])
        }
        // R. Floyd's algorithm, then shuffled.
        var taken: Set<Int> = []
        var result: [Int] = []
        for last in (population - size)..<population {
            let draw = bounded(last)
            let value = taken.contains(draw) ? last : draw
            taken.insert(value)
            result.append(value)
        }
        for index in stride(from: size - 1, to: 0, by: -1) { result.swapAt(index, bounded(index)) }
        return result
    }

    /// `shuffle` of a one-dimensional array of fewer than 2³¹ elements.
    mutating func shuffle(_ values: inout [Int]) {
        for index in stride(from: values.count - 1, to: 0, by: -1) { values.swapAt(index, masked(index)) }
    }
}

/// The first elements of `torch.randperm(n)` on the CPU.
///
/// Fisher and Yates from the front: at step i, element i is exchanged with element i + z, z being the next 32 bits modulo
/// n − i. Elements behind step i do not touch what lies before it, so the first `count` are known after `count` steps, and
/// only those that moved are held. From 214,748,364 elements on, n is put in from the inside out: at step i, element z takes
/// the place i and i takes its place, z being the next 64 bits modulo i + 1; all n steps are drawn, and the first `count`
/// places held.
/// Source: `randperm_cpu` in aten/src/ATen/native/TensorFactories.cpp.
enum TorchPermutation {
    /// Where torch begins to draw 64 bits: a twentieth of the largest 32-bit number.
    private static let wide = Int(UInt32.max) / 20

    static func first(_ count: Int, of size: Int, seed: UInt64) -> [Int] {
        var generator = MersenneTwister(seed: seed)
        let count = max(0, min(count, size))
        if size >= wide { return insideOut(count, of: size, &generator) }
        var moved: [Int: Int] = [:]
        var result: [Int] = []
        result.reserveCapacity(count)
        for step in 0..<count {
            let left = UInt64(size - step)
            // The last element stays where it is, and draws nothing.
            let draw = left == 1 ? 0 : UInt64(generator.random())
            let other = step + Int(draw % left)
            result.append(moved[other] ?? other)
            moved[other] = moved[step] ?? step
            moved[step] = nil
        }
        return result
    }

    /// The way of the larger sizes.
    static func insideOut(_ count: Int, of size: Int, _ generator: inout MersenneTwister) -> [Int] {
        var result: [Int] = []
        result.reserveCapacity(count)
        for step in 0..<size {
            let place = Int(generator.random64() % UInt64(step + 1))
            if step < count { result.append(place < step ? result[place] : step) }
            if place < count { result[place] = step }
        }
        return result
    }
}

import Tensors
import Testing

@testable import Adapters

/// The generators against torch 2.13 and numpy 2.4 on x86-64 with AVX2, whose arrays were hashed byte for byte.
@Suite struct RandomNumberTests {
    private func hash<Number>(_ values: [Number]) -> String {
        SHA256.hex(SHA256.hash(values.withUnsafeBytes { Array($0) }))
    }

    @Test func theTenThousandthOfTheDefaultSeed() {
        // ISO C++, [rand.predef]: the 10000th number of a default std::mt19937.
        var generator = MersenneTwister(seed: 5489)
        for _ in 1..<10_000 { _ = generator.random() }
        #expect(generator.random() == 4_123_659_995)
    }

    @Test func mersenneTwisterIsNumpysToo() {
        // RandomState(12345).randint(0, 2**32, size=2000).
        var generator = MersenneTwister(seed: 12345)
        let values = (0..<2000).map { _ in Int64(generator.random()) }
        #expect(hash(values) == "cb43f5a52be718ba0cbb8eeb23dc2e067c5d5ef8af5abb6b69de6388b253b28f")
    }

    @Test func uniformNumbers() {
        // torch.empty(10007).uniform_(-b, b), b as kaiming_uniform_ has it for 40 inputs.
        var generator = MersenneTwister(seed: 7)
        let limit = Float(TorchUniform.kaimingLimit(fan: 40))
        let values = TorchUniform.single(10_007, from: -limit, to: limit, &generator)
        #expect(hash(values) == "1415dd99ac693ea5f0c56c10c9ad87c4ddd3788c71e84a00c8650b0d071709b3")
    }

    @Test func uniformBrainFloats() {
        // kaiming_uniform_(torch.empty((300, 40), dtype=torch.bfloat16), a=math.sqrt(5)).float().
        var generator = MersenneTwister(seed: 7)
        let limit = Float(TorchUniform.kaimingLimit(fan: 40, slope: 5.0.squareRoot()))
        let values = TorchUniform.brain(12_000, from: -limit, to: limit, &generator)
        #expect(hash(values) == "73ba563fc10b79ca598a3f6c10515f443df9e4d1302c2153ebb25b1762315753")
    }

    /// torch.normal(0.0, 1 / 2**.5, size=(n,)): one by one, one group of 16, and many with a rest of 3.
    @Test(arguments: [
        (13, "25a9ee1fdd7840166c001576a427633cc9674f4f7bdf98cc7fab0f2dd5b6eec9"),
        (16, "0100cb7190fb3b4ecbd89b91a47279d1e348ae1b67167efec8fddab60b8a8db0"),
        (100_003, "26c1ec32ec6d3ee5787d50715b789648ea97cb31297e40b49c1107c6aa65db54"),
    ]) func normalNumbers(_ count: Int, _ expected: String) {
        // Of the seed only the low half counts.
        var generator = MersenneTwister(seed: (1 << 40) + 3)
        #expect(hash(TorchNormal.single(count, mean: 0, deviation: 1 / 2.0.squareRoot(), &generator)) == expected)
    }

    @Test func normalNumbersWithAMean() {
        var generator = MersenneTwister(seed: UInt64(bitPattern: -1))
        let values = TorchNormal.single(37, mean: 0.5, deviation: 3, &generator)
        #expect(hash(values) == "507113b612f7b48bd9413c51863fde537cc056199d8edfb537f53cc449a53cc3")
    }

    /// torch.randperm(n)[:k] with the seed 777; the last is the first size that is permuted the other way.
    @Test(arguments: [
        (1000, 1000, "5eda74351f8f4541fea897e2a6ca7761870fb869b74affcabe7d469b67fe3d03"),
        (45_088_768, 1000, "0cd00dc6357d7fb96824559f1a3fdec344da33e96d58fbf206bf10c8118566be"),
        (214_748_363, 50, "efbfe7ee35f350ddaa0a2b04de3315075c3aa7feabc34f3b433efe763db2b626"),
    ]) func permutations(_ size: Int, _ count: Int, _ expected: String) {
        #expect(hash(TorchPermutation.first(count, of: size, seed: 777)) == expected)
    }

    @Test func permutationsFromTheInsideOut() {
        // Small sizes, by the definition and all places held.
        for (size, count) in [(1, 1), (5, 5), (200, 7)] {
            var generator = MersenneTwister(seed: 9)
            var all = [Int](repeating: 0, count: size)
            for step in 0..<size {
                let place = Int(generator.random64() % UInt64(step + 1))
                all[step] = all[place]
                all[place] = step
            }
            generator = MersenneTwister(seed: 9)
            #expect(TorchPermutation.insideOut(count, of: size, &generator) == Array(all.prefix(count)))
        }
    }

    /// d numbers as often as they fit, the rest by choice, all shuffled: with numpy's default_rng.
    @Test(arguments: [
        (1000, 777, 7, "74c4310f6a8ac5cd4bbaa811c14c6e309613a540725f0b5d13455012a9021048"),
        (30_000, 20_011, 1 << 45, "39c613abe5c4177c867e426af2d8da2413adcf0816d75085c244cf7ad0e15e36"),
        (384, 64, 42, "efcf6ffeed453afb9c87d9b31b3d9ddc844c68a5278978f6b6e7601d38a4a207"),
    ]) func numpyDeals(_ total: Int, _ length: Int, _ seed: UInt64, _ expected: String) {
        var generator = NumpyGenerator(seed: seed)
        var list = (0..<length).flatMap { [Int](repeating: $0, count: total / length) }
        if total % length > 0 { list += generator.choice(total % length, of: length) }
        generator.shuffle(&list)
        #expect(hash(list) == expected)
    }
}

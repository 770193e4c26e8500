import FuzzTargets
import Foundation
import TestSupport
import Testing

/// 100 000 seeded mutants of good files for every parser: each is read or refused with a rule, and none ends the process.
///
/// A failure names the mutant's number, and the same number gives the same bytes again. PEFTFILE_MUTANTS multiplies the count
/// for longer runs; `make fuzz` looks further.
@Suite struct MutantTests {
    static let parts = 10
    static let count = Mutants.count(10_000)

    struct Part: Sendable, CustomTestStringConvertible {
        var target: any FuzzTarget
        var number: Int
        var testDescription: String { "\(target.name) \(number)" }
    }

    static let all = FuzzTargets.all.flatMap { target in (0..<parts).map { Part(target: target, number: $0) } }

    @Test(arguments: all) func mutantsAreReadOrRefused(_ part: Part) throws {
        let target = part.target
        let seeds = try target.seeds().map { target.pieces(of: $0) }
        try #require(seeds.count >= 3)
        var random = SplitMix64(seed: 20_260 + UInt64(part.number))
        var accepted = 0
        for number in 0..<Self.count {
            let input = target.mutant(of: seeds[Int(random.next() % UInt64(seeds.count))], &random)
            do {
                if try target.accepts(input) { accepted += 1 }
            } catch {
                Issue.record("\(target.name), part \(part.number), mutant \(number): \(error)")
            }
        }
        // Both happen: the damage is neither nothing nor everything. Of few mutants that cannot be told.
        guard Self.count >= 10_000 else { return }
        #expect(accepted > Self.count / 500 && accepted < Self.count * 19 / 20, "\(target.name): \(accepted) of \(Self.count) accepted")
    }

    /// The pieces of a seed make the seed again, or what is read like it: the damage is what the mutation did.
    @Test func piecesMakeTheFileAgain() throws {
        for target in FuzzTargets.all {
            for seed in try target.seeds() {
                let again = target.file(from: target.pieces(of: seed))
                #expect(try again == seed || !target.accepts(seed) || target.accepts(again), "\(target.name)")
            }
        }
    }
}

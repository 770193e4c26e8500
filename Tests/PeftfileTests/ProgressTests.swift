import Peftfile
import struct Synchronization.Atomic
import TestSupport
import Testing

/// Whoever reads whole files says how far it is, and at the end that all is done.
@Suite struct ProgressTests {
    private final class Sum: Sendable {
        private let bytes = Atomic<UInt64>(0)
        var value: UInt64 { bytes.load(ordering: .relaxed) }
        @Sendable func add(_ count: UInt64) { bytes.add(count, ordering: .relaxed) }
    }

    private static let adapters = [
        "merge/lora-sharded-bf16/adapter", "merge/loha-linear/adapter", "dialects/kohya-lora/adapter",
    ]

    @Test(arguments: adapters) func statisticsTellAllBytes(_ name: String) throws {
        let checkpoint = try Checkpoint.open(Fixtures.path(name))
        let sum = Sum()
        _ = try checkpoint.statistics(jobs: 2, progress: sum.add)
        #expect(sum.value == checkpoint.tensorBytes && sum.value > 0)
    }

    /// The tensors once; of one safetensors file the header too, whose bytes are hashed.
    @Test func aCheckTellsAllBytesOfAllAdapters() throws {
        let paths = Self.adapters.map(Fixtures.path)
        let sum = Sum()
        let checker = Checker(options: CheckOptions(jobs: 2, progress: sum.add))
        let expected = try paths.reduce(0) { $0 + (try Checkpoint.open($1).tensorBytes) }
        #expect(try checker.weightBytes(at: paths) == expected)
        _ = try checker.check(paths)
        let files = try paths.reduce(0) { $0 + (try Checkpoint.open($1).shards.reduce(0) { $0 + $1.file.reader.size }) }
        #expect(expected <= sum.value && sum.value <= files)
        // What is no adapter counts for nothing.
        #expect(try checker.weightBytes(at: [Fixtures.path("negative/no-such-adapter")]) == 0)
    }

    @Test func sharesEndAtTheWhole() throws {
        let shares = Mutex<[Double]>([])
        let report = try SpectrumReport(of: Adapter(path: Fixtures.path(Self.adapters[0])), jobs: 2) { share in shares.withLock { $0.append(share) } }
        let count = report.modules.count
        #expect(shares.withLock { $0.sorted() } == (1...count).map { Double($0) / Double(count) })
    }

    /// The files that the receipt hashes, each once.
    @Test func hashingTellsAllBytesOfTheResult() throws {
        let directory = try TemporaryDirectory()
        let binding = try Binding(
            base: .open(Fixtures.path("merge/lora-sharded-bf16/base")), adapters: [Adapter(path: Fixtures.path(Self.adapters[0]))])
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("merged")).run()
        let record = try MergeRecord(besides: directory.path("merged"))
        let sum = Sum()
        #expect(try record.evidence.compareFiles(progress: sum.add).changed.isEmpty)
        let tensors = try Checkpoint.open(directory.path("merged")).tensorBytes
        #expect(sum.value == record.evidence.hashedBytes && sum.value > tensors)
    }
}

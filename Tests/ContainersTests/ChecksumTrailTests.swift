import ByteAccess
@testable import Containers
import Tensors
import TestSupport
import Testing

/// Checksums that are taken of bytes while they are read.
@Suite struct ChecksumTrailTests {
    private let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 37 ^ $0 >> 5) }

    private func crc(_ range: Range<Int>) -> UInt32 { CRC32.of(Array(bytes[range])) }

    @Test func partsInAnyOrderGiveTheCRCOfTheWhole() throws {
        var random = SplitMix64(seed: 7)
        for _ in 0..<50 {
            var cuts = Set((0..<12).map { _ in Int(random.next() % 10_000) })
            cuts.formUnion([0, 10_000])
            let edges = cuts.sorted()
            let parts = zip(edges, edges.dropFirst()).map { $0..<$1 }.shuffled(using: &random)
            var trail = ChecksumTrail()
            for part in parts { trail.add(crc(part), of: UInt64(part.lowerBound)..<UInt64(part.upperBound)) }
            // Read twice, and across what is known: neither counts again.
            trail.add(crc(parts[0]), of: UInt64(parts[0].lowerBound)..<UInt64(parts[0].upperBound))
            trail.add(crc(5..<9_000), of: 5..<9_000)
            #expect(try trail.crc(of: 10_000) { range in
                Issue.record("\(range) is known")
                return 0
            } == CRC32.of(bytes))
        }
    }

    @Test func whatNobodyReadIsReadAtTheEnd() throws {
        var trail = ChecksumTrail()
        #expect(!trail.isTouched)
        trail.add(crc(100..<200), of: 100..<200)
        trail.add(crc(150..<300), of: 150..<300)
        trail.add(crc(4_000..<5_000), of: 4_000..<5_000)
        var read: [Range<UInt64>] = []
        #expect(try trail.crc(of: 10_000) { range in
            read.append(range)
            return crc(Int(range.lowerBound)..<Int(range.upperBound))
        } == CRC32.of(bytes))
        #expect(read == [0..<100, 200..<4_000, 5_000..<10_000])
    }

    /// The bytes on disk change behind a reader that has read them: a second reading would see that, and none takes place.
    @Test func aRecordThatWasReadIsNotReadAgain() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("model.npz")
        let archive = try ZipFile.archive([.init("w.npy", NPYBuilder.array((0..<24).map { UInt8($0) }, shape: [6]))])
        try TestFile.write(archive, to: path)
        let file = try NPZFile.open(path)
        let tensor = file.tensors[0]
        #expect(file.isUnchecked(tensor))
        file.deferChecks()
        var values = [UInt8](repeating: 0, count: 24)
        for start in [12, 0] {
            try values.withUnsafeMutableBytes {
                try file.read(tensor, at: UInt64(start), into: UnsafeMutableRawBufferPointer(rebasing: $0[start..<(start + 12)]))
            }
        }
        var damaged = archive
        damaged[Int(tensor.begin) + 5] ^= 1
        try TestFile.write(damaged, to: path)
        try file.finishChecks()
        #expect(!file.isUnchecked(tensor))
        #expect(values == (0..<24).map { UInt8($0) })

        let other = try NPZFile.open(path)
        other.deferChecks()
        try values.withUnsafeMutableBytes { try other.read(tensor, at: 0, into: $0) }
        let error = #expect(throws: PeftfileError.self) { try other.finishChecks() }
        #expect(error?.rule == "ZipCRC" && error?.tensor == "w")
    }
}

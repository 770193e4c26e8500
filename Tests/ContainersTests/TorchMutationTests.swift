import ByteAccess
import Containers
import Foundation
import Tensors
import TestSupport
import Testing

/// Seeded mutants of good files: each is opened and read, or refused with one line; none ends the process.
///
/// The tests run without optimisation, where 5000 mutants take about as long as a suite may; the count is multiplied by
/// PEFTFILE_MUTANTS for longer runs.
@Suite struct TorchMutationTests {
    static let count = 5000 * (ProcessInfo.processInfo.environment["PEFTFILE_MUTANTS"].flatMap { Int($0) } ?? 1)

    /// Values that are at the edge of something.
    private static let edges: [UInt8] = [0, 1, 0x28, 0x2E, 0x51, 0x52, 0x63, 0x7D, 0x7F, 0x80, 0x81, 0x85, 0x93, 0x95, 0xFE, 0xFF]

    private static func mutate(_ bytes: inout [UInt8], _ random: inout SplitMix64) {
        for _ in 0...(random.next() % 3) where !bytes.isEmpty {
            let place = Int(random.next() % UInt64(bytes.count))
            switch random.next() % 6 {
            case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes[place] = edges[Int(random.next() % UInt64(edges.count))]
            case 2: bytes[place] ^= 1 << UInt8(random.next() % 8)
            case 3: bytes.remove(at: place)
            case 4: bytes.insert(edges[Int(random.next() % UInt64(edges.count))], at: place)
            default:
                let length = min(Int(random.next() % 40), bytes.count - place)
                let target = Int(random.next() % UInt64(bytes.count))
                bytes.insert(contentsOf: bytes[place..<(place + length)], at: target)
            }
        }
    }

    @Test func mutantsAreReadOrRefused() throws {
        let good = try TorchCorpusTests.cases().filter { $0.file.hasPrefix("benign") && $0.allowed.contains("ACCEPT") }
            .map { try $0.bytes() }.filter { $0.count < 20_000 }
        try #require(good.count > 30)
        let views = (0..<3).map { number in
            TorchBuilder.View(name: "t\(number)", key: "\(number)", count: 6, shape: [2, 3], strides: [number + 1, 1])
        }
        let pickle = TorchBuilder.pickle([views[0], views[1]])
        let storages = (0..<2).map { (key: "\($0)", bytes: [UInt8](repeating: 7, count: 24)) }
        let directory = try TemporaryDirectory()
        var random = SplitMix64(seed: 20260)
        var accepted = 0
        for number in 0..<Self.count {
            var bytes: [UInt8]
            if number % 2 == 0 {
                // The pickle alone, in an archive whose CRCs are right: otherwise nothing behind them is reached.
                bytes = pickle
                Self.mutate(&bytes, &random)
                bytes = try TorchBuilder.file(pickle: bytes, storages: storages)
            } else {
                bytes = good[Int(random.next() % UInt64(good.count))]
                Self.mutate(&bytes, &random)
            }
            let path = try directory.write(bytes, to: "mutant")
            do {
                let file = try ContainerKind.open(path)
                accepted += 1
                for tensor in file.tensors {
                    var part = [UInt8](repeating: 0, count: Int(min(tensor.byteCount, 4096)))
                    try part.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
                }
            } catch let error as PeftfileError {
                #expect(error.rule != nil && error.file == path, "\(number): \(error)")
                #expect(!error.description.utf8.contains { $0 < 0x20 }, "\(number)")
            }
        }
        // Some change nothing that matters: names, numbers of a checkpoint's state.
        #expect(accepted > Self.count / 50 && accepted < Self.count / 2, "\(accepted) of \(Self.count)")
    }
}

import ByteAccess
import Containers
import Foundation
import Tensors
import TestSupport
import Testing

/// Seeded mutants of a good file: each is opened and read, or refused with one line; none ends the process.
///
/// PEFTFILE_MUTANTS multiplies their number for longer runs.
@Suite struct GGUFMutationTests {
    static let count = Mutants.count(3000, least: 3000)

    private static let edges: [[UInt8]] = [
        [0], [1], [0x7F], [0x80], [0xFF], [0, 0, 0, 0], [0xFF, 0xFF, 0xFF, 0xFF], [0xFF, 0xFF, 0xFF, 0x7F], [9, 0, 0, 0], [8, 0, 0, 0],
        [UInt8](repeating: 0xFF, count: 8), [UInt8](repeating: 0xFF, count: 7) + [0x7F], [0, 0, 0, 0, 0, 0, 0, 0x80],
        [0, 0, 0, 0, 0, 0, 0, 0x40], [0, 0, 0, 0, 1, 0, 0, 0],
    ]

    private static func mutate(_ bytes: inout [UInt8], _ random: inout SplitMix64) {
        for _ in 0...(random.next() % 3) where !bytes.isEmpty {
            // Mostly in the directory: what the tensors hold is of no matter here.
            let place = Int(random.next() % UInt64(random.next() % 8 == 0 ? bytes.count : min(bytes.count, 1000)))
            let edge = edges[Int(random.next() % UInt64(edges.count))]
            switch random.next() % 6 {
            case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes[place] ^= 1 << UInt8(random.next() % 8)
            case 2: bytes.replaceSubrange(place..<min(bytes.count, place + edge.count), with: edge)
            case 3: bytes.remove(at: place)
            case 4: bytes.insert(contentsOf: edge, at: place)
            default: bytes.removeLast(min(bytes.count, Int(random.next() % 300)))
            }
        }
    }

    @Test func mutantsAreReadOrRefused() throws {
        var builder = GGUFFileTests.everything()
        builder.add("general.alignment", 32 as UInt32)
        let good = builder.file()
        let directory = try TemporaryDirectory()
        var random = SplitMix64(seed: 20261)
        var accepted = 0
        var rules: Set<String> = []
        for number in 0..<Self.count {
            var bytes = good
            Self.mutate(&bytes, &random)
            let path = try directory.write(bytes, to: "mutant")
            do {
                let file = try ContainerKind.open(path)
                accepted += 1
                for tensor in file.tensors {
                    var part = [UInt8](repeating: 0, count: Int(min(tensor.byteCount, 4096)))
                    try part.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
                }
                if let file = file as? GGUFFile {
                    for array in file.values.compactMap(\.value.arrayValue) { #expect(try file.elements(of: array).count == array.count) }
                }
            } catch let error as PeftfileError {
                rules.insert(error.rule ?? "")
                #expect(error.rule != nil && error.file == path, "\(number): \(error)")
                #expect(!error.description.utf8.contains { $0 < 0x20 }, "\(number)")
            }
        }
        #expect(accepted > Self.count / 50 && accepted < Self.count / 2, "\(accepted) of \(Self.count)")
        #expect(rules.count >= 10, "\(rules)")
    }
}

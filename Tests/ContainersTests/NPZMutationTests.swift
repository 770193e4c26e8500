import ByteAccess
import Containers
import Foundation
import Tensors
import TestSupport
import Testing

/// Seeded mutants of good archives: each is opened and read, or refused with one line; none ends the process. The count is
/// multiplied by PEFTFILE_MUTANTS for longer runs.
@Suite struct NPZMutationTests {
    static let count = Mutants.count(4000, least: 4000)

    /// Characters that mean something in the dict, and bytes at the edge of something.
    private static let edges: [UInt8] = Array("{}()[]'\",: -+\\\n019OVTF<>|=_L#".utf8) + [0, 0x7F, 0x80, 0x93, 0xFF]

    private static func mutate(_ bytes: inout [UInt8], first limit: Int, _ random: inout SplitMix64) {
        for _ in 0...(random.next() % 3) where !bytes.isEmpty {
            let place = Int(random.next() % UInt64(min(limit, bytes.count)))
            switch random.next() % 6 {
            case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes[place] = edges[Int(random.next() % UInt64(edges.count))]
            case 2: bytes[place] ^= 1 << UInt8(random.next() % 8)
            case 3: bytes.remove(at: place)
            case 4: bytes.insert(edges[Int(random.next() % UInt64(edges.count))], at: place)
            default:
                let length = min(Int(random.next() % 30), bytes.count - place)
                bytes.insert(contentsOf: bytes[place..<(place + length)], at: Int(random.next() % UInt64(bytes.count)))
            }
        }
    }

    @Test func mutantsAreReadOrRefused() throws {
        let good = try ["mlx", "mlx-compressed"].map { try TestFile.bytes(Fixtures.path("containers/npz/\($0).npz")) }
        let elements = (0..<48).map { UInt8($0) }
        let arrays = [
            NPYBuilder.array(elements, shape: [3, 4]), NPYBuilder.array(elements, shape: [2, 3, 2], isFortran: true),
            NPYBuilder.array(elements, shape: [24], descr: "<f2"), NPYBuilder.array(elements, shape: [6], descr: ">f8"),
        ]
        let directory = try TemporaryDirectory()
        var random = SplitMix64(seed: 414)
        var accepted = 0
        var rules: Set<String> = []
        for number in 0..<Self.count {
            var bytes: [UInt8]
            if number % 4 != 0 {
                // The array alone, in an archive whose CRC is right: otherwise nothing behind it is reached.
                var array = arrays[Int(random.next() % UInt64(arrays.count))]
                Self.mutate(&array, first: array.count - 48, &random)
                bytes = try ZipFile.archive([.init("w.npy", array, isDeflated: number % 3 == 0)])
            } else {
                bytes = good[Int(random.next() % 2)]
                Self.mutate(&bytes, first: bytes.count, &random)
            }
            let path = try directory.write(bytes, to: "mutant")
            do {
                let file = try ContainerKind.open(path)
                for tensor in file.tensors {
                    // The tensor ends where its bytes do, and not a byte later.
                    #expect(UInt64(tensor.elementCount * tensor.dtype.bits / 8) == tensor.byteCount)
                    var whole = [UInt8](repeating: 0, count: Int(tensor.byteCount))
                    try whole.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
                }
                accepted += 1
            } catch let error as PeftfileError {
                #expect(error.rule != nil && error.file == path, "\(number): \(error)")
                #expect(!error.description.utf8.contains { $0 < 0x20 }, "\(number)")
                rules.insert(error.rule ?? "")
            }
        }
        // Some change nothing that matters: a space more, another dimension of the same size.
        #expect(accepted > Self.count / 100 && accepted < Self.count / 2, "\(accepted) of \(Self.count)")
        #expect(rules.isSuperset(of: ["NPYMagic", "NPYHeader", "NPYDType", "NPYSize"]), "\(rules.sorted())")
    }
}

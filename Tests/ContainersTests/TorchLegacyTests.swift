import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// The form before torch 1.6, part by part: rule TorchLegacy of `Formats/torch.md`.
@Suite struct TorchLegacyTests {
    private typealias P = Pickles

    /// The parts of a file with the tensors `w` of the storage `0` and `v` of the storage `1`.
    struct Parts: Sendable {
        var magic: [UInt8] = [0x80, 2, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E]
        var version = P.whole([0x4D, 0xE9, 3])
        var system = P.whole(P.dict([(P.text("little_endian"), P.true)]))
        var object = TorchBuilder.pickle([
            P.view, .init(name: "v", key: "1", type: "ByteStorage", count: 3, offset: 1, shape: [2], strides: [1]),
        ])
        var keys = P.whole(P.list([P.text("1"), P.text("0")]))
        var storages: [(count: UInt64, bytes: [UInt8])] = [(3, [7, 8, 9]), (6, P.storage)]
        var tail: [UInt8] = []

        var pickles: [UInt8] { magic + version + system + object + keys }
        var file: [UInt8] {
            pickles + storages.flatMap { storage in withUnsafeBytes(of: storage.count.littleEndian) { Array($0) } + storage.bytes } + tail
        }
    }

    @Test func thePartsAreRead() throws {
        let directory = try TemporaryDirectory()
        let parts = Parts()
        let file = try TorchFile.open(directory.write(parts.file, to: "f"))
        #expect(file.tensors.map(\.name) == ["w", "v"] && file.tensors.map(\.dtype) == [.f32, .u8])
        #expect(try P.bytes(of: file.tensors[0], in: file) == P.storage)
        #expect(try P.bytes(of: file.tensors[1], in: file) == [8, 9])
        #expect(file.tensors.allSatisfy { $0.isContiguous && !file.isUnchecked($0) })
        #expect(file.tensors[1].begin == UInt64(parts.pickles.count + 8 + 1))
        // The directory is the pickles, whatever the storages hold.
        #expect(try file.headerSHA256() == SHA256.hash(parts.pickles))
    }

    struct Bad: Sendable, CustomStringConvertible {
        let description: String
        let rule: TorchRule
        let change: @Sendable (inout Parts) -> Void

        init(_ words: String, _ rule: TorchRule = .legacy, _ change: @escaping @Sendable (inout Parts) -> Void) {
            (description, self.rule, self.change) = (words, rule, change)
        }
    }

    static let cases: [Bad] = [
        .init("the magic number is not torch's") { $0.magic[4] ^= 1 },
        .init("the protocol is not 1001") { $0.version = P.whole([0x4D, 0xEA, 3]) },
        .init("the description of the system is no dict") { $0.system = P.whole(P.list([])) },
        .init("the storages' keys are no list") { $0.keys = P.whole(P.tuple([P.text("1"), P.text("0")])) },
        .init("names one that no tensor has, or one twice") { $0.keys = P.whole(P.list([P.text("1"), P.text("1")])) },
        .init("names one that no tensor has, or one twice") { $0.keys = P.whole(P.list([P.text("2"), P.text("0")])) },
        .init("names one that no tensor has, or one twice") { $0.keys = P.whole(P.list([P.int(1), P.text("0")])) },
        .init("a storage has another number of elements than the object says") { $0.storages[0].count = 4 },
        .init("the file ends before its storages do") { $0.storages[1].bytes.removeLast() },
        .init("the file ends before its storages do") { $0.storages.removeLast(); $0.tail = [6, 0, 0, 0, 0, 0, 0] },
        .init("the file ends before its storages do") { $0.storages = [] },
        .init("bytes follow the last storage") { $0.tail = [0] },
        .init("the bytes of a storage are missing") { $0.keys = P.whole(P.list([P.text("1")])); $0.storages.removeLast() },
        .init("the pickle ends inside an operation", .pickleEnd) {
            ($0.object, $0.keys, $0.storages) = ([0x80, 2, 0x58, 0xFF, 0xFF, 0, 0], [], [])
        },
        .init("a pickle begins with its protocol", .pickleProtocol) { $0.system = [0x7D, 0x2E] },
    ]

    @Test(arguments: cases) func aPartThatIsNotThereIsRefused(_ bad: Bad) throws {
        let directory = try TemporaryDirectory()
        var parts = Parts()
        bad.change(&parts)
        let path = try directory.write(parts.file, to: "f")
        let error = #expect(throws: PeftfileError.self) { try TorchFile.open(path) }
        #expect(error?.rule == bad.rule.rawValue && error?.code == .malformed, "\(error as Any)")
        #expect(error?.message.contains(bad.description) == true, "\(error as Any)")
        #expect(error?.file == path)
    }

    @Test(arguments: [0, 1, 3, 4, 14]) func aFileThatIsShorterThanTheMagicNumberIsRefused(_ count: Int) throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write(Array(Parts().file.prefix(count)), to: "f")
        let error = #expect(throws: PeftfileError.self) { try TorchFile.open(path) }
        #expect(error?.rule == "TorchLegacy" && error?.message == "the magic number is not torch's")
    }

    /// A frame of 200 MB in a sparse file that has them: pickles end within the first 100 MB.
    @Test func picklesAreBounded() throws {
        let directory = try TemporaryDirectory()
        let frame: [UInt8] = [0x80, 4, 0x95] + withUnsafeBytes(of: UInt64(200_000_000).littleEndian) { Array($0) }
        let path = try directory.write(Parts().magic + frame, to: "f")
        try TestFile.lengthen(path, to: 300_000_000)
        let error = #expect(throws: PeftfileError.self) { try TorchFile.open(path) }
        #expect(error?.rule == "PickleLimit" && error?.message == "the pickles have more than 100000000 bytes", "\(error as Any)")
        // Where the file itself is shorter, it is the file that ends.
        try TestFile.lengthen(path, to: 50_000_000)
        #expect(#expect(throws: PeftfileError.self) { try TorchFile.open(path) }?.rule == "PickleEnd")
    }
}

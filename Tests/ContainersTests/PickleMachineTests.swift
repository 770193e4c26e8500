import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Operations and limits of the pickle machine: rules PickleLimit to PickleValue of `Formats/torch.md`.
@Suite struct PickleMachineTests {
    private typealias P = Pickles

    /// Forms of text and numbers that torch itself seldom writes, as keys of tensors, which show what was read.
    @Test func keysAreReadInEveryForm() throws {
        let keys: [(String, [UInt8])] = [
            ("é", [0x8D, 2, 0, 0, 0, 0, 0, 0, 0, 0xC3, 0xA9]), ("old", [0x54, 3, 0, 0, 0] + Array("old".utf8)),
            ("short", [0x55, 5] + Array("short".utf8)), ("new", [0x8C, 3] + Array("new".utf8)),
            ("70000", [0x8B, 3, 0, 0, 0, 0x70, 0x11, 0x01]), ("-1", [0x8A, 1, 0xFF]), ("0", [0x8A, 0]),
            ("-9223372036854775808", [0x8A, 8, 0, 0, 0, 0, 0, 0, 0, 0x80]), ("-2", [0x4A, 0xFE, 0xFF, 0xFF, 0xFF]), ("513", [0x4D, 1, 2]),
            ("True", P.true),
        ]
        let directory = try TemporaryDirectory()
        let file = try P.open(P.dict(keys.map { ($0.1, P.tensor) }), in: directory)
        #expect(file.tensors.map(\.name.text) == keys.map(\.0))
        let truth = try P.open(P.dict([(P.false, P.list([P.tensor]))]), in: directory)
        #expect(truth.tensors.map(\.name) == ["False.0"])
    }

    /// The same key from the memo, put there in each way.
    @Test func theMemoGivesWhatWasPut() throws {
        let directory = try TemporaryDirectory()
        for (put, get) in [
            ([0x71, 9], [0x68, 9]), ([0x72, 0, 1, 0, 0], [0x6A, 0, 1, 0, 0]), ([0x94], [0x68, 0]),
        ] as [([UInt8], [UInt8])] {
            let file = try P.open(P.list([P.text("x") + put, P.dict([(get, P.tensor)])]), in: directory)
            #expect(file.tensors.map(\.name) == ["1.x"])
        }
    }

    static let operations: [Pickles.Bad] = [
        .init("the operation 0x82, which no state dict needs", .pickleOperation, [0x82, 1]),
        .init("the operation 0x00, which", .pickleOperation, [0]),
        .init("a length is negative", .pickleValue, [0x8B, 0xFF, 0xFF, 0xFF, 0xFF]),
        .init("a length is negative", .pickleValue, [0x54, 0, 0, 0, 0x80]),
        .init("a text is not UTF-8", .pickleValue, [0x8D, 2, 0, 0, 0, 0, 0, 0, 0, 0xC0, 0x80]),
        .init("ADDITEMS on what is no set", .pickleValue, [0x5D, 0x28, 0x90]),
        .init("APPEND on a dict", .pickleValue, P.emptyDict + P.int(1) + [0x61]),
        .init("APPEND on a numpy dtype", .pickleValue, P.call("numpy", "dtype", [P.text("f8"), P.false, P.true]) + P.int(1) + [0x61]),
        .init("SETITEM on bytes", .pickleValue, P.bytes([1]) + P.int(1) + P.int(2) + [0x73]),
        .init("a list as a key", .pickleValue, P.dict([(P.list([]), P.int(1))])),
        .init("a dict as a key", .pickleValue, P.dict([(P.emptyDict, P.int(1))])),
        .init("SETITEMS with a key and no value", .pickleStack, P.emptyDict + [0x28] + P.int(1) + [0x75]),
        .init("there is no MARK for an operation", .pickleStack, [0x74]),
        .init("takes more from the stack than there is", .pickleStack, P.int(1) + [0x28, 0x85]),
        .init("takes more from the stack than there is", .pickleStack, P.int(1) + [0x28, 0x71, 0]),
        .init("nothing was put into the memo at 7", .pickleStack, [0x68, 7]),
        .init("ends with 2 values on its stack", .pickleStack, P.int(1) + P.int(2)),
        .init("a module or name that is no text", .pickleGlobal, P.int(1) + P.text("x") + [0x93], code: .refused),
        .init("a module or name is not UTF-8", .pickleGlobal, [0x63, 0xFF, 0x0A, 0x0A], code: .refused),
        .init("a text of 67108865 bytes; at most 67108864 are read", .pickleLimit, [0x58, 1, 0, 0, 4]),
        .init("the pickle ends inside an operation", .pickleEnd, [0x4A, 0]),
        .init("the pickle ends inside an operation", .pickleEnd, [0x63] + Array("torch".utf8)),
        .init("the pickle ends inside an operation", .pickleEnd, [0x95, 2, 0, 0, 0, 0, 0, 0, 0]),
    ]

    @Test(arguments: operations) func anOperationWithoutWhatItNeedsIsRefused(_ bad: Pickles.Bad) throws { try bad.check() }

    private static func repeated(_ operation: [UInt8], _ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(operation.count * count)
        for _ in 0..<count { bytes += operation }
        return bytes
    }

    /// 100 000 values stand on the stack, and one more does not; marks are counted by themselves.
    @Test func theStackIsBounded() throws {
        let directory = try TemporaryDirectory()
        let full = [0x28] + [UInt8](repeating: 0x4E, count: 100_000)
        #expect(try P.open(full + [0x74], in: directory).tensors.isEmpty)
        let message = "the pickle puts more than 100000 values on its stack"
        for value in [full + [0x4E, 0x74], [UInt8](repeating: 0x28, count: 100_001)] {
            let error = #expect(throws: PeftfileError.self) { try P.open(value, in: directory) }
            #expect(error?.rule == "PickleLimit" && error?.message == message && error?.code == .malformed)
        }
    }

    /// EMPTY_DICT, puts into the memo, STOP: 1 000 000 operations, and one more.
    @Test func operationsAreCounted() throws {
        let directory = try TemporaryDirectory()
        let most = [0x7D] + Self.repeated([0x71, 0], 999_998)
        #expect(try P.open(most, in: directory).tensors.isEmpty)
        let error = #expect(throws: PeftfileError.self) { try P.open(most + [0x71, 0], in: directory) }
        #expect(error?.rule == "PickleLimit" && error?.message == "the pickle has more than 1000000 operations")
    }

    /// 999 lists that are one list of 1000 things are the object, 999 lists and 999 000 things: 1 000 000; a thousandth is too much.
    @Test func sharedObjectsAreCountedWhereTheyAppear() throws {
        let directory = try TemporaryDirectory()
        func lists(_ count: Int) -> [UInt8] {
            P.list([P.list([[UInt8]](repeating: P.none, count: 1000)) + [0x71, 0], Self.repeated([0x68, 0], count - 1)])
        }
        #expect(try P.open(lists(999), in: directory).tensors.isEmpty)
        let error = #expect(throws: PeftfileError.self) { try P.open(lists(1000), in: directory) }
        #expect(error?.rule == "PickleLimit" && error?.code == .malformed)
        #expect(error?.message == "the checkpoint's objects, each counted where it appears, are more than 1000000")
    }
}

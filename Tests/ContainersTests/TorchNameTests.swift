import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Names of tensors and their places in storages: rules TorchName, TorchGeometry and TorchStorage of `Formats/torch.md`.
@Suite struct TorchNameTests {
    private typealias P = Pickles

    struct Case: Sendable, CustomStringConvertible {
        let description: String
        /// The tensor that the error is about.
        let name: String?
        let words: String
        let value: [UInt8]
    }

    private static let twice = "a dict has one key twice"

    static let names: [Case] = [
        .init(
            description: "two ways to one name", name: "a.b", words: "two tensors have this name",
            value: P.dict([(P.text("a.b"), P.tensor), (P.text("a"), P.dict([(P.text("b"), P.tensor)]))])),
        .init(
            description: "a number and its text", name: "1", words: "two tensors have this name",
            value: P.dict([(P.int(1), P.tensor), (P.text("1"), P.tensor)])),
        .init(description: "a text twice", name: "w", words: twice, value: P.dict([(P.text("w"), P.tensor), (P.text("w"), P.tensor)])),
        .init(
            description: "a text twice, further in", name: "a.w", words: twice,
            value: P.dict([(P.text("a"), P.dict([(P.text("w"), P.tensor), (P.text("w"), P.none)]))])),
        // Of the two Python keeps the last, and a reader of both would see tensors that are not there.
        .init(
            description: "a number twice", name: "1", words: twice,
            value: P.dict([(P.int(1), P.dict([(P.text("a"), P.tensor)])), (P.int(1), P.dict([(P.text("b"), P.tensor)]))])),
        .init(
            description: "1 and True", name: "True", words: twice,
            value: P.dict([(P.int(1), P.list([P.tensor])), (P.true, P.dict([(P.text("b"), P.tensor)]))])),
        .init(
            description: "0 and False", name: "0", words: twice,
            value: P.dict([(P.false, P.list([P.tensor])), (P.int(0), P.dict([(P.text("b"), P.tensor)]))])),
        .init(description: "a key without a name", name: nil, words: "a tensor's key is None", value: P.dict([(P.none, P.tensor)])),
        .init(description: "bytes as a key", name: nil, words: "a tensor's key is bytes", value: P.dict([(P.bytes([0xFF]), P.tensor)])),
        .init(
            description: "under a key without a name", name: nil, words: #"a tensor (of the storage "0") is made and then kept under no key"#,
            value: P.dict([(P.none, P.list([P.tensor]))])),
        .init(
            description: "in a set", name: nil, words: #"a tensor (of the storage "0") is made and then kept under no key"#,
            value: P.dict([(P.text("x"), [0x8F, 0x28] + P.tensor + [0x90])])),
        .init(
            description: "as an attribute", name: nil, words: "is made and then kept under no key",
            value: P.orderedDict + P.dict([(P.text("x"), P.tensor)]) + [0x62]),
        .init(
            description: "an object in itself", name: nil, words: "an object holds itself", value: [0x5D, 0x71, 0, 0x68, 0, 0x61]),
    ]

    @Test(arguments: names) func aTensorHasOneName(_ item: Case) throws {
        let directory = try TemporaryDirectory()
        let error = #expect(throws: PeftfileError.self) { try P.open(item.value, in: directory) }
        #expect(error?.rule == "TorchName" && error?.code == .malformed, "\(error as Any)")
        #expect(error?.message.contains(item.words) == true, "\(error as Any)")
        if let name = item.name { #expect(error?.tensor?.text == name) }
        #expect(error?.file == directory.path("f"))
    }

    /// A key of 10 MB before ten keys of one digit: nine names fit in 100 MB, ten do not.
    @Test func allNamesTogetherAreBounded() throws {
        let directory = try TemporaryDirectory()
        let key = P.text(String(repeating: "k", count: 10_000_000))
        func value(_ count: Int) -> [UInt8] {
            P.dict([(key, P.list([P.tensor + [0x71, 0]] + [[UInt8]](repeating: [0x68, 0], count: count - 1)))])
        }
        let file = try P.open(value(9), in: directory)
        #expect(file.tensors.count == 9 && file.tensors.allSatisfy { $0.name.text.utf8.count == 10_000_002 })
        let error = #expect(throws: PeftfileError.self) { try P.open(value(10), in: directory) }
        #expect(error?.rule == "TorchName" && error?.message == "the tensors' names have more than 100000000 bytes")
    }

    private static let outside = "a tensor reaches beyond its storage of 6 elements"

    static let places: [Pickles.Bad] = [
        .init("a tensor's offset is no number or negative", .geometry, P.rebuilt(P.arguments(offset: P.int(-1)))),
        .init("a tensor's offset is no number or negative", .geometry, P.rebuilt(P.arguments(offset: [0x47] + [UInt8](repeating: 0, count: 8)))),
        .init("a tensor's size is a list", .geometry, P.rebuilt(P.arguments(size: P.list([P.int(6)])))),
        .init("a tensor's size holds an integer that is no size", .geometry, P.rebuilt(P.arguments(size: TorchBuilder.tuple([-2, -3])))),
        .init(
            "a tensor's stride holds a number that is no size", .geometry,
            P.rebuilt(P.arguments(stride: P.tuple([P.int(3), [0x8A, 9] + [UInt8](repeating: 1, count: 9)])))),
        .init(
            "a tensor has 65 dimensions; at most 64 are read", .geometry,
            P.rebuilt(P.arguments(size: TorchBuilder.tuple([Int](repeating: 1, count: 65))))),
        .init("a tensor has 2 sizes and 1 strides", .geometry, P.rebuilt(P.arguments(stride: TorchBuilder.tuple([1])))),
        .init("number of bytes does not fit 63 bits", .geometry, P.rebuilt(P.arguments(size: TorchBuilder.tuple([1 << 40, 1 << 40])))),
        .init(
            "number of bytes does not fit 63 bits", .geometry,
            P.rebuilt(P.arguments(size: TorchBuilder.tuple([1 << 61, 1]), stride: TorchBuilder.tuple([0, 0])))),
        .init(outside, .geometry, P.rebuilt(P.arguments(offset: P.int(1)))),
        // Nothing is read of an empty tensor, and its place is held against the storage all the same.
        .init(outside, .geometry, P.rebuilt(P.arguments(offset: P.int(7), size: TorchBuilder.tuple([0, 3])))),
        // The farthest element is at 2^64 - 2 + 4, then beyond 2^64 in its own dimension.
        .init(outside, .geometry, P.rebuilt(P.arguments(offset: P.int(4), size: TorchBuilder.tuple([3, 1]), stride: TorchBuilder.tuple([.max, 1])))),
        .init(outside, .geometry, P.rebuilt(P.arguments(size: TorchBuilder.tuple([4, 1]), stride: TorchBuilder.tuple([.max, 1])))),
        .init("names no storage", .storage, P.tuple([P.text("module"), P.none, P.text("0"), P.text("cpu"), P.int(6)]) + [0x51]),
        .init("has None for the class of a storage", .storage, P.storage(P.none)),
        .init("has no number of elements", .storage, P.storage(P.global("torch", "FloatStorage"), count: -6)),
        .init("has a size beyond 63 bits", .storage, P.storage(P.global("torch", "FloatStorage"), count: 1 << 61)),
        .init(
            #"gives the storage "0" another type or size than before"#, .storage,
            P.list([P.storage(P.global("torch", "FloatStorage")), P.storage(P.global("torch", "IntStorage"))])),
        .init(#"there is no record "a/data/1""#, .storage, P.storage(P.global("torch", "FloatStorage"), key: "1")),
        .init(#"the record "a/data/0" has 24 bytes, and its storage 20"#, .storage, P.storage(P.global("torch", "FloatStorage"), count: 5)),
    ]

    @Test(arguments: places) func aTensorLiesInItsStorage(_ bad: Pickles.Bad) throws { try bad.check() }

    @Test func anEmptyTensorMayBeginAtTheEnd() throws {
        let value = P.rebuilt(P.arguments(offset: P.int(6), size: TorchBuilder.tuple([0, 3])))
        let directory = try TemporaryDirectory()
        let file = try P.open(P.dict([(P.text("w"), value)]), in: directory)
        #expect(file.tensors.count == 1 && file.tensors[0].shape == [0, 3] && file.tensors[0].byteCount == 0)
    }
}

import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// What an open torch file says beside its tensors' elements: shared bytes, the model's part, checks, its digest.
@Suite struct TorchFileTests {
    private typealias P = Pickles

    private static func open(
        _ views: [TorchBuilder.View], storages: [(key: String, bytes: [UInt8])], in directory: TemporaryDirectory
    ) throws -> TorchFile {
        try TorchFile.open(directory.write(TorchBuilder.file(pickle: TorchBuilder.pickle(views), storages: storages), to: "f"))
    }

    /// Spans of elements in the storage `0`: a, b 0 to 6; c 3 to 7; d, e 7 to 9, by strides that say nothing; f 9 to 12. In the
    /// storage `1` g has the elements 0 and 2, and h those from 1 to 3.
    @Test func sharedBytesAreTold() throws {
        func view(_ name: String, _ offset: Int, _ shape: [Int], _ strides: [Int], key: String = "0", count: Int = 12) -> TorchBuilder.View {
            .init(name: name, key: key, count: count, offset: offset, shape: shape, strides: strides)
        }
        let directory = try TemporaryDirectory()
        let file = try Self.open(
            [
                view("a", 0, [2, 3], [3, 1]), view("b", 0, [2, 3], [3, 1]), view("c", 3, [4], [1]), view("d", 7, [1, 2], [50, 1]),
                view("e", 7, [1, 2], [0, 1]), view("f", 9, [3], [1]), view("empty", 0, [0, 3], [3, 1]),
                view("g", 0, [2], [2], key: "1", count: 4), view("h", 1, [3], [1], key: "1", count: 4),
            ], storages: [("0", [UInt8](repeating: 1, count: 48)), ("1", [UInt8](repeating: 2, count: 16))], in: directory)
        let shared = file.shared
        #expect(shared.map { $0.names[0] } == ["a", "a", "d", "g"])
        #expect(
            Set(shared) == [
                SharedTensors(names: ["a", "b"], isIdentical: true), SharedTensors(names: ["a", "c"], isIdentical: false),
                SharedTensors(names: ["d", "e"], isIdentical: true), SharedTensors(names: ["g", "h"], isIdentical: false),
            ])
        // The same places in two storages are not the same bytes.
        let apart = try Self.open(
            [view("a", 0, [4], [1], key: "0", count: 4), view("b", 0, [4], [1], key: "1", count: 4)],
            storages: [("0", [UInt8](repeating: 1, count: 16)), ("1", [UInt8](repeating: 1, count: 16))], in: directory)
        #expect(apart.shared.isEmpty)
    }

    /// 2^48 bytes are listed; one tensor more, of four bytes or of so many that no sum holds them, is not.
    @Test func allTensorsTogetherAreBounded() throws {
        func view(_ name: String, _ shape: [Int]) -> TorchBuilder.View {
            .init(name: name, key: "0", count: 1, shape: shape, strides: [Int](repeating: 0, count: shape.count))
        }
        let directory = try TemporaryDirectory()
        let most = view("w", [1 << 24, 1 << 22])
        let file = try Self.open([most], storages: [("0", [1, 2, 3, 4])], in: directory)
        #expect(file.tensors.map(\.byteCount) == [1 << 48])
        for views in [[most, view("v", [1])], [view("w", []), view("v", [(1 << 61) - 1])]] {
            let error = #expect(throws: PeftfileError.self) { try Self.open(views, storages: [("0", [1, 2, 3, 4])], in: directory) }
            #expect(error?.rule == "TorchGeometry" && error?.code == .malformed && error?.tensor == "v")
            #expect(error?.message == "the tensors would have more than 281474976710656 bytes when written out")
        }
    }

    /// The first of the usual keys that has tensors is the model; one without any is not.
    @Test func theModelIsWhereTensorsAre() throws {
        let directory = try TemporaryDirectory()
        let file = try P.open(
            P.dict([
                (P.text("module"), P.dict([(P.text("w"), P.none)])), (P.text("model"), P.dict([(P.text("w"), P.tensor)])),
                (P.text("state_dict"), P.emptyDict), (P.text("epoch"), P.int(3)),
            ]), in: directory)
        #expect(file.tensors.map(\.name) == ["model.w"])
        let part = try #require(file.modelPart)
        #expect(part.key == "model" && part.file.tensors.map(\.name) == ["w"])
        #expect(try P.bytes(of: part.file.tensors[0], in: part.file) == P.storage)
        #expect(part.file.modelPart == nil)
        for value in [P.dict([(P.text("model"), P.emptyDict), (P.text("w"), P.tensor)]), P.list([P.dict([(P.text("model"), P.tensor)])])] {
            #expect(try P.open(value, in: directory).modelPart == nil)
        }
    }

    @Test func aTensorOfAnotherFileIsNotThere() throws {
        let directory = try TemporaryDirectory()
        let file = try P.open(P.dict([(P.text("w"), P.tensor)]), in: directory)
        #expect(file.isUnchecked(file.tensors[0]) && file.metadata == nil && file.kind == .torch)
        var stranger = file.tensors[0]
        stranger.name = "v"
        #expect(!file.isUnchecked(stranger))
        let errors = [
            #expect(throws: PeftfileError.self) { try file.validate(stranger) },
            #expect(throws: PeftfileError.self) { try P.bytes(of: stranger, in: file) },
        ]
        for error in errors { #expect(error?.code == .io && error?.tensor == "v" && error?.message == "is not in the file") }
    }

    @Test func aCheckThatWasPutOffNamesTheTensor() throws {
        let directory = try TemporaryDirectory()
        let views = ["w", "v"].enumerated().map { number, name in
            TorchBuilder.View(name: name, key: "\(number)", count: 2, shape: [2], strides: [1])
        }
        var bytes = try TorchBuilder.file(
            pickle: TorchBuilder.pickle(views), storages: [("0", [1, 2, 3, 4, 5, 6, 7, 8]), ("1", [8, 7, 6, 5, 4, 3, 2, 1])])
        let place = try #require(bytes.indices.first { bytes[$0...].starts(with: [8, 7, 6, 5, 4, 3, 2, 1]) })
        bytes[place] = 9
        let file = try TorchFile.open(directory.write(bytes, to: "f"))
        file.deferChecks()
        #expect(try P.bytes(of: file.tensors[0], in: file) == [1, 2, 3, 4, 5, 6, 7, 8])
        // Nothing of the damaged record was given out, so nothing is wrong yet.
        try file.finishChecks()
        #expect(try P.bytes(of: file.tensors[1], in: file) == [9, 7, 6, 5, 4, 3, 2, 1])
        let error = #expect(throws: PeftfileError.self) { try file.finishChecks() }
        #expect(error?.rule == "ZipCRC" && error?.tensor == "v" && error?.code == .malformed)
    }

    /// The pickle and the zip's directory: another record changes the digest by its CRC.
    @Test func theDigestIsThatOfTheDirectory() throws {
        let directory = try TemporaryDirectory()
        let pickle = P.whole(P.dict([(P.text("w"), P.tensor)]))
        var digests: Set<[UInt8]> = []
        for last in [0, 1] as [UInt8] {
            let archive = try TorchBuilder.file(pickle: pickle, storages: [("0", P.storage.dropLast() + [last])])
            // The end record's offset of the directory, which goes on to the end record.
            let begin = archive.suffix(6).prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
            let digest = try TorchFile.open(directory.write(archive, to: "f")).headerSHA256()
            #expect(digest == SHA256.hash(pickle + archive[begin..<(archive.count - 22)]))
            digests.insert(digest)
        }
        #expect(digests.count == 2)
    }
}

import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

@Suite struct SafetensorsLayoutTests {
    typealias Entry = (name: ExactString, dtype: DType, shape: Shape)

    @Test func theBytesAreThoseOfTheFormatsPage() throws {
        let layout = try SafetensorsLayout(
            metadata: [("format", "pt")], tensors: [("b", .f32, [2, 3]), ("a", .u8, []), ("\"\n", .bf16, [0, 4])])
        // Written out by hand: compact JSON, the order given, spaces up to a multiple of 8.
        let json =
            #"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#
            + #""a":{"dtype":"U8","shape":[],"data_offsets":[24,25]},"\"\n":{"dtype":"BF16","shape":[0,4],"data_offsets":[25,25]}}"#
        let padded = json + String(repeating: " ", count: (8 - json.utf8.count % 8) % 8)
        #expect(layout.headerBytes == [UInt8(padded.utf8.count), 0, 0, 0, 0, 0, 0, 0] + Array(padded.utf8))
        let start = UInt64(8 + padded.utf8.count)
        #expect(start % 8 == 0)
        #expect(layout.tensors.map(\.begin) == [start, start + 24, start + 25])
        #expect(layout.tensors.map(\.end) == [start + 24, start + 25, start + 25])
        #expect(layout.totalBytes == start + 25)
    }

    @Test func metadataAbsentAndEmptyAreDifferent() throws {
        func text(_ metadata: [(key: ExactString, value: String)]?) throws -> String {
            String(
                decoding: try SafetensorsLayout(metadata: metadata, tensors: []).headerBytes.dropFirst(8), as: UTF8.self
            )
        }
        #expect(try text(nil) == "{}      ")
        #expect(try text([]) == #"{"__metadata__":{}}     "#)
    }

    @Test func whatIsWrittenIsReadBack() throws {
        let directory = try TemporaryDirectory()
        var tensors: [Entry] = DType.allCases.map { (ExactString("t.\($0.rawValue)"), $0, [4, 2]) }
        tensors += [
            ("é", .f16, [1]), ("e\u{301}", .f16, [1]), ("\0\u{1B}[31m../..\\\"", .i8, [3]), ("", .f64, []),
            ("empty", .f4, [0, 7]), ("hostile", .f32, [0, .min, .min]),
        ]
        let metadata: [(key: ExactString, value: String)] = [("z", "1\n\"ü"), ("a", "")]
        let layout = try SafetensorsLayout(metadata: metadata, tensors: tensors)
        let data = [UInt8](repeating: 7, count: Int(layout.totalBytes) - layout.headerBytes.count)
        let file = try SafetensorsFile.open(directory.write(layout.headerBytes + data, to: "file"))
        #expect(file.metadata?.map(\.key) == ["z", "a"])
        #expect(file.metadata?.map(\.value) == ["1\n\"ü", ""])
        #expect(file.tensors.count == tensors.count)
        for (expected, tensor) in zip(tensors, layout.tensors) {
            #expect(file[expected.name] == tensor)
            #expect(tensor.shape == expected.shape && tensor.dtype == expected.dtype)
        }
        #expect(file["t.f32"] == nil)
        // The same directory gives the same header again.
        let again = try SafetensorsLayout(
            metadata: file.metadata, tensors: layout.tensors.map { ($0.name, $0.dtype, $0.shape) })
        #expect(try Array(again.headerBytes.dropFirst(8)) == file.readHeaderBytes())
        #expect(try file.headerSHA256() == SHA256.hash(layout.headerBytes))
    }

    @Test(
        arguments: [
            ([("__metadata__", .f32, [1])], "ReservedName"), ([("a", .f32, [1]), ("a", .f32, [1])], "DuplicateKey"),
            ([("a", .f4, [3])], "MisalignedSlice"), ([("a", .f6E2M3, [2])], "MisalignedSlice"),
            ([("a", .f32, [1 << 32, 1 << 32])], "ValidationOverflow"), ([("a", .u8, [1 << 61])], "ValidationOverflow"),
            ((0..<9).map { (ExactString("t\($0)"), .u8, [1 << 60]) }, "ValidationOverflow"),
        ] as [([(ExactString, DType, Shape)], String)])
    func refusesWhatNoReaderWouldRead(tensors: [(ExactString, DType, Shape)], rule: String) throws {
        let error = #expect(throws: PeftfileError.self) {
            try SafetensorsLayout(metadata: nil, tensors: tensors.map { (name: $0.0, dtype: $0.1, shape: $0.2) })
        }
        #expect(error?.rule == rule)
    }

    @Test func refusesTwoMetadataKeysOfOneName() {
        let error = #expect(throws: PeftfileError.self) {
            try SafetensorsLayout(metadata: [("a", "1"), ("a", "2")], tensors: [])
        }
        #expect(error?.rule == "DuplicateKey")
    }

    @Test func refusesAHeaderThatIsTooLong() {
        let error = #expect(throws: PeftfileError.self) {
            try SafetensorsLayout(metadata: [("a", String(repeating: "x", count: 100_000_000))], tensors: [])
        }
        #expect(error?.rule == "HeaderTooLarge")
    }

    @Test func theReferenceOrderKeepsElementsAligned() {
        let tensors: [(name: ExactString, dtype: DType)] = [
            ("a", .u8), ("b", .f32), ("c", .f64), ("d", .bf16), ("a2", .f32),
        ]
        #expect(tensors.sorted(by: SafetensorsLayout.referenceOrder).map(\.name) == ["c", "a2", "b", "d", "a"])
    }
}

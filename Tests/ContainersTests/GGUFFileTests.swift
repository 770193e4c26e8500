import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Good files: what an independent writer puts in is what comes out.
@Suite struct GGUFFileTests {
    static func open(_ builder: GGUFBuilder) throws -> (TemporaryDirectory, GGUFFile) {
        let directory = try TemporaryDirectory()
        let file = try ContainerKind.open(directory.write(builder.file(), to: "a.bin"))
        return (directory, try #require(file as? GGUFFile))
    }

    /// Every type of value, an array of each.
    static func everything() -> GGUFBuilder {
        var builder = GGUFBuilder()
        builder.add("general.architecture", "llama")
        builder.add("a.u8", type: 0, [200])
        builder.add("a.i8", type: 1, [0xFE])
        builder.add("a.u16", type: 2, [1, 2])
        builder.add("a.i16", type: 3, [0xFF, 0xFF])
        builder.add("a.u32", 7 as UInt32)
        builder.add("a.i32", type: 5, [0xFD, 0xFF, 0xFF, 0xFF])
        builder.add("a.f32", 0.5 as Float)
        builder.add("a.bool", type: 7, [1])
        builder.add("a.u64", type: 10, GGUFBuilder.little(UInt64.max))
        builder.add("a.i64", type: 11, GGUFBuilder.little(Int64.min))
        builder.add("a.f64", type: 12, GGUFBuilder.little((0.1).bitPattern))
        builder.add("tokenizer.ggml.tokens", texts: ["<s>", "é", ""])
        builder.add("a.numbers", numbers: [5, 6])
        builder.add("a.empty", texts: [])
        builder.tensors = [
            .init("w", [2, 3], GGUFBuilder.bytes([1, 2, 3, 4, 5, 6])), .init("scalar", [], GGUFBuilder.bytes([7])),
            .init("half", [3], type: 1, [0, 0x3C, 0, 0xC0, 1, 0]), .init("brain", [1, 1, 1, 2], type: 30, [0x80, 0x3F, 0, 0]),
            .init("codes", [64, 2], type: 8, [UInt8](repeating: 3, count: 136)), .init("i", [2], type: 24, [1, 255]),
            .init("i16", [1], type: 25, [1, 2]), .init("i32", [1], type: 26, [1, 2, 3, 4]), .init("i64", [1], type: 27, [UInt8](0..<8)),
            .init("d", [1], type: 28, GGUFBuilder.little((0.1).bitPattern)),
        ]
        return builder
    }

    @Test func metadataComesThrough() throws {
        let (directory, file) = try Self.open(Self.everything())
        defer { _ = directory }
        #expect(file.version == 3 && file.alignment == 32 && file.kind == .gguf)
        let expected: [(ExactString, GGUFValue)] = [
            ("general.architecture", .string("llama")), ("a.u8", .uint8(200)), ("a.i8", .int8(-2)), ("a.u16", .uint16(513)),
            ("a.i16", .int16(-1)), ("a.u32", .uint32(7)), ("a.i32", .int32(-3)), ("a.f32", .float32(0.5)), ("a.bool", .bool(true)),
            ("a.u64", .uint64(.max)), ("a.i64", .int64(.min)), ("a.f64", .float64(0.1)),
        ]
        for (key, value) in expected { #expect(file.value(key) == value, "\(key)") }
        #expect(file.values.map(\.key.text).prefix(2) == ["general.architecture", "a.u8"])
        let tokens = try #require(file.value("tokenizer.ggml.tokens")?.arrayValue)
        #expect(try file.elements(of: tokens) == [.string("<s>"), .string("é"), .string("")])
        #expect(try file.elements(of: #require(file.value("a.numbers")?.arrayValue)) == [.uint32(5), .uint32(6)])
        #expect(file.value("a.empty")?.arrayValue?.count == 0)
        #expect(file.value("none") == nil)
        #expect(file.value("a.u64")?.intValue == nil && file.value("a.u64")?.text == "18446744073709551615")
        #expect(file.metadata?.first { $0.key == "tokenizer.ggml.tokens" }?.value == "[3 × string]")
    }

    /// Each value as a number, a truth value and text; nil where it is none.
    @Test func valuesAreWhatTheyAre() throws {
        let (directory, file) = try Self.open(Self.everything())
        defer { _ = directory }
        let numbers: [(ExactString, Int?, Double?, String)] = [
            ("a.u8", 200, 200, "200"), ("a.i8", -2, -2, "-2"), ("a.u16", 513, 513, "513"), ("a.i16", -1, -1, "-1"), ("a.u32", 7, 7, "7"),
            ("a.i32", -3, -3, "-3"), ("a.f32", nil, 0.5, "0.5"), ("a.bool", nil, nil, "true"), ("a.u64", nil, nil, "18446744073709551615"),
            ("a.i64", .min, -0x1p63, "-9223372036854775808"), ("a.f64", nil, 0.1, "0.1"), ("general.architecture", nil, nil, "llama"),
            ("a.numbers", nil, nil, "[2 × uint32]"),
        ]
        for (key, int, double, text) in numbers {
            let value = try #require(file.value(key))
            #expect(value.intValue == int && value.doubleValue == double && value.text == text, "\(key)")
            #expect(value.boolValue == (key == "a.bool" ? true : nil), "\(key)")
            #expect(value.stringValue == (key == "general.architecture" ? "llama" : nil), "\(key)")
            #expect((value.arrayValue == nil) == (key != "a.numbers"), "\(key)")
        }
        #expect(GGUFValue.bool(false).text == "false" && GGUFValue.bool(false).boolValue == false)
        // A type and a byte; an array is written with its elements, which a value does not have.
        #expect(GGUFValue.bool(false).encoded == [7, 0, 0, 0, 0] && GGUFValue.bool(true).encoded == [7, 0, 0, 0, 1])
        #expect(try #require(file.value("a.numbers")).encoded == nil)
        #expect(try file.encodedValue("a.u16") == [2, 0, 0, 0, 1, 2])
        #expect(try file.encodedValue("none") == nil)
    }

    /// The digest is that of all before the first tensor, however long that is, and of nothing behind.
    @Test func theDigestIsThatOfTheDirectory() throws {
        let directory = try TemporaryDirectory()
        var builder = Self.everything()
        builder.add("long", String(repeating: "0123456789abcdef", count: 100_000))
        let path = try directory.write(builder.file(), to: "long")
        let file = try GGUFFile.open(path)
        let start = Int(file.tensors[0].begin)
        #expect(start > 1_600_000 && start % 32 == 0)
        let digest = try file.headerSHA256()
        #expect(digest == SHA256.hash(Array(builder.file().prefix(start))))
        builder.tensors[0].data[0] ^= 1
        #expect(try GGUFFile.open(directory.write(builder.file(), to: "other")).headerSHA256() == digest)
        // A vocabulary alone ends before the place where tensors would begin.
        builder.tensors = []
        let whole = builder.file()
        #expect(whole.count % 32 != 0)
        #expect(try GGUFFile.open(directory.write(whole, to: "vocabulary")).headerSHA256() == SHA256.hash(whole))
    }

    @Test func noLayoutIsLongerThanAFile() throws {
        let tensor = GGUFLayout.Tensor(name: "a", type: .f32, shape: [1 << 26, 1 << 26])
        // 65 bytes of header and directory before it, up to the next multiple of 32.
        #expect(try GGUFLayout(metadata: [], tensors: [tensor]).totalBytes == 1 << 54 + 96)
        // 2^54 bytes each.
        let error = #expect(throws: PeftfileError.self) {
            try GGUFLayout(metadata: [], tensors: [tensor, .init(name: "b", type: .f32, shape: [1 << 26, 1 << 26])])
        }
        #expect(error?.rule == "GGUFShape" && error?.code == .malformed && error?.tensor == "b" && error?.message == "no file is that long")
        // A number of bytes beyond 63 bits is none.
        #expect(GGUFType.f64.byteCount([1 << 59]) == 1 << 62)
        #expect(GGUFType.f64.byteCount([1 << 30, 1 << 30]) == nil && GGUFType.f64.byteCount([1 << 40, 1 << 40]) == nil)
    }

    @Test func tensorsComeThrough() throws {
        let (directory, file) = try Self.open(Self.everything())
        defer { _ = directory }
        let expected: [(String, DType, Shape)] = [
            ("w", .f32, [3, 2]), ("scalar", .f32, []), ("half", .f16, [3]), ("brain", .bf16, [2, 1, 1, 1]), ("codes", .u8, [2, 68]),
            ("i", .i8, [2]), ("i16", .i16, [1]), ("i32", .i32, [1]), ("i64", .i64, [1]), ("d", .f64, [1]),
        ]
        #expect(file.tensors.map(\.name.text) == expected.map(\.0))
        for (tensor, (_, dtype, shape)) in zip(file.tensors, expected) {
            #expect(tensor.dtype == dtype && tensor.shape == shape, "\(tensor.name)")
            #expect(tensor.begin % 32 == 0)
        }
        for (tensor, written) in zip(file.tensors, Self.everything().tensors) {
            var bytes = [UInt8](repeating: 0, count: Int(tensor.byteCount))
            try bytes.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
            #expect(bytes == written.data, "\(tensor.name)")
        }
        #expect(file.blocks(of: file.tensors[4])?.type == .q8_0 && file.blocks(of: file.tensors[4])?.shape == [2, 64])
        #expect(file.blocks(of: file.tensors[0]) == nil && file.type(of: file.tensors[0]) == .f32)
    }

    @Test func otherAlignmentsAndVersion2() throws {
        for alignment in [1, 8, 64, 4096] {
            var builder = Self.everything()
            builder.version = 2
            builder.alignment = alignment
            builder.add("general.alignment", UInt32(alignment))
            let (directory, file) = try Self.open(builder)
            defer { _ = directory }
            #expect(file.version == 2 && file.alignment == alignment)
            #expect(file.tensors.allSatisfy { Int($0.begin) % alignment == 0 })
        }
    }

    /// Vocabularies alone have no tensors, and need no padding behind their metadata.
    @Test func noTensors() throws {
        var builder = GGUFBuilder()
        #expect(try Self.open(builder).1.tensors.isEmpty)
        builder.add("a", "b")
        #expect(try Self.open(builder).1.tensors.isEmpty)
    }

    /// Block sizes as gguf-py 0.19.0 has them (GGML_QUANT_SIZES), and for Q8_1, which no file holds, ggml-common.h.
    @Test func sizesAreGGMLs() {
        let sizes: [GGUFType: (Int, Int)] = [
            .q4_0: (32, 18), .q4_1: (32, 20), .q5_0: (32, 22), .q5_1: (32, 24), .q8_0: (32, 34), .q8_1: (32, 36), .q2_K: (256, 84),
            .q3_K: (256, 110), .q4_K: (256, 144), .q5_K: (256, 176), .q6_K: (256, 210), .q8_K: (256, 292), .iq2_XXS: (256, 66),
            .iq2_XS: (256, 74), .iq3_XXS: (256, 98), .iq1_S: (256, 50), .iq4_NL: (32, 18), .iq3_S: (256, 110), .iq2_S: (256, 82),
            .iq4_XS: (256, 136), .iq1_M: (256, 56), .tq1_0: (256, 54), .tq2_0: (256, 66), .mxfp4: (32, 17), .nvfp4: (64, 36),
            .q1_0: (128, 18), .f32: (1, 4), .f16: (1, 2), .bf16: (1, 2), .f64: (1, 8), .i8: (1, 1), .i16: (1, 2), .i32: (1, 4),
            .i64: (1, 8),
        ]
        for type in GGUFType.allCases {
            #expect(sizes[type].map { $0 == (type.blockElements, type.blockBytes) } == true, "\(type.name)")
        }
        #expect(GGUFType.q4_K.name == "Q4_K" && GGUFType.iq2_XXS.name == "IQ2_XXS" && GGUFType(.bf16) == .bf16 && GGUFType(.u8) == nil)
    }

    /// What the layout writes, the independent writer writes too, and the reader reads.
    @Test func layoutIsTheWriters() throws {
        var builder = Self.everything()
        let (directory, file) = try Self.open(builder)
        defer { _ = directory }
        var written = builder.file()
        for carried in [true, false] {
            let metadata = try file.values.map { key, value in
                let bytes: [UInt8]
                if case .array(let array) = value, !carried {
                    bytes = GGUFValue.encoded(array: try file.elements(of: array), of: array.elementType)
                } else {
                    bytes = try (carried ? file.encodedValue(key) : value.encoded) ?? []
                }
                return (key: key, value: bytes)
            }
            let layout = try GGUFLayout(
                metadata: metadata,
                tensors: file.tensors.map {
                    .init(name: $0.name, type: file.type(of: $0) ?? .q8_K, shape: file.blocks(of: $0)?.shape ?? $0.shape)
                }, alignment: file.alignment)
            #expect(layout.headerBytes == Array(written.prefix(layout.headerBytes.count)))
            #expect(layout.tensors == file.tensors && layout.totalBytes == UInt64(written.count))
            #expect(zip(layout.tensors, layout.padding).allSatisfy { (Int($0.end) + $1) % 32 == 0 })
        }
        builder.tensors = []
        written = builder.file()
        let metadata = try file.values.map { (key: $0.key, value: try file.encodedValue($0.key) ?? []) }
        #expect(try GGUFLayout(metadata: metadata, tensors: []).headerBytes == written)
        for bad in [
            GGUFLayout.Tensor(name: "", type: .f32, shape: [1]), .init(name: ExactString(String(repeating: "n", count: 64)), type: .f32, shape: [1]),
            .init(name: "a", type: .f32, shape: [1, 1, 1, 1, 1]), .init(name: "a", type: .q8_0, shape: [2, 33]), .init(name: "a", type: .f32, shape: [0]),
        ] {
            #expect(throws: PeftfileError.self) { try GGUFLayout(metadata: [], tensors: [bad]) }
        }
    }
}

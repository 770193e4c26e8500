import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Archives that NumPy and MLX wrote, against the same tensors in safetensors files that those libraries wrote.
@Suite struct NPZTests {
    @Test(arguments: ["numpy", "numpy-compressed", "mlx", "mlx-compressed"])
    func theArraysAreThoseOfTheLibrary(_ name: String) throws {
        let file = try ContainerKind.open(Fixtures.path("containers/npz/\(name).npz"))
        let library = String(name.split(separator: "-")[0])
        let expected = try SafetensorsFile.open(Fixtures.path("containers/npz/\(library).safetensors"))
        #expect(file.kind == .npz)
        #expect(file.tensors.count == expected.tensors.count && file.tensors.count >= 18)
        for tensor in file.tensors {
            let isComplex = tensor.dtype == .c64
            // safetensors' NumPy side has no complex numbers; there they are pairs.
            let name = ExactString(tensor.name.text + (isComplex ? " as F32" : ""))
            let wanted = try #require(expected.tensors.first { $0.name == name })
            #expect(isComplex || tensor.dtype == wanted.dtype && tensor.shape == wanted.shape, "\(tensor.name)")
            let bytes = try Self.bytes(of: wanted, in: expected)
            #expect(try Self.bytes(of: tensor, in: file) == bytes, "\(tensor.name)")
            // Any part alone, at any byte.
            for (begin, end) in [(1, 3), (3, 8), (5, 22)] where end <= bytes.count {
                var part = [UInt8](repeating: 0, count: end - begin)
                try part.withUnsafeMutableBytes { try file.read(tensor, at: UInt64(begin), into: $0) }
                #expect(part == Array(bytes[begin..<end]), "\(tensor.name) from \(begin) to \(end)")
            }
            if tensor.isContiguous {
                #expect(try file.reader.bytes(at: tensor.begin, count: bytes.count) == bytes)
            }
        }
        let inPlace = file.tensors.count(where: \.isContiguous)
        #expect(name.hasSuffix("compressed") ? inPlace == 0 : inPlace > 5 && inPlace < file.tensors.count)
    }

    private static func bytes(of tensor: TensorInfo, in file: any TensorFile) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(tensor.byteCount))
        try bytes.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
        return bytes
    }

    @Test func everyEntryIsAnArray() throws {
        let directory = try TemporaryDirectory()
        let array = NPYBuilder.array([0, 0, 0x80, 0x3F], shape: [1])
        for stranger in ["readme.txt", ".npy", "w", "w.NPY"] {
            let path = try directory.write(ZipFile.archive([.init("a.npy", array), .init(stranger, array)]), to: "f")
            let error = #expect(throws: PeftfileError.self) { try ContainerKind.open(path) }
            #expect(error?.rule == "NPZEntry", "\(stranger)")
        }
        // A pickle beside arrays is a torch file, and is held to those rules.
        let path = try directory.write(ZipFile.archive([.init("x/data.pkl", [0x80, 2, 0x7D, 0x2E]), .init("a.npy", array)]), to: "f")
        #expect(#expect(throws: PeftfileError.self) { try ContainerKind.open(path) }?.rule == "TorchLayout")
    }

    /// Refusals of an array for its header; the error names the tensor.
    static let headers: [(array: [UInt8], rule: String, code: PeftfileError.Code, words: String)] = [
        (NPYBuilder.array([], shape: [0], descr: "|O"), "NPYObject", .refused, "is an array of Python objects, which is a pickle"),
        (NPYBuilder.array([], shape: [0], descr: "<c16"), "NPYDType", .unsupported, #"has elements of type "<c16", which no tensor has"#),
        (NPYBuilder.array([], shape: [0], descr: "|f4"), "NPYDType", .unsupported, #"has elements of type "|f4", which no tensor has"#),
        (
            NPYBuilder.array(header: "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (0,), }", []), "NPYDType", .unsupported,
            "is an array of records"
        ),
        (magic + [1, 0], "NPYMagic", .malformed, "is no NumPy array"),
        (magic + [4, 0, 0, 0], "NPYMagic", .malformed, "is 4.0; 1.0, 2.0 and 3.0 are known"),
        (magic + [2, 0, 0, 0], "NPYHeader", .malformed, "the array ends inside the length of its header"),
        (magic + [3, 0, 5, 0, 0], "NPYHeader", .malformed, "the array ends inside the length of its header"),
        (magic + [2, 0, 5, 0, 0, 0], "NPYHeader", .malformed, "the array's header has 5 bytes, which are more than the file has"),
        (magic + [2, 0, 0, 0, 1, 0], "NPYHeader", .malformed, "the array's header has 65536 bytes, which are more than"),
        (NPYBuilder.array([0], shape: [0]), "NPYSize", .malformed, "has 1 bytes of elements, which are not those of F32 [0]"),
    ]
    private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

    @Test(arguments: headers.indices) func aBadHeaderIsRefusedByRule(_ number: Int) throws {
        let (array, rule, code, words) = Self.headers[number]
        let directory = try TemporaryDirectory()
        let path = try directory.write(ZipFile.archive([.init("w.npy", array)]), to: "f")
        let error = #expect(throws: PeftfileError.self) { try NPZFile.open(path) }
        #expect(error?.rule == rule && error?.code == code && error?.tensor == "w" && error?.file == path, "\(error as Any)")
        #expect(error?.message.contains(words) == true, "\(error as Any)")
    }

    /// Spaces pad a header as NumPy writes it, and its line ends where it does.
    @Test func paddingIsSpacesAndALineFeed() throws {
        let directory = try TemporaryDirectory()
        let dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }"
        for (padding, isGood) in [("", true), (String(repeating: " ", count: 60), true), ("\n", false), (" x", false), ("\t", false)] {
            let array = NPYBuilder.array(header: dict + padding, [0, 0, 0x80, 0x3F])
            let path = try directory.write(ZipFile.archive([.init("w.npy", array)]), to: "f")
            if isGood {
                let file = try NPZFile.open(path)
                #expect(try Self.bytes(of: file.tensors[0], in: file) == [0, 0, 0x80, 0x3F])
            } else {
                #expect(#expect(throws: PeftfileError.self) { try NPZFile.open(path) }?.rule == "NPYHeader", "\(padding)")
            }
        }
    }

    @Test func whatIsNotInTheArchiveIsSaidToBe() throws {
        let directory = try TemporaryDirectory()
        let archive = try ZipFile.archive([.init("w.npy", NPYBuilder.array([0, 0, 0x80, 0x3F], shape: [1]))])
        let file = try NPZFile.open(directory.write(archive, to: "f"))
        #expect(file.metadata == nil && file.isUnchecked(file.tensors[0]))
        var stranger = file.tensors[0]
        stranger.name = "v"
        #expect(!file.isUnchecked(stranger))
        let error = #expect(throws: PeftfileError.self) { try Self.bytes(of: stranger, in: file) }
        #expect(error?.code == .io && error?.tensor == "v" && error?.message == "is not in the file")
        // The end record's offset of the directory, which goes on to the end record.
        let begin = archive.suffix(6).prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        #expect(try file.headerSHA256() == SHA256.hash(Array(archive[begin..<(archive.count - 22)])))
    }

    @Test func aDamagedArrayIsNamedWhenItIsRead() throws {
        let directory = try TemporaryDirectory()
        var bytes = try ZipFile.archive([.init("w.npy", NPYBuilder.array([1, 2, 3, 4], shape: [1]))])
        let place = try #require(bytes.indices.first { bytes[$0...].starts(with: [1, 2, 3, 4]) })
        bytes[place] ^= 1
        let path = try directory.write(bytes, to: "f")
        let file = try ContainerKind.open(path)
        let error = #expect(throws: PeftfileError.self) { try Self.bytes(of: file.tensors[0], in: file) }
        #expect(error?.rule == "ZipCRC" && error?.tensor == "w")
    }

    /// Two numbers of 2^40 rows that are not there must not cost memory.
    @Test func whatIsDeclaredIsNotBelieved() throws {
        let directory = try TemporaryDirectory()
        for shape in [[1 << 40, 1 << 20], [1 << 62, 4, 0], [0, 1 << 62, 1 << 62]] {
            let path = try directory.write(ZipFile.archive([.init("w.npy", NPYBuilder.array([], shape: shape))]), to: "f")
            if shape[0] == 0 {
                // The product is 0 from the start: an empty tensor.
                #expect(try ContainerKind.open(path).tensors[0].byteCount == 0)
            } else {
                #expect(#expect(throws: PeftfileError.self) { try ContainerKind.open(path) }?.rule == "NPYSize", "\(shape)")
            }
        }
    }
}

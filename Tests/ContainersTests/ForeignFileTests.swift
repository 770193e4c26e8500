import ByteAccess
import Containers
import TestSupport
import Testing

@Suite struct ForeignFileTests {
    static let lfsPointer = """
        version https://git-lfs.github.com/spec/v1
        oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
        size 12345

        """

    /// A local file header with a name, as it begins a zip archive.
    static func zip(_ name: String) -> [UInt8] {
        [0x50, 0x4B, 3, 4] + [UInt8](repeating: 0, count: 22) + [UInt8(name.utf8.count), 0, 0, 0] + Array(name.utf8)
            + [1, 2, 3]
    }

    static let files: [(content: [UInt8], rule: String, words: String)] = [
        (Array(lfsPointer.utf8), "GitLFSPointer", "12345"),
        (Array("<!DOCTYPE html>\n<html><head>".utf8), "HTMLPage", "HTML"),
        (Array("\u{FEFF}\n <HTML lang=en>".utf8), "HTMLPage", "HTML"),
        (zip("archive/data.pkl"), "TorchCheckpoint", "torch"),
        (zip("model/.format_version"), "TorchCheckpoint", "torch"),
        (zip("arr_0.npy"), "NPZ", "NPZ"), (zip("readme.txt"), "ZipArchive", "unzip"),
        ([0x50, 0x4B, 5, 6] + [UInt8](repeating: 0, count: 18), "ZipArchive", "unzip"),
        (
            [0x80, 2, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E, 0x80, 2],
            "TorchCheckpoint", "torch"
        ),
        ([0x80, 4, 0x95, 0x10, 0, 0, 0, 0, 0, 0, 0], "Pickle", "pickle"), ([0x80, 2, 0x4E, 0x2E], "Pickle", "pickle"),
        (Array("GGUF".utf8) + [3, 0, 0, 0] + [UInt8](repeating: 0, count: 16), "GGUF", "GGUF"),
        ([0x93] + Array("NUMPY".utf8) + [1, 0, 0x76, 0], "NumPyArray", "NumPy"),
        ([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3], "GzipFile", "gzip -dc"),
        ([0x28, 0xB5, 0x2F, 0xFD, 0, 0, 0, 0, 0], "ZstandardFile", "zstd"),
        ([0x89] + Array("HDF\r\n\u{1A}\n".utf8) + [0], "HDF5", "HDF5"),
        (
            [UInt8](repeating: 0x61, count: 257) + Array("ustar\0".utf8) + [UInt8](repeating: 0, count: 250),
            "TarArchive", "tar"
        ),
        (Array(#"{"weight_map": {}, "metadata": {}}"#.utf8), "JSONText", "JSON"),
        ([], "HeaderTooSmall", "empty"), ([1, 2, 3], "HeaderTooSmall", "3 bytes"),
    ]

    @Test(arguments: files.indices)
    func eachIsRefusedByWhatItIs(number: Int) throws {
        let (content, rule, words) = Self.files[number]
        let directory = try TemporaryDirectory()
        // The extension says nothing.
        let path = try directory.write(content, to: "model.safetensors")
        let error = #expect(throws: PeftfileError.self) { try SafetensorsFile.open(path) }
        #expect(error?.rule == rule)
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        #expect(error?.file == path)
        #expect(error?.help != nil)

        let kinds: [String: ContainerKind] = ["TorchCheckpoint": .torch, "GGUF": .gguf, "NPZ": .npz]
        if let kind = kinds[rule] {
            #expect(try ContainerKind.recognise(FileReader(path: path)) == kind)
        } else {
            let error = #expect(throws: PeftfileError.self) { try ContainerKind.recognise(FileReader(path: path)) }
            #expect(error?.rule == rule)
        }
    }

    /// What `pickle.dumps(object, protocol)` of Python 3 gives for a dict and an OrderedDict, in protocols 0 and 1: none has a mark.
    static let oldPickles: [[UInt8]] = [
        [40, 100, 112, 48, 10, 86, 119, 10, 112, 49, 10, 40, 108, 112, 50, 10, 70, 49, 46, 48, 10, 97, 70, 50, 46, 48, 10, 97, 115, 86, 98, 10, 112, 51, 10, 40, 108, 112, 52, 10, 73, 48, 49, 10, 97, 78, 97, 115, 46],
        [125, 113, 0, 40, 88, 1, 0, 0, 0, 119, 113, 1, 93, 113, 2, 40, 71, 63, 240, 0, 0, 0, 0, 0, 0, 71, 64, 0, 0, 0, 0, 0, 0, 0, 101, 88, 1, 0, 0, 0, 98, 113, 3, 93, 113, 4, 40, 73, 48, 49, 10, 78, 101, 117, 46],
        [99, 99, 111, 108, 108, 101, 99, 116, 105, 111, 110, 115, 10, 79, 114, 100, 101, 114, 101, 100, 68, 105, 99, 116, 10, 112, 48, 10, 40, 116, 82, 112, 49, 10, 86, 97, 10, 112, 50, 10, 40, 73, 49, 10, 73, 50, 10, 116, 112, 51, 10, 115, 46],
        [99, 99, 111, 108, 108, 101, 99, 116, 105, 111, 110, 115, 10, 79, 114, 100, 101, 114, 101, 100, 68, 105, 99, 116, 10, 113, 0, 41, 82, 113, 1, 88, 1, 0, 0, 0, 97, 113, 2, 40, 75, 1, 75, 2, 116, 113, 3, 115, 46],
    ]

    @Test(arguments: oldPickles) func aPickleWithoutAMarkIsKnownByItsOpcodes(_ content: [UInt8]) throws {
        let directory = try TemporaryDirectory()
        func kind(_ bytes: [UInt8]) throws -> ForeignFile? {
            try ForeignFile.identify(FileReader(path: directory.write(bytes, to: "file")))
        }
        #expect(try kind(content) == .pickle)
        // Without its end, or with something behind it, nothing says that it is one.
        #expect(try kind(content.dropLast()) == nil)
        #expect(try kind(content + [0x2E]) == nil)
    }

    @Test(arguments: ["(hello.", "I5\n.", "Nothing here.", "(dp0\n", "."]) func textIsNoPickle(_ text: String) throws {
        let directory = try TemporaryDirectory()
        let reader = try FileReader(path: directory.write(Array(text.utf8), to: "file"))
        #expect(try ForeignFile.identify(reader) == nil)
    }

    @Test func aPointersOidAndCommandAreTold() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write(Self.lfsPointer, to: "model.safetensors")
        let error = #expect(throws: PeftfileError.self) { try SafetensorsFile.open(path) }
        #expect(
            error?.message.contains("sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393") == true)
        #expect(error?.help == "git -C \(directory.path) lfs pull --include model.safetensors")
    }

    @Test func aBrokenSafetensorsFileIsNotTakenForAPickle() throws {
        // A header of 640 bytes: its length begins like a pickle of protocol 2.
        let directory = try TemporaryDirectory()
        let header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"
        let json = Array((header + String(repeating: " ", count: 640 - header.utf8.count)).utf8)
        let whole = [0x80, 0x02, 0, 0, 0, 0, 0, 0] + json + [1, 2, 3, 4]
        #expect(try SafetensorsFile.open(directory.write(whole, to: "whole")).tensors.count == 1)
        for (count, rule) in [(whole.count - 1, "MetadataIncompleteBuffer"), (100, "InvalidHeaderLength")] {
            let path = try directory.write(Array(whole[..<count]), to: "cut")
            #expect((#expect(throws: PeftfileError.self) { try SafetensorsFile.open(path) })?.rule == rule)
            #expect(try ContainerKind.recognise(FileReader(path: path)) == .safetensors)
        }
    }

    @Test func whatIsNotKnownIsSaidToBe() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write([UInt8](repeating: 0xFF, count: 64), to: "file")
        let error = #expect(throws: PeftfileError.self) { try ContainerKind.recognise(FileReader(path: path)) }
        #expect(error?.rule == "UnknownContainer")
    }
}

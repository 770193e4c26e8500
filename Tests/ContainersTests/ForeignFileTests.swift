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
        ([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3], "GzipFile", "gunzip"),
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

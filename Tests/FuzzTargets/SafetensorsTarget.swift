public import ByteAccess
import Containers
import Tensors
import TestSupport

/// safetensors: the header is cut into tokens, and its length always fits.
public struct SafetensorsTarget: FuzzTarget {
    public let name = "safetensors"
    public init() {}

    private static let words = JSONPieces.words + [
        "\"__metadata__\"", "\"dtype\"", "\"shape\"", "\"data_offsets\"", "\"BF16\"", "\"F32\"", "\"F4\"", "\"F6_E2M3\"", "\"BOOL\"", "\"C64\"",
        "\"F8_E4M3\"", "[0,0]", "[0,4]", "[4,8]", "[8,4]", "[0,9223372036854775808]", "[9223372036854775807]",
        "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},", "\"__metadata__\":{\"format\":\"pt\"},", "\"__metadata__\":null,",
        "    ",
    ].map { Array($0.utf8) }

    public func seeds() throws -> [[UInt8]] { try Seeds.files(in: "containers/safetensors/files", endingIn: "", below: 1500) }

    public func pieces(of file: [UInt8]) -> Pieces {
        guard let length = file.little(8, at: 0), length <= UInt64(file.count - 8) else {
            return Pieces([file], dictionary: Self.words)
        }
        let end = 8 + Int(length)
        // The bytes behind the header come last, in one piece.
        return Pieces(JSONPieces.of(file[8..<end]) + [Array(file[end...])], dictionary: Self.words)
    }

    public func file(from pieces: Pieces) -> [UInt8] {
        var header: [UInt8] = []
        for item in pieces.items.dropLast() { header.append(contentsOf: item) }
        return .little(UInt64(header.count), 8) + header + (pieces.items.last ?? [])
    }

    public func read(_ reader: FileReader) throws {
        let file = try SafetensorsFile.open(reader)
        var end = file.headerBytes.upperBound
        for tensor in file.tensors {
            guard tensor.begin == end, tensor.end >= end else { throw FuzzFailure("tensors that do not follow each other") }
            end = tensor.end
            guard file[tensor.name] == tensor else { throw FuzzFailure("a tensor that is not found by its name") }
            var bytes = [UInt8](repeating: 0, count: Int(tensor.byteCount))
            try bytes.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
        }
        guard end == reader.size else { throw FuzzFailure("bytes that no tensor has") }
    }
}

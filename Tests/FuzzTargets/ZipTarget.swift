public import ByteAccess
import Containers
import TestSupport

/// Zip archives: the directory, the entries' headers and the data of deflate, under the containers that are made of them.
public struct ZipTarget: FuzzTarget {
    public let name = "zip"
    public init() {}

    private static let words: [[UInt8]] = [
        [0x50, 0x4B, 1, 2], [0x50, 0x4B, 3, 4], [0x50, 0x4B, 5, 6], [0x50, 0x4B, 6, 6], [0x50, 0x4B, 6, 7], [0x50, 0x4B, 7, 8],
        Array("a/data.pkl".utf8), Array("a/data/0".utf8), Array("a/byteorder".utf8), Array("../x".utf8), Array("a/data/0\0".utf8),
        [0x01, 0x00, 0x10, 0x00], [0xFF, 0xFF, 0xFF, 0xFF], [0, 0, 0, 0], [8, 0], [0, 8], [8, 8], [1, 8],
        // An end record of no entries, and an empty deflate stream.
        [0x50, 0x4B, 5, 6] + [UInt8](repeating: 0, count: 18), [3, 0],
    ]

    public func seeds() throws -> [[UInt8]] {
        let view = TorchBuilder.View(name: "t", key: "0", count: 6, shape: [2, 3], strides: [3, 1])
        let made = try [false, true].map {
            try TorchBuilder.file(
                pickle: TorchBuilder.pickle([view]), storages: [(key: "0", bytes: [UInt8](repeating: 7, count: 24))], isDeflated: $0)
        }
        return try made + Seeds.files(in: "containers/torch/files", endingIn: ".bin", below: 2200).filter { $0.starts(with: [0x50, 0x4B]) }
    }

    public func pieces(of file: [UInt8]) -> Pieces { Pieces(ZipPieces.of(file), dictionary: Self.words) }

    public func read(_ reader: FileReader) throws { try PickleTarget.readTensors(try ContainerKind.open(reader)) }
}

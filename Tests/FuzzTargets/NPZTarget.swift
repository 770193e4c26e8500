public import ByteAccess
import Containers
import Tensors
import TestSupport

/// NPZ: the dict in an array's header is cut into tokens, and the archive around it is made anew so that lengths and CRC fit.
public struct NPZTarget: FuzzTarget {
    public let name = "npz"
    public init() {}

    private static let words: [[UInt8]] = [
        "{", "}", "(", ")", "[", "]", ",", ":", "'", "\"", "\\", " ", "\n", "#", "'descr'", "'fortran_order'", "'shape'", "True", "False", "None", "0",
        "-1", "00", "1", "3L", "1_0", "9223372036854775807", "9223372036854775808", "18446744073709551616", "99999999999999999999999999", "'<f4'",
        "'>f8'", "'|O'", "'<f2'", "'|b1'", "'<c8'", "'<U4'", "'|V8'", "'=f4'", "'<f16'", "[('a', '<f4')]", "(2, 3)", "(,)", "()", "(1e3,)", "\\x00", "\u{1B}[2J",
        "'shape': (4611686018427387904, 4), ", "'descr': '<f4', ", "((((((((((((((((", "        ",
    ].map { Array($0.utf8) } + [[0], [0xFF], [0xC3]]

    public func seeds() throws -> [[UInt8]] {
        let elements = (0..<48).map { UInt8($0) }
        let arrays = [
            NPYBuilder.array(elements, shape: [3, 4]), NPYBuilder.array(elements, shape: [2, 3, 2], isFortran: true),
            NPYBuilder.array(elements, shape: [24], descr: "<f2"), NPYBuilder.array(elements, shape: [6], descr: ">f8"),
            NPYBuilder.array(Array(elements[..<4]), shape: []), NPYBuilder.array([], shape: [0, 3]),
        ]
        return try arrays.map { try ZipFile.archive([.init("w.npy", $0)]) }
    }

    /// The name of the archive's first array, the tokens of its header, its elements; where there is no such array, the archive's pieces
    /// behind an empty one.
    public func pieces(of file: [UInt8]) -> Pieces {
        guard let entry = ZipPieces.entries(of: file)?.first, entry.method == 0, !entry.name.isEmpty else {
            return Pieces([[]] + ZipPieces.of(file), dictionary: Self.words)
        }
        let array = Array(file[entry.data])
        guard let length = array.little(2, at: 8), 10 + Int(length) <= array.count else {
            return Pieces([[]] + ZipPieces.of(file), dictionary: Self.words)
        }
        let end = 10 + Int(length)
        return Pieces([entry.name] + JSONPieces.of(array[10..<end]) + [Array(array[end...])], dictionary: Self.words)
    }

    public func file(from pieces: Pieces) -> [UInt8] {
        guard let name = pieces.items.first, !name.isEmpty, name.count < 1000, pieces.items.count > 1 else {
            return Array(pieces.items.joined())
        }
        var header: [UInt8] = []
        for item in pieces.items.dropFirst().dropLast() { header.append(contentsOf: item) }
        let array = [0x93] + Array("NUMPY".utf8) + [1, 0] + .little(UInt64(header.count), 2) + header + (pieces.items.last ?? [])
        return (try? ZipFile.archive([.init(String(decoding: name, as: UTF8.self), array)])) ?? array
    }

    public func read(_ reader: FileReader) throws {
        let file = try ContainerKind.open(reader)
        for tensor in file.tensors {
            guard tensor.byteCount <= max(1 << 20, reader.size * 1032) else { throw FuzzFailure("more elements than the file can give") }
            var bytes = [UInt8](repeating: 0, count: Int(min(tensor.byteCount, 1 << 16)))
            try bytes.withUnsafeMutableBytes { try file.read(tensor, at: tensor.byteCount - UInt64($0.count), into: $0) }
        }
    }
}

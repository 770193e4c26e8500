public import ByteAccess
import Containers
import Tensors
import TestSupport

/// GGUF: counts, metadata and the tensors' entries are cut into their fields, and the data begins where the alignment wants it.
public struct GGUFTarget: FuzzTarget {
    public let name = "gguf"
    public init() {}

    private static let words: [[UInt8]] =
        (0...13).map { .little(UInt64($0), 4) } + [
            .little(.max, 8), .little(1 << 63, 8), .little(UInt64(Int64.max), 8), .little(1 << 40, 8), .little(0, 8), .little(1, 8), .little(5, 8),
            .little(0xFFFF_FFFF, 4), .little(28, 4), .little(30, 4), .little(39, 4), .little(24, 4),
            [0xFF, 0xC0], [0x1B, 0x5B, 0x32, 0x4A], .little(17, 8) + Array("general.alignment".utf8) + .little(4, 4) + .little(64, 4),
            // An array of arrays of arrays.
            .little(9, 4) + .little(9, 4) + .little(1, 8) + .little(9, 4) + .little(1, 8),
        ]

    public func seeds() throws -> [[UInt8]] {
        var small = GGUFBuilder()
        small.add("general.architecture", "llama")
        small.tensors = [.init("w", [2, 3], GGUFBuilder.bytes([1, 2, 3, 4, 5, 6]))]
        var large = small
        large.add("a.u32", 7 as UInt32)
        large.add("a.f32", 0.5 as Float)
        large.add("general.alignment", 32 as UInt32)
        large.add("tokenizer.ggml.tokens", texts: ["<s>", "é", ""])
        large.add("a.numbers", numbers: [5, 6])
        large.tensors += [
            .init("half", [3], type: 1, [0, 0x3C, 0, 0xC0, 1, 0]), .init("codes", [64, 2], type: 8, [UInt8](repeating: 3, count: 136)),
            .init("i64", [1], type: 27, [UInt8](0..<8)),
        ]
        var empty = GGUFBuilder()
        empty.add("a.empty", texts: [])
        return [small.file(), large.file(), empty.file()]
    }

    public func pieces(of file: [UInt8]) -> Pieces {
        guard let directory = Self.directory(of: file) else { return Pieces([file, []], dictionary: Self.words) }
        let data = min(file.count, (directory.end + 31) / 32 * 32)
        return Pieces(directory.items + [Array(file[data...])], dictionary: Self.words)
    }

    public func file(from pieces: Pieces) -> [UInt8] {
        var bytes: [UInt8] = []
        for item in pieces.items.dropLast() { bytes.append(contentsOf: item) }
        bytes.append(contentsOf: [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32))
        return bytes + (pieces.items.last ?? [])
    }

    public func read(_ reader: FileReader) throws {
        let file = try GGUFFile.open(reader)
        for tensor in file.tensors {
            guard tensor.end >= tensor.begin, tensor.end <= reader.size else { throw FuzzFailure("a tensor outside the file") }
            var bytes = [UInt8](repeating: 0, count: Int(tensor.byteCount))
            try bytes.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
            if let blocks = file.blocks(of: tensor), blocks.shape.isEmpty { throw FuzzFailure("blocks without a row") }
        }
        for (key, value) in file.values {
            if let array = value.arrayValue, try file.elements(of: array).count != array.count { throw FuzzFailure("elements that are not there") }
            _ = try file.encodedValue(key)
            _ = value.text
        }
    }

    /// The fields up to the padding; nil where the file ends before them.
    private static func directory(of file: [UInt8]) -> (items: [[UInt8]], end: Int)? {
        var items: [[UInt8]] = []
        var position = 0
        func number(_ width: Int) -> UInt64? {
            guard let value = file.little(width, at: position) else { return nil }
            items.append(Array(file[position..<(position + width)]))
            position += width
            return value
        }
        func bytes(_ count: UInt64) -> Bool {
            guard count <= UInt64(file.count - position) else { return false }
            items.append(Array(file[position..<(position + Int(count))]))
            position += Int(count)
            return true
        }
        func text() -> Bool { number(8).map(bytes) ?? false }
        let widths: [UInt64] = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]
        func value(_ type: UInt64) -> Bool {
            switch type {
            case 8: return text()
            case 9:
                guard let inner = number(4), let count = number(8), count < 1000 else { return false }
                return inner != 9 && (0..<count).allSatisfy { _ in value(inner) }
            default: return type < 13 && bytes(widths[Int(type)])
            }
        }
        guard number(4) != nil, number(4) != nil, let tensors = number(8), let keys = number(8), tensors < 1000, keys < 1000 else { return nil }
        for _ in 0..<keys { guard text(), let type = number(4), value(type) else { return nil } }
        for _ in 0..<tensors {
            guard text(), let dimensions = number(4), dimensions < 10, (0..<dimensions).allSatisfy({ _ in number(8) != nil }), number(4) != nil,
                number(8) != nil
            else { return nil }
        }
        return (items, position)
    }
}

import Peftfile

/// The base as one torch file, as `torch.save` writes it: a zip archive of stored records, each at a multiple of 64 bytes, with
/// the CRC-32 of each. Without zip64, so below 4 GiB.
struct TorchBase {
    let tensors: [Tensor]

    static let fileName = "pytorch_model.bin"
    static let limit = 4_000_000_000

    /// Writes the file, one tensor after the other; the bytes are those of the safetensors base.
    func write(to path: String) throws {
        let writer = try FileWriter(path: path, replacing: true)
        var offset = 0
        var directory: [UInt8] = []
        var count = 0
        func close(_ name: String, size: Int, crc: UInt32, at header: Int, data: Int) throws {
            let local = Self.localHeader(name, size: size, crc: crc, padding: data - header - 30 - name.utf8.count)
            try writer.write(local, at: UInt64(header))
            directory += Self.entry(name, size: size, crc: crc, at: header)
            count += 1
            offset = data + size
        }
        func begin(_ name: String) -> Int { (offset + 30 + name.utf8.count + 4 + 63) / 64 * 64 }

        let pickle = self.pickle
        let start = begin("model/data.pkl")
        try writer.write(pickle, at: UInt64(start))
        try close("model/data.pkl", size: pickle.count, crc: CRC.of(pickle), at: offset, data: start)
        for (number, tensor) in tensors.enumerated() {
            let name = "model/data/\(number)"
            let data = begin(name)
            var crc = CRC()
            for first in stride(from: 0, to: tensor.count, by: 1 << 20) {
                var random = Normal(seed: "base \(tensor.name) \(first)")
                var bytes = [UInt8](repeating: 0, count: min(1 << 20, tensor.count - first) * tensor.width)
                bytes.withUnsafeMutableBytes { random.fill($0, with: tensor) }
                crc.update(bytes)
                try writer.write(bytes, at: UInt64(data + first * tensor.width))
            }
            try close(name, size: tensor.bytes, crc: crc.value, at: offset, data: data)
        }
        let end = directory.count
        directory += [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + Self.le(count, 2) + Self.le(count, 2) + Self.le(end, 4) + Self.le(offset, 4) + [0, 0]
        try writer.write(directory, at: UInt64(offset))
        try writer.commit()
    }

    /// A dict of tensors, each a storage of its own, in protocol 2.
    private var pickle: [UInt8] {
        func text(_ text: String) -> [UInt8] { [0x58] + Self.le(text.utf8.count, 4) + Array(text.utf8) }
        func int(_ number: Int) -> [UInt8] { [0x4A] + Self.le(number, 4) }
        func global(_ name: String) -> [UInt8] { [0x63] + Array("\(name)\n".utf8) }
        func tuple(_ numbers: [Int]) -> [UInt8] { [0x28] + numbers.flatMap(int) + [0x74] }
        var bytes: [UInt8] = [0x80, 2, 0x7D, 0x28]
        for (number, tensor) in tensors.enumerated() {
            let strides = tensor.shape.indices.map { tensor.shape[($0 + 1)...].reduce(1, *) }
            bytes += text(tensor.name) + global("torch._utils\n_rebuild_tensor_v2") + [0x28]
            bytes += [0x28] + text("storage") + global("torch\n\(tensor.width == 2 ? "BFloat16Storage" : "FloatStorage")")
            bytes += text("\(number)") + text("cpu") + int(tensor.count) + [0x74, 0x51]
            bytes += int(0) + tuple(tensor.shape) + tuple(strides) + [0x89]
            bytes += global("collections\nOrderedDict") + [0x29, 0x52, 0x74, 0x52]
        }
        return bytes + [0x75, 0x2E]
    }

    private static func le(_ number: Int, _ width: Int) -> [UInt8] {
        (0..<width).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    private static func common(_ name: String, size: Int, crc: UInt32, extra: Int) -> [UInt8] {
        [0, 8, 0, 0, 0, 0, 0, 0] + le(Int(crc), 4) + le(size, 4) + le(size, 4) + le(name.utf8.count, 2) + le(extra, 2)
    }

    /// torch pads with an extra field of its own, "FB".
    private static func localHeader(_ name: String, size: Int, crc: UInt32, padding: Int) -> [UInt8] {
        [0x50, 0x4B, 3, 4, 0, 0] + common(name, size: size, crc: crc, extra: padding) + Array(name.utf8)
            + [0x46, 0x42] + le(padding - 4, 2) + [UInt8](repeating: 0x5A, count: padding - 4)
    }

    private static func entry(_ name: String, size: Int, crc: UInt32, at header: Int) -> [UInt8] {
        [0x50, 0x4B, 1, 2, 0, 0, 0, 0] + common(name, size: size, crc: crc, extra: 0)
            + [0, 0, 0, 0, 0, 0, 0, 0, 0, 0] + le(header, 4) + Array(name.utf8)
    }
}

/// CRC-32 as zip has it, eight bytes at a time by tables (M. Kounavis and F. Berry, "A systematic approach to building high
/// performance software-based CRC generators", 2005).
private struct CRC {
    private var state: UInt32 = 0xFFFF_FFFF
    var value: UInt32 { ~state }

    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var crc = UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
            tables[byte] = crc
        }
        for index in 256..<(8 * 256) {
            let before = tables[index - 256]
            tables[index] = before >> 8 ^ tables[Int(before & 0xFF)]
        }
        return tables
    }()

    static func of(_ bytes: [UInt8]) -> UInt32 {
        var crc = CRC()
        crc.update(bytes)
        return crc.value
    }

    mutating func update(_ bytes: [UInt8]) {
        var crc = state
        bytes.withUnsafeBytes { bytes in
            CRC.tables.withUnsafeBufferPointer { tables in
                var index = 0
                while index + 8 <= bytes.count {
                    let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)) ^ UInt64(crc)
                    crc = 0
                    for byte in 0..<8 { crc ^= tables[(7 - byte) * 256 + Int(word >> UInt64(8 * byte) & 0xFF)] }
                    index += 8
                }
                while index < bytes.count {
                    crc = crc >> 8 ^ tables[Int((crc ^ UInt32(bytes[index])) & 0xFF)]
                    index += 1
                }
            }
        }
        state = crc
    }
}

import CZlib

/// Zip archives for tests, as torch writes them: stored or deflated entries, sizes and CRC in both headers.
public enum ZipFile {
    public struct Entry {
        public var name: String
        public var content: [UInt8]
        public var isDeflated: Bool
        /// What stands in the archive, where it is not the content or what deflate makes of it.
        public var data: [UInt8]?

        public init(_ name: String, _ content: [UInt8], isDeflated: Bool = false, data: [UInt8]? = nil) {
            (self.name, self.content, self.isDeflated, self.data) = (name, content, isDeflated, data)
        }
    }

    /// The bytes of an archive.
    public static func archive(_ entries: [Entry]) throws -> [UInt8] {
        var file: [UInt8] = []
        var directory: [UInt8] = []
        for entry in entries {
            let data = try entry.data ?? (entry.isDeflated ? deflated(entry.content) : entry.content)
            let name = Array(entry.name.utf8)
            let crc = entry.content.withUnsafeBufferPointer { UInt32(crc32_z(0, $0.baseAddress, $0.count)) }
            let common =
                le(UInt16(0x0800)) + le(UInt16(entry.isDeflated ? 8 : 0)) + le(UInt32(0)) + le(crc)
                + le(UInt32(data.count)) + le(UInt32(entry.content.count)) + le(UInt16(name.count)) + le(UInt16(0))
            directory += [0x50, 0x4B, 1, 2, 20, 0, 20, 0] + common
            directory += le(UInt16(0)) + le(UInt16(0)) + le(UInt16(0)) + le(UInt32(0)) + le(UInt32(file.count)) + name
            file += [0x50, 0x4B, 3, 4, 20, 0] + common + name + data
        }
        let end =
            [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + le(UInt16(entries.count)) + le(UInt16(entries.count))
            + le(UInt32(directory.count)) + le(UInt32(file.count)) + le(UInt16(0))
        return file + directory + end
    }

    /// Raw deflate data of some bytes.
    public static func deflated(_ bytes: [UInt8]) throws -> [UInt8] {
        var stream = z_stream()
        let version = deflateInit2_(
            &stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard version == Z_OK else { throw TestSupportError("zlib does not start") }
        defer { deflateEnd(&stream) }
        var input = bytes
        var output = [UInt8](repeating: 0, count: Int(deflateBound(&stream, uLong(bytes.count))))
        let count = try input.withUnsafeMutableBufferPointer { input in
            try output.withUnsafeMutableBufferPointer { output in
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                stream.next_out = output.baseAddress
                stream.avail_out = UInt32(output.count)
                guard deflate(&stream, Z_FINISH) == Z_STREAM_END else { throw TestSupportError("zlib does not end") }
                return output.count - Int(stream.avail_out)
            }
        }
        return Array(output[..<count])
    }

    private static func le<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }
}

import CZlib

/// Unpacks gzip, for fixtures that are stored compressed.
public enum Gzip {
    /// The bytes of a gzip file's only member; its CRC is checked.
    public static func unpacked(_ packed: [UInt8]) throws -> [UInt8] {
        var stream = z_stream()
        // 16 + 15: a gzip header, the largest window.
        guard inflateInit2_(&stream, 16 + 15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw TestSupportError("zlib does not start")
        }
        defer { inflateEnd(&stream) }
        var input = packed
        var output: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 18)
        return try input.withUnsafeMutableBufferPointer { input in
            stream.next_in = input.baseAddress
            stream.avail_in = UInt32(input.count)
            while true {
                let (status, count) = part.withUnsafeMutableBufferPointer { part in
                    stream.next_out = part.baseAddress
                    stream.avail_out = UInt32(part.count)
                    let status = inflate(&stream, Z_NO_FLUSH)
                    return (status, part.count - Int(stream.avail_out))
                }
                output.append(contentsOf: part[..<count])
                if status == Z_STREAM_END { return output }
                guard status == Z_OK else { throw TestSupportError("not a whole gzip file: zlib says \(status)") }
            }
        }
    }
}

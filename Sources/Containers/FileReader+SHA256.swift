import ByteAccess
import Tensors

extension FileReader {
    /// The SHA-256 of a range of the file, of which a megabyte is held at a time.
    ///
    /// - Throws: `.io` where the file does not have these bytes or cannot be read.
    func sha256(of range: Range<UInt64>) throws -> [UInt8] {
        var hash = SHA256()
        try update(&hash, with: range)
        return hash.finalize()
    }

    /// Hashes a range of the file behind what was hashed before.
    ///
    /// - Throws: `.io` where the file does not have these bytes or cannot be read.
    func update(_ hash: inout SHA256, with range: Range<UInt64>) throws {
        var position = range.lowerBound
        while position < range.upperBound {
            let count = min(1 << 20, range.upperBound - position)
            hash.update(try bytes(at: position, count: Int(count)))
            position += count
        }
    }
}

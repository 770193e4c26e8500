internal import CKernels

/// SHA-256 of a stream of bytes (FIPS 180-4), by the SHA extensions of the processor where it has them.
///
///     var hash = SHA256()
///     hash.update(bytes)
///     let hex = SHA256.hex(hash.finalize())
///
/// A copy continues on its own, so the hash of a prefix can be taken on the way.
public struct SHA256: Sendable {
    private var state = ck_sha256()

    /// The hash of nothing yet.
    public init() { self.init(by: .active) }

    /// The hash by a chosen form of the kernel.
    init(by path: KernelPath) { ck_sha256_start(&state, path.path) }

    /// Hashes the next bytes of the stream. Where the stream is cut into calls makes no difference.
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard let from = bytes.baseAddress else { return }
        ck_sha256_update(&state, from, bytes.count)
    }

    /// Hashes the next bytes of the stream.
    public mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    /// The digest of all bytes so far, 32 bytes. The running hash is not disturbed: it can be continued.
    public func finalize() -> [UInt8] {
        var last = state
        return [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            guard let to = buffer.baseAddress else { return }
            ck_sha256_finish(&last, to)
            count = 32
        }
    }

    /// The digest of `bytes`, 32 bytes.
    public static func hash(_ bytes: [UInt8]) -> [UInt8] {
        var running = SHA256()
        running.update(bytes)
        return running.finalize()
    }

    /// Bytes as lower-case hexadecimal digits, two a byte.
    public static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}

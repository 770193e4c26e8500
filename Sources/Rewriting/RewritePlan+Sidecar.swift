import ByteAccess
import Tensors

extension RewritePlan.Sidecar {
    /// Writes the file.
    ///
    /// - Parameters:
    ///   - total: what rounding left of all updates.
    ///   - durable: whether it is on disk before it has its name.
    /// - Returns: the SHA-256 of its bytes in hex, where `hashing` asks for it.
    func write(to path: String, hashing: Bool, durable: Bool, total: UpdateStatistics = UpdateStatistics()) throws -> String? {
        func whole(_ bytes: [UInt8]) throws -> String? {
            try FileWriter.write(bytes, to: path, durable: durable)
            return hashing ? SHA256.hex(SHA256.hash(bytes)) : nil
        }
        switch content {
        case .bytes(let bytes): return try whole(bytes)
        case .figures(let text): return try whole(text(total))
        case .copy(let source):
            let parent = FileSystem.directory(of: path)
            if !FileSystem.exists(parent) { try FileSystem.makeDirectory(parent, withParents: true) }
            let reader = try FileReader(path: source)
            let writer = try FileWriter(path: path)
            do {
                var hash = SHA256()
                guard reader.size == byteCount else {
                    throw PeftfileError(
                        .io, "had \(byteCount) bytes when the output was planned, and has \(reader.size)", file: source, rule: "InputChanged",
                        help: "run the command again when nothing writes there")
                }
                try writer.allocate(byteCount)
                var offset: UInt64 = 0
                while offset < reader.size {
                    try Interruption.check()
                    let bytes = try reader.bytes(at: offset, count: Int(min(reader.size - offset, 1 << 20)))
                    if hashing { hash.update(bytes) }
                    try writer.write(bytes, at: offset)
                    offset += UInt64(bytes.count)
                }
                try reader.requireUnchanged()
                try writer.commit(durable: durable)
                return hashing ? SHA256.hex(hash.finalize()) : nil
            } catch {
                writer.discard()
                throw error
            }
        }
    }
}

import ByteAccess
import Tensors

extension RewritePlan.Sidecar {
    /// Writes the file.
    ///
    /// - Returns: the SHA-256 of its bytes in hex, where `hashing` asks for it.
    func write(to path: String, hashing: Bool) throws -> String? {
        switch content {
        case .bytes(let bytes):
            try FileWriter.write(bytes, to: path)
            return hashing ? SHA256.hex(SHA256.hash(bytes)) : nil
        case .copy(let source):
            let parent = FileSystem.directory(of: path)
            if !FileSystem.exists(parent) { try FileSystem.makeDirectory(parent, withParents: true) }
            let reader = try FileReader(path: source)
            let writer = try FileWriter(path: path)
            do {
                var hash = SHA256()
                var offset: UInt64 = 0
                while offset < reader.size {
                    try Interruption.check()
                    let bytes = try reader.bytes(at: offset, count: Int(min(reader.size - offset, 1 << 20)))
                    if hashing { hash.update(bytes) }
                    try writer.write(bytes, at: offset)
                    offset += UInt64(bytes.count)
                }
                try writer.commit()
                return hashing ? SHA256.hex(hash.finalize()) : nil
            } catch {
                writer.discard()
                throw error
            }
        }
    }
}

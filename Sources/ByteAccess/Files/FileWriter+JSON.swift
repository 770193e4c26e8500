extension FileWriter {
    /// Writes a document from the first byte on, indented by two, with a line break at its end. A long one is written as it is made, and
    /// never held whole.
    ///
    /// - Throws: what `write(_:at:)` throws.
    public func write(_ document: JSONValue) throws {
        var offset: UInt64 = 0
        var failure: (any Error)?
        document.serialized(indent: 2) { piece in
            guard failure == nil else { return }
            do {
                try self.write(piece, at: offset)
                offset += UInt64(piece.count)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        try write([0x0A], at: offset)
    }

    /// Writes a document as a file of its own.
    ///
    /// - Throws: what ``init(path:replacing:lock:)``, `write(_:at:)` and ``commit(durable:)`` throw.
    public static func write(_ document: JSONValue, to path: String, durable: Bool = true) throws {
        let writer = try FileWriter(path: path)
        do {
            try writer.write(document)
            try writer.commit(durable: durable)
        } catch {
            writer.discard()
            throw error
        }
    }
}

extension JSONValue {
    /// The size of the file that ``FileWriter`` makes of the document.
    public var fileSize: UInt64 {
        var size: UInt64 = 1
        serialized(indent: 2) { size += UInt64($0.count) }
        return size
    }
}

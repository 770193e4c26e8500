import ByteAccess

/// An output that is one file: it gets its name, and its receipt stands beside it as `OUT.receipt.json`.
enum ReceiptedFile {
    /// Where the receipt of a file is.
    static func receiptPath(of path: String) -> String { path + ".receipt.json" }

    /// Gives the file its name, then the receipt. Both are on disk before the first of them is named, so that what can fail has failed
    /// while the target and its old receipt are as they were. A process that dies between the two names leaves the new file beside the
    /// old receipt, whose hash it does not have.
    ///
    /// - Throws: what ``FileWriter`` throws. Where the file is in place and only the receipt is not, or neither name could be made
    ///   durable, the message says so, and no receipt of an older file is left.
    static func publish(_ writer: FileWriter, receipt: JSONValue, replacing: Bool, durable: Bool, lock: OutputLock) throws {
        let path = receiptPath(of: writer.path)
        let page = try FileWriter(path: path, replacing: replacing, lock: lock)
        do {
            try page.write(receipt)
            if durable {
                try writer.synchronise()
                try page.synchronise()
            }
            try writer.commit(durable: false)
        } catch {
            page.discard()
            throw error
        }
        do {
            try page.commit(durable: false)
        } catch let error as PeftfileError {
            if replacing { try? FileSystem.remove(path) }
            throw inPlace(error, "\(writer.path) is whole and in place, without its receipt")
        }
        guard durable else { return }
        do {
            try FileSystem.synchroniseDirectory(FileSystem.directory(of: path))
        } catch let error as PeftfileError {
            throw inPlace(error, "\(writer.path) and its receipt are whole and in place; a power failure now may lose them")
        }
    }

    private static func inPlace(_ error: PeftfileError, _ state: String) -> PeftfileError {
        var copy = error
        copy.help = state
        return copy
    }
}

import ByteAccess
import Containers
import Tensors

/// What a receipt says of files: those that were read, and those that were written.
struct ReceiptEvidence: Sendable {
    /// The output that the receipt belongs to.
    let result: String
    /// The files that were written, with the SHA-256 taken of them; nil for `--no-hash`.
    private let subjects: [(name: String, digest: String?)]
    /// The inputs' files: path, bytes, SHA-256 of the header.
    private let inputs: [(path: String, name: String, bytes: UInt64?, header: String?)]

    /// - Parameter inputs: the predicate's objects with `path` and `files`.
    init(result: String, document: JSONValue, inputs: [JSONValue?]) {
        self.result = result
        subjects = (document["subject"]?.arrayValue ?? []).compactMap { subject in
            subject["name"]?.stringValue.map { ($0, subject["digest"]?["sha256"]?.stringValue) }
        }
        self.inputs = inputs.flatMap { input in
            (input?["files"]?.arrayValue ?? []).compactMap { file in
                guard let path = input?["path"]?.stringValue, let name = file["name"]?.stringValue else { return nil }
                return (path, name, file["bytes"]?.uint64Value, file["header_sha256"]?.stringValue)
            }
        }
    }

    /// The inputs must be where the receipt says, and be what they were.
    ///
    /// - Parameters:
    ///   - paths: the inputs' paths.
    ///   - operation: the verb's noun, for the message.
    ///   - help: the command that names the inputs.
    /// - Throws: `.notFound` where one is not there; `.refused` where size or header changed since.
    func requireInputs(_ paths: [String], operation: String, help: String) throws {
        for path in paths where !FileSystem.exists(path) {
            throw PeftfileError(
                .notFound, "its receipt names the input \"\(path.printable)\", which is not there from this directory",
                file: result, rule: "ReceiptInput", help: "run it where the \(operation) ran, or " + help)
        }
        for input in inputs {
            let path = FileSystem.isDirectory(input.path) ? FileSystem.join(input.path, input.name) : input.path
            guard FileSystem.exists(path), FileSystem.fileName(of: path) == input.name else { continue }
            let file = try ContainerKind.open(path)
            guard file.reader.size == input.bytes, SHA256.hex(try file.headerSHA256()) == input.header else {
                throw PeftfileError(
                    .refused, "is not the file that the \(operation) read: its size or header differs from the receipt's",
                    file: path, rule: "ReceiptInput", help: "to judge by what is there now: " + help)
            }
        }
    }

    /// Bytes of the files that ``changedFiles(progress:)`` hashes.
    var hashedBytes: UInt64 {
        subjects.reduce(0) { sum, subject in
            guard subject.digest != nil, let reader = try? FileReader(path: place(of: subject.name)) else { return sum }
            return sum + reader.size
        }
    }

    private func place(of name: String) -> String { FileSystem.isDirectory(result) ? FileSystem.join(result, name) : result }

    /// The files of the result that are not what was written: changed, or gone. Without hashes only the latter.
    ///
    /// - Parameter progress: called with bytes that have just been hashed.
    func changedFiles(progress: ((UInt64) -> Void)? = nil) throws -> [String] {
        try subjects.filter { subject in
            let path = place(of: subject.name)
            guard FileSystem.exists(path) else { return true }
            guard let digest = subject.digest else { return false }
            return SHA256.hex(try FileReader(path: path).sha256(progress: progress)) != digest
        }.map(\.name)
    }
}

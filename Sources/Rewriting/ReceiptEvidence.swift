import ByteAccess
public import Checkpoints
import Containers
import Tensors

/// What a receipt says of files: those that were read, and those that were written.
public struct ReceiptEvidence: Sendable {
    /// The output that the receipt belongs to.
    let result: String
    /// The files that were written, with the SHA-256 taken of them; nil for `--no-hash`.
    private let subjects: [(name: String, digest: String?)]
    private let inputs: [Input]

    private struct Input {
        let path: String
        var files: [File] = []
        /// The config's name, and its SHA-256.
        var config: (name: String, digest: String)?

        struct File {
            let name: String
            let bytes: UInt64?
            /// SHA-256 of the header.
            let header: String?
            /// SHA-256 of all of it, of inputs that are small.
            let digest: String?
        }

        init?(_ json: JSONValue?) {
            guard let path = json?["path"]?.stringValue else { return nil }
            self.path = path
            for file in json?["files"]?.arrayValue ?? [] {
                guard let name = file["name"]?.stringValue else { continue }
                files.append(
                    File(
                        name: name, bytes: file["bytes"]?.uint64Value, header: file["header_sha256"]?.stringValue,
                        digest: file["sha256"]?.stringValue))
            }
            if let digest = json?["config_sha256"]?.stringValue { config = (json?["config_file"]?.stringValue ?? "adapter_config.json", digest) }
        }
    }

    /// - Parameters:
    ///   - schema: what the receipt's must be.
    ///   - inputs: the predicate's objects with `path` and `files`.
    ///   - malformed: the error for a receipt that has no usable such thing.
    /// - Throws: that error where the receipt is no such statement, names no file that was written, or one outside the output, or has a
    ///   digest that is none.
    init(result: String, document: JSONValue, schema: String, inputs: [JSONValue?], malformed: (String) -> PeftfileError) throws {
        self.result = result
        for (key, value) in [
            ("_type", "https://in-toto.io/Statement/v1"), ("schema", schema), ("predicateType", Receipt.predicateType),
        ] as [(ExactString, String)] where document[key]?.stringValue != value { throw malformed(key.text) }
        subjects = try (document["subject"]?.arrayValue ?? []).map { subject in
            guard let name = subject["name"]?.stringValue, !name.hasPrefix("/"), !name.split(separator: "/").contains(".."),
                let digest = subject["digest"]?.objectValue
            else { throw malformed("subject") }
            let hex = digest["sha256"]?.stringValue
            guard digest.members.isEmpty || hex?.utf8.count == 64 else { throw malformed("digest of \(name.printable)") }
            return (name, hex)
        }
        guard !subjects.isEmpty else { throw malformed("subject") }
        self.inputs = try inputs.map { input in
            guard let input = Input(input), !input.files.isEmpty else { throw malformed("list of an input's files") }
            return input
        }
    }

    /// The inputs must be where the receipt says, and be what they were.
    ///
    /// - Parameters:
    ///   - paths: the inputs' paths.
    ///   - operation: the verb's noun, for the message.
    ///   - help: the command that names the inputs.
    /// - Throws: `.notFound` where one is not there; `.refused` where a size, a header, or a hash that the receipt has of all of a file
    ///   is another one.
    func requireInputs(_ paths: [String], operation: String, help: String) throws {
        for path in paths where !FileSystem.exists(path) {
            throw PeftfileError(
                .notFound, "its receipt names the input \"\(path.printable)\", which is not there from this directory",
                file: result, rule: "ReceiptInput", help: "run it where the \(operation) ran, or " + help)
        }
        func refuse(_ path: String, _ what: String) -> PeftfileError {
            PeftfileError(
                .refused, "is not the file that the \(operation) read: its \(what) differs from the receipt's", file: path,
                rule: "ReceiptInput", help: "to judge by what is there now: " + help)
        }
        for input in inputs where paths.contains(input.path) {
            let isDirectory = FileSystem.isDirectory(input.path)
            for recorded in input.files {
                let path = isDirectory ? FileSystem.join(input.path, recorded.name) : input.path
                guard FileSystem.exists(path), FileSystem.fileName(of: path) == recorded.name else { continue }
                let file = try ContainerKind.open(path)
                guard file.reader.size == recorded.bytes, SHA256.hex(try file.headerSHA256()) == recorded.header else {
                    throw refuse(path, "size or header")
                }
                if let digest = recorded.digest, SHA256.hex(try file.reader.sha256()) != digest { throw refuse(path, "SHA-256") }
            }
            if let config = input.config {
                let path = FileSystem.join(isDirectory ? input.path : FileSystem.directory(of: input.path), config.name)
                guard FileSystem.isRegularFile(path), SHA256.hex(try FileReader(path: path).sha256()) == config.digest else {
                    throw refuse(path, "SHA-256")
                }
            }
        }
    }

    /// Bytes of the files that ``compareFiles(progress:)`` hashes.
    public var hashedBytes: UInt64 {
        subjects.reduce(0) { sum, subject in
            guard subject.digest != nil, let reader = try? FileReader(path: place(of: subject.name)) else { return sum }
            return sum + reader.size
        }
    }

    private func place(of name: String) -> String { FileSystem.isDirectory(result) ? FileSystem.join(result, name) : result }

    /// Compares the files of the result with what was written.
    ///
    /// - Parameter progress: called with bytes that have just been hashed.
    /// - Throws: `.io` where a file of the result cannot be read; `.refused` where something that is no regular file is in its place;
    ///   `.notFound` where a link is there that leads nowhere; `.interrupted` where a signal came.
    public func compareFiles(progress: ((UInt64) -> Void)? = nil) throws -> FileComparison {
        var result = FileComparison()
        for subject in subjects {
            let path = place(of: subject.name)
            guard FileSystem.exists(path) else {
                result.changed.append(subject.name)
                continue
            }
            guard let digest = subject.digest else {
                result.unhashed += 1
                continue
            }
            if SHA256.hex(try FileReader(path: path).sha256(progress: progress)) == digest {
                result.matching += 1
            } else {
                result.changed.append(subject.name)
            }
        }
        if FileSystem.isDirectory(self.result) {
            let known = Set(subjects.map(\.name) + [Receipt.fileName])
            result.added = try FileSystem.list(self.result).filter { name in
                !known.contains(name) && !name.hasPrefix(".") && !known.contains { $0.hasPrefix(name + "/") }
            }
        }
        return result
    }
}

public import Adapters
import ByteAccess
import Containers
import Tensors

/// The inputs and options of an earlier merge, read back from its receipt.
public struct MergeRecord: Sendable {
    public let base: String
    public let adapters: [String]
    public let options: BindingOptions
    public let settings: MergeSettings
    private let result: String
    private let receipt: String
    /// The files that the merge wrote, with the SHA-256 it took of them; nil for `--no-hash`.
    private let subjects: [(name: String, digest: String?)]
    /// The inputs' files: path, bytes, SHA-256 of the header.
    private let inputs: [(path: String, name: String, bytes: UInt64?, header: String?)]

    /// Reads the receipt in a merged directory or beside a merged file.
    ///
    /// - Throws: `.notFound` where there is none, `.malformed` where it lacks what a merge writes.
    public init(besides path: String) throws {
        let file = FileSystem.isDirectory(path)
            ? FileSystem.join(path, Receipt.fileName) : path + ".receipt.json"
        guard FileSystem.exists(file) else {
            throw PeftfileError(
                .notFound, "has no receipt, so base and adapters must be named", file: path, rule: "ReceiptMissing",
                help: "peftfile verify \(path.shellQuoted) --base BASE --adapter ADAPTER")
        }
        let bytes = try FileReader(path: file).allBytes(limit: 1 << 28)
        let document = try JSONValue.parse(bytes, file: file, allowing: .strict)
        let predicate = document["predicate"]
        func malformed(_ key: String) -> PeftfileError {
            PeftfileError(
                .malformed, "the receipt has no usable \(key)", file: file, rule: "Receipt",
                help: "peftfile verify \(path.shellQuoted) --base BASE --adapter ADAPTER")
        }
        guard let base = predicate?["base"]?["path"]?.stringValue else { throw malformed("base") }
        guard let adapters = predicate?["adapters"]?.arrayValue?.map({ $0["path"]?.stringValue }), !adapters.isEmpty,
            adapters.allSatisfy({ $0 != nil })
        else { throw malformed("adapters") }
        guard let options = predicate?["options"]?.objectValue,
            let tie = options["tie"]?.stringValue.flatMap(BindingOptions.Tie.init(rawValue:)),
            let role = options["base_as"]?.stringValue.flatMap(BindingOptions.BaseRole.init(rawValue:)),
            let orientation = options["orientation"]?.stringValue.flatMap(BindingOptions.Orientation.init(rawValue:)),
            let weights = options["weights"]?.arrayValue?.map(\.doubleValue), weights.allSatisfy({ $0 != nil })
        else { throw malformed("options") }
        self.base = base
        self.adapters = adapters.compactMap { $0 }
        result = path
        receipt = file
        subjects = (document["subject"]?.arrayValue ?? []).compactMap { subject in
            subject["name"]?.stringValue.map { ($0, subject["digest"]?["sha256"]?.stringValue) }
        }
        inputs = ([predicate?["base"]] + (predicate?["adapters"]?.arrayValue ?? [])).flatMap { input in
            (input?["files"]?.arrayValue ?? []).compactMap { file in
                guard let path = input?["path"]?.stringValue, let name = file["name"]?.stringValue else { return nil }
                return (path, name, file["bytes"]?.uint64Value, file["header_sha256"]?.stringValue)
            }
        }
        self.options = BindingOptions(
            tie: tie, baseRole: role, orientation: orientation, scale: options["scale"]?.doubleValue,
            weights: weights.compactMap { $0 })
        settings = MergeSettings(
            dtype: options["dtype"]?.stringValue.flatMap(DType.init(rawValue:)),
            convertsAllDTypes: options["dtype_all"]?.boolValue ?? false)
    }

    /// The inputs must be where the receipt says, and be what they were.
    ///
    /// - Throws: `.notFound` where one is not there; `.refused` where size or header changed since the merge.
    public func requireInputs() throws {
        let help = "peftfile verify \(result.shellQuoted) --base BASE --adapter ADAPTER"
        for path in [base] + adapters where !FileSystem.exists(path) {
            throw PeftfileError(
                .notFound, "its receipt names the input \"\(path.printable)\", which is not there from this directory",
                file: result, rule: "ReceiptInput", help: "run it where the merge ran, or " + help)
        }
        for input in inputs {
            let path = FileSystem.isDirectory(input.path) ? FileSystem.join(input.path, input.name) : input.path
            guard FileSystem.exists(path), FileSystem.fileName(of: path) == input.name else { continue }
            let file = try SafetensorsFile.open(path)
            guard file.reader.size == input.bytes, SHA256.hex(try file.headerSHA256()) == input.header else {
                throw PeftfileError(
                    .refused, "is not the file that the merge read: its size or header differs from the receipt's",
                    file: path, rule: "ReceiptInput", help: "to judge by what is there now: " + help)
            }
        }
    }

    /// The files of the result that are not what the merge wrote: changed, or gone. Without hashes only the latter.
    public func changedFiles() throws -> [String] {
        try subjects.filter { subject in
            let path = FileSystem.isDirectory(result) ? FileSystem.join(result, subject.name) : result
            guard FileSystem.exists(path) else { return true }
            guard let digest = subject.digest else { return false }
            let reader = try FileReader(path: path)
            var hash = SHA256()
            var offset: UInt64 = 0
            while offset < reader.size {
                try Interruption.check()
                let bytes = try reader.bytes(at: offset, count: Int(min(reader.size - offset, 1 << 20)))
                hash.update(bytes)
                offset += UInt64(bytes.count)
            }
            return SHA256.hex(hash.finalize()) != digest
        }.map(\.name)
    }
}

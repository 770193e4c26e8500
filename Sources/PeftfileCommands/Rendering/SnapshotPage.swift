import Peftfile

/// The verdict of `verify` on a snapshot of the Hub's cache.
struct SnapshotPage {
    let check: SnapshotCheck
    let path: String

    private var wrong: [SnapshotCheck.File] { check.files.filter(\.isWrong) }
    private var unnamed: [SnapshotCheck.File] { check.files.filter { $0.expected == nil && !$0.isWrong } }

    var text: String {
        let hashed = check.files.count { $0.actual != nil }
        var result = "\(Text.place(path)): \(check.isRight ? "what the Hub named" : "NOT what the Hub named")\n"
        result += "  files       \(Text.count(hashed)) hashed, \(Text.count(wrong.count)) wrong\n"
        if !unnamed.isEmpty {
            result += "  not hashed  \(unnamed.map(\.name.printable).joined(separator: ", ")): nothing says what they should be\n"
        }
        for file in wrong { result += "    \(file.name.printable): \(reason(file))\n" }
        return result
    }

    private func reason(_ file: SnapshotCheck.File) -> String {
        if file.isMissing { return "is not there" }
        if file.leadsOut { return "is a link to something else than its blob" }
        return "its \(file.expected?.algorithm.rawValue ?? "hash") is \(file.actual ?? "unknown"), and its blob is called \(file.expected?.hex ?? "")"
    }

    /// `peftfile.verify/1` without tensors: nothing was computed.
    var json: JSONValue {
        [
            "schema": "peftfile.verify/1", "warnings": [], "equivalent": .bool(check.isRight), "tensors": [],
            "missing": [], "unexpected": [],
            "files": .array(
                check.files.map { file in
                    [
                        "name": .string(file.name), "algorithm": file.expected.map { .string($0.algorithm.rawValue) } ?? .null,
                        "expected": file.expected.map { .string($0.hex) } ?? .null,
                        "actual": file.actual.map { .string($0) } ?? .null, "wrong": .bool(file.isWrong),
                    ]
                }),
        ]
    }
}

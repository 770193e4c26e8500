import Peftfile

/// The verdict of `verify` on an adapter in another dialect.
struct ConversionProofPage {
    let comparison: ConversionComparison
    let files: FileComparison
    let notes: [String]
    let path: String

    var isEquivalent: Bool { comparison.isEquivalent && files.changed.isEmpty }

    var text: String {
        var result = "\(path.printable): \(isEquivalent ? "equivalent" : "NOT equivalent")\n"
        func line(_ key: String, _ value: String) {
            result += "  \(key)\(String(repeating: " ", count: max(1, 12 - key.count)))\(value)\n"
        }
        let wrong = comparison.faults.isEmpty ? "" : ", \(Text.count(Set(comparison.faults.map(\.name)).count)) wrong"
        line(comparison.isRepair ? "tensors" : "modules", "\(Text.count(comparison.compared)) compared with the source\(wrong)")
        line("elements", "\(Text.count(comparison.elements)) compared")
        if !comparison.isRepair {
            line("scale", comparison.worst == 0 ? "the same" : "off by \(Text.number(comparison.worst)) of the update at most")
        }
        line("hashes", VerifyPage.hashes(files))
        for note in notes { line("note", note.printable) }
        if !files.changed.isEmpty {
            result += "\n  files that differ from the receipt: \(files.changed.count)\n"
            for file in files.changed { result += "    \(file.printable)\n" }
        }
        if !comparison.faults.isEmpty {
            result += "\n  wrong: \(comparison.faults.count)\n"
            for fault in comparison.faults.prefix(20) { result += "    \(fault.name.printable): \(fault.reason)\n" }
            if comparison.faults.count > 20 { result += "    and \(comparison.faults.count - 20) more\n" }
        }
        return result
    }

    /// `peftfile.verify/1` without recomputed tensors.
    var json: JSONValue {
        [
            "schema": "peftfile.verify/1", "warnings": [], "equivalent": .bool(isEquivalent), "tensors": [],
            "missing": [], "unexpected": [], "changed_files": .array(files.changed.map { .string($0) }),
            "added_files": .array(files.added.map { .string($0) }), "hashed_files": .number(JSONNumber(files.matching)),
            "conversion": [
                "compared": .number(JSONNumber(comparison.compared)), "elements": .number(JSONNumber(comparison.elements)),
                "worst": comparison.worst.isFinite ? .number(JSONNumber(comparison.worst)) : .null, "notes": .array(notes.map { .string($0) }),
                "faults": .array(
                    comparison.faults.map { ["name": .string($0.name), "reason": .string($0.reason)] }),
            ],
        ]
    }
}

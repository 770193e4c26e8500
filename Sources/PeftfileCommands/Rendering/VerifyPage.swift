import Peftfile

/// The verdict of `verify`, with every tensor that is not right.
struct VerifyPage {
    let report: EquivalenceReport
    let path: String

    /// How many lines a list of faults has at most; `--json` has all of them.
    private let limit = 20

    var text: String {
        var result = "\(Text.place(path)): \(report.isEquivalent ? "equivalent" : "NOT equivalent")\n"
        func line(_ key: String, _ value: String) {
            result += "  \(key)\(String(repeating: " ", count: max(1, 12 - key.count)))\(value)\n"
        }
        let computed = report.tensors.filter { $0.kind == .computed }
        let elements = computed.reduce(0) { $0 + $1.elements }
        line("tensors", Text.count(report.tensors.count) + (counts.isEmpty ? " compared" : ": \(counts)"))
        if !computed.isEmpty {
            line("elements", "\(Text.count(elements)) recomputed, \(Text.count(mismatched)) wrong")
            let worst = computed.compactMap(\.maxULP).max()
            line("max ulp", computed.contains { $0.maxULP == nil } ? "no number (NaN)" : worst.map { Text.count($0) } ?? "0")
            line("max abs", "\(Text.number(computed.map(\.maxAbs).max() ?? 0)) before rounding")
            line("probes", probes)
        }
        if let files = report.files { line("hashes", Self.hashes(files)) }
        list("missing", report.missing.map(\.text), &result)
        list("unexpected", report.unexpected.map(\.text), &result)
        list(
            "wrong dtype or shape",
            report.disagreements.map {
                "\($0.name): \($0.foundDType.rawValue) \(Text.shape($0.foundShape)), expected "
                    + "\($0.expectedDType.rawValue) \(Text.shape($0.expectedShape))"
            }, &result)
        list(
            "wrong in config.json",
            report.config.map { "\($0.key) is \($0.found?.serialized() ?? "absent"), expected \($0.expected.serialized())" },
            &result)
        list("files that differ from the receipt", report.files?.changed ?? [], &result)
        let wrong = report.tensors.filter { !$0.isEquivalent }
        if !wrong.isEmpty {
            result += "\n" + Text.table(
                ["tensor", "wrong elements", "max ulp", "max abs", "first at", "probes"],
                wrong.prefix(limit).map { tensor in
                    [
                        tensor.name.text.printable, Text.count(tensor.mismatched),
                        tensor.maxULP.map { Text.count($0) } ?? "-", Text.number(tensor.maxAbs),
                        tensor.firstMismatch.map { Text.count($0.index) } ?? "-", probe(tensor.probe),
                    ]
                }, right: [1, 2, 3, 4])
            if wrong.count > limit { result += "  and \(wrong.count - limit) more\n" }
        }
        return result
    }

    /// How many files have the SHA-256 that the receipt names.
    static func hashes(_ files: FileComparison) -> String {
        if files.matching == 0, files.changed.isEmpty { return "none in the receipt (--no-hash)" }
        return "\(Text.counted(files.matching, "file")) as the receipt has \(files.matching == 1 ? "it" : "them")"
            + (files.changed.isEmpty ? "" : ", \(Text.count(files.changed.count)) not")
            + (files.unhashed == 0 ? "" : ", \(Text.count(files.unhashed)) without a hash")
    }

    private var mismatched: Int { report.tensors.reduce(0) { $0 + $1.mismatched } }

    private var counts: String {
        let kinds: [(EquivalenceReport.Kind, String)] = [(.computed, "computed"), (.converted, "converted"), (.copied, "copied")]
        return kinds.compactMap { kind, name in
            let count = report.tensors.count { $0.kind == kind }
            return count > 0 ? "\(Text.count(count)) \(name)" : nil
        }.joined(separator: ", ")
    }

    private var probes: String {
        var vectors = 0
        var failures = 0
        var skipped = 0
        for tensor in report.tensors {
            switch tensor.probe {
            case .compared(let count, let failed, _):
                vectors += count
                failures += failed > 0 ? 1 : 0
            case .skipped: skipped += 1
            case nil: break
            }
        }
        if vectors == 0 { return skipped > 0 ? "none: \(Text.counted(skipped, "tensor")) without a linear form" : "none" }
        return "\(Text.count(vectors)) vectors, \(failures == 0 ? "all tensors agree" : "\(Text.counted(failures, "tensor")) differ\(failures == 1 ? "s" : "")")"
            + (skipped > 0 ? ", \(Text.counted(skipped, "tensor")) without a linear form" : "")
    }

    private func probe(_ probe: EquivalenceReport.Probe?) -> String {
        switch probe {
        case .compared(_, let failures, _): failures == 0 ? "agree" : "differ"
        case .skipped: "no linear form"
        case nil: "-"
        }
    }

    private func list(_ title: String, _ entries: [String], _ result: inout String) {
        guard !entries.isEmpty else { return }
        result += "\n  \(title): \(entries.count)\n"
        for entry in entries.prefix(limit) { result += "    \(entry.printable)\n" }
        if entries.count > limit { result += "    and \(entries.count - limit) more\n" }
    }
}

import Peftfile

/// The page of `diff`: a verdict with its counts, then what one side alone has, then what changed.
struct DiffPage {
    let report: CheckpointDifference
    let paths: (a: String, b: String)
    let inputs: (a: DifferenceInput, b: DifferenceInput)
    /// Entries of a list at most; 0 for all.
    let limit: Int

    var text: String {
        var result = "\(Text.place(paths.a)) and \(Text.place(paths.b)): \(report.isEqual ? "equal" : "different")\n"
        func line(_ key: String, _ value: String) {
            result += "  \(key)\(String(repeating: " ", count: max(1, 12 - key.count)))\(value)\n"
        }
        line("tensors", tensors)
        line("elements", elements)
        if let updates = report.updates { line("updates", UpdateSection(updates: updates).summary) }
        list("only in A", report.removed.map { describe($0, of: inputs.a) }, &result)
        list("only in B", report.added.map { describe($0, of: inputs.b) }, &result)
        list("spelt otherwise in B", report.renamed.map { "\($0.name): \($0.nameInB)" }, &result)
        list("dtype or shape", report.retyped.map(describe), &result)
        table("changed", report.changed, ("differ", \.share), &result)
        table("equal, though not byte for byte", report.tolerated, ("unequal", \.unequalShare), &result)
        if let updates = report.updates { result += UpdateSection(updates: updates).table(limit: limit) }
        list("beside the tensors", report.notes.map(describe), &result)
        return result
    }

    private var tensors: String {
        let equal = report.compared - report.changed.count
        var parts = ["\(Text.count(report.compared)) compared, \(Text.count(equal)) equal"]
        func add(_ count: Int, _ what: String) { if count > 0 { parts.append("\(Text.count(count)) \(what)") } }
        add(report.changed.count, "changed")
        add(report.removed.count, "only in A")
        add(report.added.count, "only in B")
        add(report.renamed.count, "spelt otherwise")
        add(report.retyped.count, "of another dtype or shape")
        return parts.joined(separator: ", ")
    }

    private var elements: String {
        let differing = report.changed.reduce(0) { $0 + $1.differing }
        let share = report.comparedElements > 0 ? Double(differing) / Double(report.comparedElements) : 0
        return "\(Text.count(report.comparedElements)) compared, \(Text.count(differing)) differ"
            + (differing > 0 ? " (\(DiffPage.share(share)))" : "")
    }

    /// A share that is not 0 is not shown as 0, and one that is not all is not shown as all.
    static func share(_ share: Double) -> String {
        if share > 0, share < 0.0005 { return "< 0.1 %" }
        if share < 1, share >= 0.9995 { return "> 99.9 %" }
        return Text.percent(share)
    }

    // MARK: Lists

    private func describe(_ tensor: StoredTensor, of input: DifferenceInput) -> String {
        "\(tensor.name)  \(input.checkpoint.storedType(of: tensor)) \(Text.shape(tensor.shape))"
    }

    private func describe(_ tensor: CheckpointDifference.Retyped) -> String {
        let values =
            switch tensor.values {
            case .equal: "the same numbers"
            case .different: "other numbers"
            case .notCompared: "numbers not compared"
            }
        return "\(tensor.name): \(tensor.typeInA) \(Text.shape(tensor.shapeInA)) in A, "
            + "\(tensor.typeInB) \(Text.shape(tensor.shapeInB)) in B, \(values)"
    }

    private func describe(_ note: CheckpointDifference.Note) -> String {
        let key = note.key.map { " \($0)" } ?? ""
        func side(_ value: String?) -> String { value.map(DiffPage.short) ?? "none" }
        return "\(note.place)\(key): \(side(note.inA)) in A, \(side(note.inB)) in B"
    }

    /// The first 60 characters of a value.
    private static func short(_ value: String) -> String { value.count > 60 ? value.prefix(60) + "…" : value }

    private func list(_ title: String, _ entries: [String], _ result: inout String) {
        guard !entries.isEmpty else { return }
        result += "\n  \(title): \(Text.count(entries.count))\n"
        for entry in shown(entries) { result += "    \(entry.printable)\n" }
        result += rest(entries.count)
    }

    private func shown<Entry>(_ entries: [Entry]) -> [Entry] { limit > 0 ? Array(entries.prefix(limit)) : entries }

    private func rest(_ count: Int) -> String {
        limit > 0 && count > limit ? "    and \(Text.count(count - limit)) more; --limit 0 shows all\n" : ""
    }

    // MARK: Figures

    private func table(
        _ title: String, _ tensors: [TensorDifference], _ share: (title: String, of: KeyPath<TensorDifference, Double>),
        _ result: inout String
    ) {
        guard !tensors.isEmpty else { return }
        let hasNonfinite = tensors.contains { $0.nonfinite > 0 }
        result += "\n  \(title): \(Text.count(tensors.count))\n"
        result += Text.table(
            ["tensor", share.title, "max abs", "mean abs", "rel L2", "cos", "max ulp"] + (hasNonfinite ? ["NaN or Inf"] : []),
            shown(tensors).map { row($0, share: $0[keyPath: share.of]) + (hasNonfinite ? [Text.count($0.nonfinite)] : []) },
            right: [1, 2, 3, 4, 5, 6, 7], indent: "    ")
        result += rest(tensors.count)
    }

    private func row(_ tensor: TensorDifference, share: Double) -> [String] {
        [
            tensor.name.text.printable, DiffPage.share(share), DiffPage.number(tensor.maxAbs),
            DiffPage.number(tensor.meanAbs), DiffPage.number(tensor.relL2), DiffPage.cosine(tensor.cos),
            tensor.maxULP.map { Text.count($0) } ?? "-",
        ]
    }

    static func number(_ value: Double?) -> String { value.map(Text.number) ?? "-" }

    /// Six decimals, and 1 only for what is 1.
    static func cosine(_ value: Double?) -> String {
        guard let value else { return "-" }
        if abs(value) < 1, abs(value) > 1 - 5e-7 { return value > 0 ? "> 0.999999" : "< -0.999999" }
        return Text.fixed(value, 6)
    }
}

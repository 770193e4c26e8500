import Peftfile

/// What `diff` says of the updates that two adapters make.
struct UpdateSection {
    let updates: UpdateComparison

    /// One line: whether the adapters do the same.
    var summary: String {
        if let reason = updates.reason { return ["not compared: \(reason.printable)", settings].compactMap { $0 }.joined(separator: "; ") }
        let differing = updates.modules.count { !$0.isEquivalent }
        let worst = updates.modules.compactMap(\.relativeDifference).max() ?? 0
        var parts: [String] = []
        if updates.modules.isEmpty { if updates.skipped.isEmpty { parts.append("no module in both") } }
        else if differing == 0 {
            let isExact = updates.modules.allSatisfy { $0.relativeDifference == 0 }
            parts.append(
                "\(Text.counted(updates.modules.count, "module")), all the same"
                    + (isExact ? "" : " within rounding, off by \(Text.number(worst)) of the update at most"))
        } else {
            let measured = updates.modules.contains { !$0.isEquivalent && $0.relativeDifference != nil }
            parts.append(
                "\(differing) of \(Text.counted(updates.modules.count, "module")) differ\(differing == 1 ? "s" : "")"
                    + (measured ? ", by \(Text.number(worst)) of the update at most" : ""))
        }
        for (side, count) in [("A", updates.modules.count(where: \.isNothingInA)), ("B", updates.modules.count(where: \.isNothingInB))]
        where count > 0 {
            parts.append("\(side) makes no update" + (count == updates.modules.count ? "" : " in \(count) of them"))
        }
        if !updates.onlyInA.isEmpty { parts.append("\(updates.onlyInA.count) only in A") }
        if !updates.onlyInB.isEmpty { parts.append("\(updates.onlyInB.count) only in B") }
        if !updates.skipped.isEmpty { parts.append("\(updates.skipped.count) not compared") }
        if updates.hasOtherDifferences { parts.append("other tensors differ") }
        if let settings { parts.append(settings) }
        return parts.joined(separator: "; ") + (updates.isEquivalent ? ": equivalent adapters" : "")
    }

    /// What the configs say otherwise, where that makes another model of the same tensors.
    private var settings: String? {
        let keys = updates.differingSettings.map(\.printable)
        return keys.isEmpty ? nil : "by the configs another model: \(keys.joined(separator: ", ")) differ\(keys.count == 1 ? "s" : "")"
    }

    /// The modules whose factors differ, the furthest apart first, and those that could not be compared.
    func table(limit: Int) -> String {
        let modules = updates.modules.filter { !$0.hasSameFactors || !$0.isEquivalent }
            .sorted { ($0.relativeDifference ?? .infinity) > ($1.relativeDifference ?? .infinity) }
        var result = ""
        func cut<Entry>(_ entries: [Entry]) -> [Entry] { limit > 0 ? Array(entries.prefix(limit)) : entries }
        func rest(_ count: Int) -> String {
            limit > 0 && count > limit ? "    and \(Text.count(count - limit)) more; --limit 0 shows all\n" : ""
        }
        if !modules.isEmpty {
            result += "\n  updates of modules: \(Text.count(modules.count))\n"
            result += Text.table(
                ["module", "rank", "scale", "rel diff", "rounding", "cos", "columns", "rows"],
                cut(modules).map { module in
                    [
                        module.name.printable, both(module.rankInA.map(String.init) ?? "-", module.rankInB.map(String.init) ?? "-"),
                        both(module.scaleInA.map(Text.number) ?? "-", module.scaleInB.map(Text.number) ?? "-"),
                        DiffPage.number(module.relativeDifference), DiffPage.number(module.rounding),
                        DiffPage.cosine(module.cos), overlap(module.columnOverlap), overlap(module.rowOverlap),
                    ]
                }, right: [1, 2, 3, 4, 5, 6, 7], indent: "    ")
            result += rest(modules.count)
        }
        for (title, names) in [
            ("updated only in A", updates.onlyInA), ("updated only in B", updates.onlyInB),
            ("updates not compared", updates.skipped.map { "\($0.name): \($0.reason)" }),
        ] where !names.isEmpty {
            result += "\n  \(title): \(Text.count(names.count))\n"
            for name in cut(names) { result += "    \(name.printable)\n" }
            result += rest(names.count)
        }
        return result
    }

    private func both(_ a: String, _ b: String) -> String { a == b ? a : "\(a), \(b)" }

    private func overlap(_ value: Double?) -> String { value.map { Text.fixed($0, 3) } ?? "-" }
}

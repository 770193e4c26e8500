import Peftfile

/// What `inspect --spectrum` and `--base` add to the page of an adapter.
struct SpectrumSection {
    let spectrum: SpectrumReport?
    let changes: [WeightChange]?
    var glyphs = Glyphs()

    var text: String {
        var result = ""
        if let spectrum { result += spectra(spectrum) }
        if let changes { result += table(changes) }
        if let map = SpectrumSection.map(spectrum, changes) { result += TerminalHeatMap(map: map, glyphs: glyphs).text }
        return result
    }

    /// Shares of the base's norms where there is a base, else the updates' norms; nil where there is neither.
    static func map(_ spectrum: SpectrumReport?, _ changes: [WeightChange]?) -> HeatMap? {
        if let changes {
            return HeatMap(changes.map { .init(module: $0.module, update: $0.statistics.norm, base: $0.baseNorm) })
        }
        return spectrum.map { report in
            HeatMap(report.modules.map { .init(module: $0.pathName, update: $0.spectrum.frobeniusNorm, base: nil) })
        }
    }

    // MARK: Spectra

    private func spectra(_ report: SpectrumReport) -> String {
        if let reason = report.reason { return "\n  no spectrum: \(reason.printable)\n" + skipped(report) }
        var result = "\n" + Text.table(
            [
                "module", "rank", glyphs.updateNorm, glyphs.largestValue, "stable", "effective", "90 %", "99 %", "spectrum", "",
            ],
            report.modules.map { module in
                let spectrum = module.spectrum
                return [
                    module.name.printable, module.update.rank.map(String.init) ?? "-", Text.number(spectrum.frobeniusNorm),
                    Text.number(spectrum.largest), Text.fixed(spectrum.stableRank, 2), Text.fixed(spectrum.effectiveRank, 2),
                    String(spectrum.rank(holding: 0.9)), String(spectrum.rank(holding: 0.99)),
                    glyphs.sparkline(spectrum.relative), module.flag?.rawValue ?? "",
                ]
            }, right: [1, 2, 3, 4, 5, 6, 7])
        result = result.split(separator: "\n", omittingEmptySubsequences: false)
            .map { line in String(line.reversed().drop { $0 == " " }.reversed()) }.joined(separator: "\n")
        result += grouped("of", report.modules.filter { !$0.update.note.isEmpty }.map { ($0.name, $0.update.note) })
        return result + skipped(report)
    }

    private func skipped(_ report: SpectrumReport) -> String {
        let named = report.skipped.filter { !report.modules.isEmpty || $0.reason != report.reason }
        return grouped("no spectrum of", named.map { ($0.module, $0.reason) })
    }

    /// One line for all modules of which the same is said.
    private func grouped(_ word: String, _ entries: [(name: String, text: String)]) -> String {
        var order: [String] = []
        var names: [String: [String]] = [:]
        for entry in entries {
            if names[entry.text] == nil { order.append(entry.text) }
            names[entry.text, default: []].append(entry.name)
        }
        return order.map { text in
            let all = names[text] ?? []
            let rest = all.count > 3 ? " and \(Text.count(all.count - 3)) more" : ""
            return "  \(word) \(all.prefix(3).map(\.printable).joined(separator: ", "))\(rest): \(text.printable)\n"
        }.joined()
    }

    // MARK: Changes

    private func table(_ changes: [WeightChange]) -> String {
        guard !changes.isEmpty else { return "\n  no tensor of the base has an update\n" }
        return "\n" + Text.table(
            ["tensor", "dtype", glyphs.baseNorm, glyphs.updateNorm, glyphs.relativeUpdate, "changed", "survival"],
            changes.map { change in
                [
                    change.name.text.printable, change.dtype.rawValue, Text.number(change.baseNorm),
                    Text.number(change.statistics.norm), change.relative.map(Text.number) ?? "-",
                    change.survivingShare.map(DiffPage.share) ?? "-", change.statistics.survival.map(Text.percent) ?? "-",
                ]
            }, right: [2, 3, 4, 5, 6])
    }
}

extension SpectrumReport.Module {
    /// The path that the heat map takes apart: the experts of a module share its place.
    var pathName: String { update.parameter == "weight" ? update.module.text : "\(update.module).\(update.parameter)" }
}

import Peftfile

/// The spectra of a page: for each kind of module one small chart with a curve for every layer.
struct SpectraFigure {
    let report: SpectrumReport

    var section: HTML {
        var parts: [HTML] = [.element("h2", ["id": "spectra"], text: "What rank the updates use")]
        if let reason = report.reason {
            parts.append(.element("p", ["class": "soft"], text: "No spectrum: \(reason)."))
        } else {
            parts.append(
                .element(
                    "p",
                    text: "Singular values of each update, relative to its largest: a curve for each layer. A curve that falls at once uses "
                        + "little of its rank; one that stays high uses all of it."))
            parts.append(flags)
            parts.append(.element("div", ["class": "grid"], of: charts))
            parts.append(.behind("Figures of every module", [table]))
        }
        if !report.skipped.isEmpty { parts.append(skipped) }
        return .element("section", ["aria-labelledby": "spectra"], of: parts)
    }

    private var flags: HTML {
        let dead = report.modules.count { $0.flag == .dead }
        let wide = report.modules.count { $0.flag == .overparameterised }
        guard dead + wide > 0 else { return .element("p", text: "Nothing is flagged: no dead module, none that a quarter of its rank could hold.") }
        return .element(
            "p",
            of: [
                .element("span", ["class": "warn"], text: "Flagged: "),
                .text(
                    [
                        dead > 0 ? "\(Text.counted(dead, "dead module")), without an update to speak of" : "",
                        wide > 0 ? "\(Text.counted(wide, "over-parameterised module")), 99 % of whose energy a quarter of the rank holds" : "",
                    ].filter { !$0.isEmpty }.joined(separator: "; ") + "."),
            ])
    }

    // MARK: Charts

    private struct Panel {
        let name: String
        var modules: [SpectrumReport.Module]
    }

    private var panels: [Panel] {
        var order: [String] = []
        var members: [String: [SpectrumReport.Module]] = [:]
        let places = report.modules.map { ModulePlace($0.pathName) }
        let hasSeveralStacks = Set(places.map(\.stack).filter { !$0.isEmpty }).count > 1
        for (module, place) in zip(report.modules, places) {
            let name = hasSeveralStacks && !place.stack.isEmpty ? "\(place.stack) … \(place.kind)" : place.kind
            if members[name] == nil { order.append(name) }
            members[name, default: []].append(module)
        }
        return order.map { Panel(name: $0, modules: members[$0] ?? []) }
    }

    private var charts: [HTML] { panels.map(chart) }

    private func chart(_ panel: Panel) -> HTML {
        let count = panel.modules.map(\.spectrum.singularValues.count).max() ?? 0
        let middle = SpectraFigure.median(panel.modules.map(\.spectrum.effectiveRank))
        let label = "\(panel.name): \(Text.counted(panel.modules.count, "spectrum curve")), up to \(count) values, "
            + "median effective rank \(Text.fixed(middle, 2))"
        var shapes: [HTML] = [
            .element("line", ["class": "axis", "x1": "24", "y1": "8", "x2": "24", "y2": "104"]),
            .element("line", ["class": "axis", "x1": "24", "y1": "104", "x2": "234", "y2": "104"]),
            .element("text", ["x": "19", "y": "14", "text-anchor": "end"], text: "1"),
            .element("text", ["x": "19", "y": "106", "text-anchor": "end"], text: "0"),
            .element("text", ["x": "28", "y": "117", "text-anchor": "middle"], text: "1"),
        ]
        if count > 1 { shapes.append(.element("text", ["x": "230", "y": "117", "text-anchor": "end"], text: String(count))) }
        // Flagged curves lie on top.
        for module in panel.modules.filter({ $0.flag == nil }) + panel.modules.filter({ $0.flag != nil }) {
            shapes.append(curve(module, count))
        }
        return .element(
            "figure",
            of: [
                .element(
                    "svg", ["viewBox": "0 0 240 120", "role": "img", "aria-label": label],
                    of: [.element("title", text: label)] + shapes),
                .element(
                    "figcaption",
                    of: [.element("strong", text: panel.name), .element("br"), .element("span", ["class": "soft"], text: "median effective rank \(Text.fixed(middle, 2)) of \(count)")]),
            ])
    }

    /// The middle of the values in order; of an even number of them the mean of the two in the middle; 0 of none.
    static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        guard !sorted.isEmpty else { return 0 }
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    private func curve(_ module: SpectrumReport.Module, _ count: Int) -> HTML {
        let title = HTML.element("title", text: module.name + (module.flag.map { ", \($0.rawValue)" } ?? ""))
        let flagged = module.flag == nil ? "" : " flagged"
        let values = module.spectrum.largest > 0
            ? module.spectrum.relative : [Double](repeating: 0, count: module.spectrum.singularValues.count)
        let points = values.enumerated().map { index, value in
            (x: 28 + 202 * Double(index) / Double(max(1, count - 1)), y: 104 - 94 * value)
        }
        if points.count == 1 {
            return .element(
                "circle", ["class": "dot" + flagged, "cx": Text.fixed(points[0].x, 1), "cy": Text.fixed(points[0].y, 1), "r": "3"], of: [title])
        }
        let path = points.map { "\(Text.fixed($0.x, 1)),\(Text.fixed($0.y, 1))" }.joined(separator: " ")
        return .element("polyline", ["class": "curve" + flagged, "points": path], of: [title])
    }

    // MARK: Figures

    private var table: HTML {
        .table(
            "Every module with a spectrum",
            ["module", "rank", "‖ΔW‖", "σ₁", "stable rank", "effective rank", "rank for 90 %", "rank for 99 %", "flag", "note", "singular values"],
            report.modules.map { module in
                let spectrum = module.spectrum
                return [
                    module.name, module.update.rank.map(String.init) ?? "-", Text.number(spectrum.frobeniusNorm),
                    Text.number(spectrum.largest), Text.number(spectrum.stableRank), Text.number(spectrum.effectiveRank),
                    String(spectrum.rank(holding: 0.9)), String(spectrum.rank(holding: 0.99)), module.flag?.rawValue ?? "",
                    module.update.note, spectrum.singularValues.map(Text.number).joined(separator: " "),
                ]
            }, numbers: [1, 2, 3, 4, 5, 6, 7])
    }

    private var skipped: HTML {
        .behind(
            "\(Text.counted(report.skipped.count, "module")) without a spectrum",
            [
                .table(
                    "Modules without a spectrum", ["module", "why"], report.skipped.map { [$0.module, $0.reason] }, numbers: [])
            ])
    }
}

import Peftfile

/// What rounding leaves of the updates: for each kind of module a strip with a dot for every tensor.
struct SurvivalFigure {
    let changes: [WeightChange]?

    var section: HTML {
        var parts: [HTML] = [.element("h2", ["id": "survival"], text: "What survives rounding")]
        if let changes, !changes.isEmpty {
            parts.append(
                .element(
                    "p",
                    text: "The share of the elements with an update that are stored with another value than the base's; the rest is smaller "
                        + "than half the spacing of the dtype and rounds away. A dot for each tensor, 0 to 100 %."))
            parts.append(.element("p", of: [.element("strong", text: SurvivalFigure.summary(changes))]))
            if changes.contains(where: { $0.survivingShare.map(SurvivalFigure.isMostlyLost) ?? false }) { parts.append(SurvivalFigure.legend) }
            parts.append(.element("div", ["class": "wide"], of: strips(changes)))
            parts.append(.behind("Figures of every tensor", [table(changes)]))
        } else {
            parts.append(
                .element(
                    "p", ["class": "soft"], text: changes == nil ? "It depends on the base's values: give --base." : "No tensor has an update."))
        }
        return .element("section", ["aria-labelledby": "survival"], of: parts)
    }

    static func summary(_ changes: [WeightChange]) -> String {
        var total = UpdateStatistics()
        for change in changes { total.add(change.statistics) }
        guard total.updated > 0 else { return "No element has an update." }
        return "\(DiffPage.share(1 - Double(total.unchanged) / Double(total.updated))) of \(Text.count(total.updated)) elements change"
            + (total.survival.map { "; \(Text.percent($0)) of the update's norm is left." } ?? ".")
    }

    /// Whether so little is left that the dot says so by its colour.
    private static func isMostlyLost(_ share: Double) -> Bool { share < 0.5 }

    private static var legend: HTML {
        func key(_ style: String, _ text: String) -> [HTML] {
            [
                .element("svg", ["class": "key", "viewBox": "0 0 12 12", "aria-hidden": "true"], of: [
                    .element("circle", ["class": style, "cx": "6", "cy": "6", "r": "5"])
                ]), .text(" \(text) "),
            ]
        }
        return .element("p", ["class": "soft"], of: key("dot", "half of the elements or more change") + key("dot flagged", "most round away"))
    }

    private func strips(_ changes: [WeightChange]) -> [HTML] {
        var order: [String] = []
        var members: [String: [(name: String, share: Double)]] = [:]
        for change in changes {
            guard let share = change.survivingShare else { continue }
            let kind = ModulePlace(change.module).kind
            if members[kind] == nil { order.append(kind) }
            members[kind, default: []].append((change.name.text, share))
        }
        return order.map { strip($0, members[$0] ?? []) }
    }

    private func strip(_ kind: String, _ tensors: [(name: String, share: Double)]) -> HTML {
        let shares = tensors.map(\.share)
        let (low, high) = (shares.min() ?? 0, shares.max() ?? 0)
        let range = low == high ? DiffPage.share(low) : "\(DiffPage.share(low)) to \(DiffPage.share(high))"
        let label = "\(kind): \(range) of the updated elements change, in \(Text.counted(tensors.count, "tensor"))"
        let dots = tensors.map { tensor in
            HTML.element(
                "circle",
                [
                    "class": SurvivalFigure.isMostlyLost(tensor.share) ? "dot flagged" : "dot", "cx": Text.fixed(6 + 308 * tensor.share, 1), "cy": "9", "r": "5",
                ], of: [.element("title", text: "\(tensor.name): \(DiffPage.share(tensor.share))")])
        }
        return .element(
            "figure",
            of: [
                .element("figcaption", of: [.element("strong", text: kind), .text(" "), .element("span", ["class": "soft"], text: range)]),
                .element(
                    "svg", ["viewBox": "0 0 320 27", "role": "img", "aria-label": label],
                    of: [.element("title", text: label)] + SurvivalFigure.labels
                        + [6, 83, 160, 237, 314].map { .element("line", ["class": "axis", "x1": "\($0)", "y1": "4", "x2": "\($0)", "y2": "14"]) }
                        + [.element("line", ["class": "axis", "x1": "6", "y1": "9", "x2": "314", "y2": "9"])] + dots),
            ])
    }

    private static let labels: [HTML] = [("6", "start", "0"), ("160", "middle", "50"), ("314", "end", "100 %")].map {
        .element("text", ["x": $0.0, "y": "25", "text-anchor": $0.1], text: $0.2)
    }

    private func table(_ changes: [WeightChange]) -> HTML {
        .table(
            "What rounding left of every update",
            ["tensor", "dtype", "updated", "rounded away", "changed", "norm left"],
            changes.map { change in
                [
                    change.name.text, change.dtype.rawValue, Text.count(change.statistics.updated), Text.count(change.statistics.unchanged),
                    change.survivingShare.map(DiffPage.share) ?? "-", change.statistics.survival.map(Text.percent) ?? "-",
                ]
            }, numbers: [2, 3, 4, 5])
    }
}

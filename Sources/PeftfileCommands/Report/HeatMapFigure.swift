import Peftfile

/// The heat map of a page: a table whose cells are coloured, so that it is its own text alternative.
struct HeatMapFigure {
    let map: HeatMap
    let changes: [WeightChange]?
    let spectrum: SpectrumReport

    var section: HTML {
        let quantity = map.isRelative ? "‖ΔW‖/‖W‖" : "‖ΔW‖"
        var parts: [HTML] = [
            .element("h2", ["id": "map"], text: "Where the weights change"),
            .element(
                "p",
                of: [
                    .text(map.isRelative
                        ? "The norm of each update as a share of the norm of the weight that it changes, " : "The norm of each update, "),
                    .element("span", ["class": "q"], text: quantity),
                    .text(map.isRelative
                        ? ". Darker on light, lighter on dark: more."
                        : ". Without the base there is nothing to hold it against; --base gives shares of the weight's norm."),
                ]),
        ]
        if map.isEmpty {
            parts.append(.element("p", ["class": "soft"], text: "No update has a norm that could be shown."))
        } else {
            parts.append(legend)
            for stack in map.stacks { parts += stack.layers == [nil] ? outside(stack, quantity) : grid(stack, quantity) }
        }
        if let changes, !changes.isEmpty { parts.append(.behind("Figures of every tensor", [HeatMapFigure.table(changes)])) }
        return .element("section", ["aria-labelledby": "map"], of: parts)
    }

    private var legend: HTML {
        guard map.largest > 0 else { return .element("p", ["class": "warn"], text: "Every update is zero.") }
        let steps = (0..<HeatMap.levels).map { HTML.element("i", ["class": "h\($0)"], of: [.text("")]) }
        return .element(
            "div", ["class": "legend", "aria-hidden": "true"],
            of: [
                .element("span", text: Text.number(map.smallest)), .element("div", of: steps), .element("span", text: Text.number(map.largest)),
                .element("span", text: map.isLogarithmic ? "logarithmic" : "linear"),
            ])
    }

    private func grid(_ stack: HeatMap.Stack, _ quantity: String) -> [HTML] {
        let caption = "\(quantity) in \(stack.name), layers down, modules across"
        let header = [HTML.element("th", ["scope": "col"], text: "layer")]
            + stack.kinds.map { .element("th", ["scope": "col"], of: [.element("span", text: $0)]) }
        let rows = stack.layers.map { layer in
            HTML.element(
                "tr",
                of: [.element("th", ["scope": "row"], text: layer.map(String.init) ?? "")]
                    + stack.kinds.map { cell(stack.value($0, layer), "\(stack.name) \(layer ?? 0) \($0)") })
        }
        return [
            .element("h3", text: stack.name),
            .element(
                "div", ["class": "scroll", "role": "region", "aria-label": caption, "tabindex": "0"],
                of: [
                    .element(
                        "table", ["class": stack.kinds.count <= 14 ? "map few" : "map"],
                        of: [.element("caption", text: caption), .element("thead", of: [.element("tr", of: header)]), .element("tbody", of: rows)])
                ]),
        ]
    }

    private func outside(_ stack: HeatMap.Stack, _ quantity: String) -> [HTML] {
        let rows = stack.kinds.map { kind in
            HTML.element(
                "tr", of: [.element("th", ["scope": "row"], text: kind), cell(stack.value(kind, nil), kind)])
        }
        return [
            .element("h3", text: map.stacks.count > 1 ? "Outside of the layers" : "Modules"),
            .element(
                "div", ["class": "scroll", "role": "region", "aria-label": "\(quantity) of single modules", "tabindex": "0"],
                of: [.element("table", ["class": "map few"], of: [.element("tbody", of: rows)])]),
        ]
    }

    private func cell(_ value: Double?, _ name: String) -> HTML {
        guard let value else { return .element("td", ["class": "empty"], of: [.element("span", text: "none")]) }
        let style = map.level(value).map { "h\($0)" } ?? "zero"
        return .element(
            "td", ["class": style, "title": "\(name): \(Text.number(value))"], of: [.element("span", text: HeatMapFigure.short(value))])
    }

    /// Three significant digits, for a cell.
    static func short(_ value: Double) -> String {
        guard value > 0 else { return "0" }
        if value >= 0.001, value < 1000 { return Text.fixed(value, value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : value >= 0.1 ? 3 : value >= 0.01 ? 4 : 5) }
        return Text.number(value)
    }

    static func table(_ changes: [WeightChange]) -> HTML {
        .table(
            "Every tensor with an update",
            ["tensor", "dtype", "elements", "‖W‖", "‖ΔW‖", "‖ΔW‖/‖W‖"],
            changes.map { change in
                [
                    change.name.text, change.dtype.rawValue, Text.count(change.elements), Text.number(change.baseNorm),
                    Text.number(change.statistics.norm), change.relative.map(Text.number) ?? "-",
                ]
            }, numbers: [2, 3, 4, 5])
    }
}

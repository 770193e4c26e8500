import Peftfile

/// The heat map as text: a row for each kind of module, a sign for each layer.
struct TerminalHeatMap {
    let map: HeatMap
    var glyphs = Glyphs()
    /// Columns of the terminal; nil where the text goes elsewhere, and then nothing is folded.
    var width = Console.width
    var showsColor = Console.showsColor

    var text: String {
        guard !map.isEmpty else { return "" }
        var result = "\n  \(title)\n"
        let label = map.stacks.flatMap { [$0.layers == [nil] ? "" : $0.name] + $0.kinds.map { "  " + $0 } }
            .map(\.printable.count).max() ?? 0
        for stack in map.stacks { result += stack.layers == [nil] ? single(stack, label) : rows(stack, label) }
        return result
    }

    private var title: String {
        let name = map.isRelative ? glyphs.relativeUpdate : glyphs.updateNorm
        guard map.largest > 0 else { return "\(name) by layer and module: all zero" }
        let range = map.smallest == map.largest
            ? "\(colored(7)) \(Text.number(map.largest))"
            : "\(colored(0)) \(Text.number(map.smallest)) to \(colored(7)) \(Text.number(map.largest))"
        return "\(name) by layer and module: \(range)\(map.isLogarithmic ? ", logarithmic" : "")"
    }

    private func rows(_ stack: HeatMap.Stack, _ label: Int) -> String {
        let room = width.map { max(10, $0 - label - 6) } ?? Int.max
        var result = ""
        for start in stride(from: 0, to: stack.layers.count, by: min(room, stack.layers.count)) {
            let layers = Array(stack.layers[start..<min(stack.layers.count, start + min(room, stack.layers.count))])
            result += line(stack.name, label, ruler(layers))
            for kind in stack.kinds {
                result += line("  " + kind, label, layers.map { sign(stack.value(kind, $0)) }.joined())
            }
        }
        return result
    }

    /// Modules outside of layers, each with its value.
    private func single(_ stack: HeatMap.Stack, _ label: Int) -> String {
        stack.kinds.map { kind in
            let value = stack.value(kind, nil)
            return line("  " + kind, label, sign(value) + (value.map { " \(Text.number($0))" } ?? ""))
        }.joined()
    }

    private func line(_ name: String, _ width: Int, _ rest: String) -> String {
        let name = name.printable
        return "  \(name)\(String(repeating: " ", count: max(0, width - name.count)))  \(rest)\n"
    }

    /// The numbers of the first layer and of every tenth place, as far as they have room.
    private func ruler(_ layers: [Int?]) -> String {
        var result = ""
        for place in stride(from: 0, to: layers.count, by: 10) {
            result += String(repeating: " ", count: max(place == 0 ? 0 : 1, place - result.count))
            if result.count == place, let layer = layers[place] { result += String(layer) }
        }
        return result
    }

    private func sign(_ value: Double?) -> String {
        guard let value else { return " " }
        return map.level(value).map(colored) ?? String(glyphs.zero)
    }

    /// A ramp of the 256 colours that reads on light and dark.
    private static let ramp = [25, 31, 37, 72, 107, 142, 178, 208]

    private func colored(_ level: Int) -> String {
        let sign = glyphs.levels[level]
        return showsColor ? "\u{1B}[38;5;\(TerminalHeatMap.ramp[level])m\(sign)\u{1B}[0m" : String(sign)
    }
}

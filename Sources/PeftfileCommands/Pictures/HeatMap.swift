/// How large the update of every module is, by layer and kind of module.
///
/// Modules that share a place (experts, stacked ones) count together: √Σ‖ΔW‖² / √Σ‖W‖².
struct HeatMap {
    /// One list of layers, or the modules outside all of them.
    struct Stack {
        let name: String
        /// Ascending; one nil for modules outside.
        let layers: [Int?]
        /// In the order in which they first come.
        let kinds: [String]
        fileprivate let values: [ModulePlace: Double]

        func value(_ kind: String, _ layer: Int?) -> Double? {
            var place = ModulePlace(stack: name, layer: layer, kind: kind)
            if layer == nil { place.stack = "" }
            return values[place]
        }
    }

    /// A module's norms.
    struct Entry {
        let module: String
        let update: Double
        /// Nil where there is no base.
        let base: Double?
    }

    /// Steps of the scale.
    static let levels = 8

    let stacks: [Stack]
    /// Whether values are shares of the weight's norm.
    let isRelative: Bool
    let smallest: Double
    let largest: Double
    var isEmpty: Bool { stacks.isEmpty }
    /// Values that span more than a factor of 20 are told apart by their logarithms.
    var isLogarithmic: Bool { smallest > 0 && largest > 20 * smallest }

    init(_ entries: [Entry]) {
        isRelative = entries.contains { $0.base != nil }
        var sums: [ModulePlace: (update: Double, base: Double)] = [:]
        var order: [ModulePlace] = []
        for entry in entries {
            let place = ModulePlace(entry.module)
            if sums[place] == nil { order.append(place) }
            let sum = sums[place] ?? (0, 0)
            sums[place] = (sum.update + entry.update * entry.update, sum.base + (entry.base.map { $0 * $0 } ?? 0))
        }
        let relative = isRelative
        let values = sums.compactMapValues { sum -> Double? in
            guard relative else { return sum.update.squareRoot() }
            return sum.base > 0 ? (sum.update / sum.base).squareRoot() : nil
        }.filter(\.value.isFinite)
        let shown = values.values.filter { $0 > 0 }.sorted()
        // One module that is as good as dead would leave one step for all others: what is a thousandth of the middle one or less is on
        // the lowest step, as is what a spectrum calls dead.
        let floor = shown.isEmpty ? 0 : shown[shown.count / 2] / 1000
        (smallest, largest) = (shown.first { $0 >= floor } ?? 0, shown.last ?? 0)
        var names: [String] = []
        for place in order where !names.contains(place.stack) { names.append(place.stack) }
        // What is outside of the layers stands last.
        names = names.filter { !$0.isEmpty } + names.filter(\.isEmpty)
        stacks = names.map { name in
            let places = order.filter { $0.stack == name }
            var kinds: [String] = []
            for place in places where !kinds.contains(place.kind) { kinds.append(place.kind) }
            let numbers = Set(places.map(\.layer)).sorted { ($0 ?? -1) < ($1 ?? -1) }
            return Stack(name: name, layers: HeatMap.withGaps(numbers), kinds: kinds, values: values)
        }
    }

    /// Layers with those between them that no update changes, which have a place of their own: who counts places shall count layers. A
    /// gap of more than a hundred is no gap of a model's.
    private static func withGaps(_ layers: [Int?]) -> [Int?] {
        var result: [Int?] = []
        for layer in layers {
            if let layer, let last = result.last ?? nil, layer - last <= 100 { result += (last + 1..<layer).map(Optional.some) }
            result.append(layer)
        }
        return result
    }

    /// The step of a value, 0 to 7; nil for an update that is zero.
    func level(_ value: Double) -> Int? {
        guard value > 0 else { return nil }
        guard value >= smallest else { return 0 }
        guard largest > smallest else { return HeatMap.levels - 1 }
        let share = isLogarithmic
            ? HeatMap.octaves(value / smallest) / HeatMap.octaves(largest / smallest)
            : (value - smallest) / (largest - smallest)
        return min(HeatMap.levels - 1, Int(share * Double(HeatMap.levels)))
    }

    /// log₂ x for x ≥ 1, straight between powers of two: a scale of colours needs no more.
    private static func octaves(_ x: Double) -> Double { Double(x.exponent) + (x.significand - 1) }
}

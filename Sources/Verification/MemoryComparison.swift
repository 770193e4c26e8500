import Adapters
import ByteAccess
import Tensors

/// An adapter that was written for PEFT under the names of the model in memory, held against its source: modules under another name there,
/// and experts whose matrices are parts of one parameter.
///
/// Of expert e of E, with factors A (r, in) and B (out, r) and the scale s, the result has somewhere among the r' rows of A' of that
/// expert A itself, the same numbers, from row c on; of s'·B' its rows of that matrix and the columns (c + k)·E + e are s·B, to the tolerance; and every other
/// element of those rows in that expert's columns is zero. So s'·B'·A' is s·B·A of each matrix, whatever rule it was written by.
struct MemoryComparison {
    private(set) var compared = 0
    private(set) var elements = 0
    private(set) var faults: [ConversionComparison.Fault] = []

    private typealias Member = (slot: NamesInMemory.Slot?, module: PortableAdapter.Module)

    /// - Returns: nil where every module has the same name in memory, and one of its own.
    init?(_ source: PortableAdapter, _ names: NamesInMemory, _ result: Adapter, tolerance: Double) throws {
        var groups: [ExactString: [Member]] = [:]
        var isOther = false
        for module in source.modules {
            let path = names.module(module.path)
            let slot = names.slot(path)
            isOther = isOther || path != module.path || slot != nil
            groups[slot.map { ExactString("\($0.container).\($0.parameter)") } ?? ExactString("\(path).weight"), default: []].append((slot, module))
        }
        guard isOther else { return nil }
        let pairs = try ParameterPairs(result).pairs
        let numbers = (AdapterNumbers(adapters: [source.adapter]), AdapterNumbers(adapters: [result]))
        for (parameter, members) in groups.sorted(by: { $0.key < $1.key }) {
            guard let pair = pairs[parameter] else {
                faults.append(.init(name: parameter.text, reason: "is not in the result"))
                continue
            }
            compared += members.count
            let reasons = try members[0].slot == nil
                ? plain(members.map(\.module), pair, numbers, tolerance) : stack(members, pair, numbers, tolerance)
            faults += reasons.map { .init(name: parameter.text, reason: $0) }
        }
        for parameter in pairs.keys.sorted() where groups[parameter] == nil {
            faults.append(.init(name: parameter.text, reason: "is in the result alone"))
        }
    }

    private mutating func plain(
        _ modules: [PortableAdapter.Module], _ pair: ParameterPairs.Pair, _ numbers: (AdapterNumbers, AdapterNumbers), _ tolerance: Double
    ) throws -> [String] {
        guard modules.count == 1, let module = modules.first else { return ["is of \(modules.count) modules"] }
        var reasons: [String] = []
        for (name, one, other) in [("A", module.a, pair.a), ("B", module.b, pair.b), ("bias", module.bias, pair.bias), ("magnitude", module.magnitude, pair.magnitude)]
        as [(String, TensorInfo?, TensorInfo?)] {
            guard let one, let other else {
                if one != nil || other != nil { reasons.append("has \(other == nil ? "no" : "a") \(name)") }
                continue
            }
            let values = (try numbers.0.elements(of: one.name, adapter: 0), try numbers.1.elements(of: other.name, adapter: 0))
            elements += values.0.count
            let scales = name == "B" ? (module.scale, pair.scale) : (1, 1)
            let wrong = zip(values.0, values.1).count { !MemoryComparison.isSame(scales.0 * $0, scales.1 * $1, name == "B" ? tolerance : 0) }
            if wrong > 0 || values.0.count != values.1.count { reasons.append("\(wrong) of \(values.0.count) elements of \(name) differ") }
        }
        return reasons
    }

    private mutating func stack(
        _ members: [Member], _ pair: ParameterPairs.Pair, _ numbers: (AdapterNumbers, AdapterNumbers), _ tolerance: Double
    ) throws -> [String] {
        let count = (members.compactMap { $0.slot?.expert }.max() ?? 0) + 1
        let rank = pair.rank
        let halves = members[0].slot?.half == nil ? 1 : 2
        guard pair.bias == nil, pair.magnitude == nil, pair.a.shape.count == 2, pair.b.shape.count == 2, rank > 0, pair.a.shape[0] == count * rank,
            pair.b.shape[1] == rank * count, pair.b.shape[0] % halves == 0
        else { return ["has factors of shape \(pair.b.shape) and \(pair.a.shape), expected ones of \(count) experts of rank \(rank)"] }
        let (a, b) = (try numbers.1.elements(of: pair.a.name, adapter: 0), try numbers.1.elements(of: pair.b.name, adapter: 0))
        let (inputs, width, rows) = (pair.a.shape[1], pair.b.shape[1], pair.b.shape[0] / halves)
        elements += a.count + b.count
        // What no matrix accounts for is zero.
        var isKnown = [Bool](repeating: false, count: b.count)
        var reasons: [String] = []
        for (slot, module) in members {
            guard let slot, module.a.shape == [module.rank, inputs], module.b.shape == [rows, module.rank], module.rank <= rank else {
                reasons.append("\(module.path) has factors of shape \(module.b.shape) and \(module.a.shape), which are no part of \(pair.b.shape) and \(pair.a.shape)")
                continue
            }
            let (first, second) = (try numbers.0.elements(of: module.a.name, adapter: 0), try numbers.0.elements(of: module.b.name, adapter: 0))
            let own = (slot.expert * rank * inputs)..<((slot.expert + 1) * rank * inputs)
            let row = (slot.half ?? 0) * rows
            func isAt(_ place: Int) -> Bool {
                let start = own.lowerBound + place * inputs
                guard zip(a[start..<(start + first.count)], first).allSatisfy({ $0.bitPattern == $1.bitPattern }) else { return false }
                return (0..<rows).allSatisfy { line in
                    (0..<module.rank).allSatisfy { k in
                        let found = pair.scale * b[(row + line) * width + (place + k) * count + slot.expert]
                        return MemoryComparison.isSame(module.scale * second[line * module.rank + k], found, tolerance)
                    }
                }
            }
            guard let place = (0...(rank - module.rank)).first(where: isAt) else {
                reasons.append("\(module.path) is no part of it")
                continue
            }
            for line in 0..<rows {
                for k in 0..<module.rank { isKnown[(row + line) * width + (place + k) * count + slot.expert] = true }
            }
        }
        let stray = b.indices.count { !isKnown[$0] && b[$0] != 0 }
        if stray > 0 { reasons.append("\(stray) elements of B are of no expert, and not zero") }
        return reasons
    }

    private static func isSame(_ expected: Double, _ found: Double, _ tolerance: Double) -> Bool {
        if expected == found || expected.isNaN && found.isNaN { return true }
        return abs(found - expected) / max(abs(expected), .leastNormalMagnitude) <= tolerance
    }
}

import Adapters
import ByteAccess
import Tensors

/// One layer of kohya's FLUX.1 held against the layers of diffusers that it is: element by element, whatever rule it was written by.
///
/// Rows of `lora_down` must be the layers' A, one behind the other. Each element of s·`lora_up` must be s_i·B_i where the rows are a layer's
/// and the columns its A's, to the tolerance, and zero everywhere else.
struct FusedLayerComparison {
    /// A layer of diffusers, or the whole.
    struct Factors {
        var a: TensorInfo
        var b: TensorInfo
        var magnitude: TensorInfo?
        var scale: Double
    }

    private(set) var reasons: [String] = []
    private(set) var elements = 0

    init(
        _ parts: [(layer: OriginalLayer, factors: Factors)], _ numbers: AdapterNumbers, _ whole: Factors, _ wholeNumbers: AdapterNumbers,
        tolerance: Double
    ) throws {
        let parts = parts.sorted { $0.layer.part < $1.layer.part }
        guard let first = parts.first, whole.a.shape.count == 2, whole.b.shape.count == 2, first.factors.a.shape.count == 2 else {
            reasons.append("is no pair of matrices")
            return
        }
        let width = first.factors.a.shape[1]
        let rows = first.layer.rowCount(width: width)
        let rank = parts.reduce(0) { $0 + $1.factors.a.shape[0] }
        guard whole.a.shape == [rank, width], whole.b.shape == [rows, rank] else {
            reasons.append("has factors of shape \(whole.b.shape) and \(whole.a.shape), expected \([rows, rank]) and \([rank, width])")
            return
        }
        var (a, magnitudes): ([Double], [Double]) = ([], [])
        var b = [Double](repeating: 0, count: rows * rank)
        var column = 0
        for (layer, factors) in parts {
            a += try numbers.elements(of: factors.a.name, adapter: 0)
            let own = try numbers.elements(of: factors.b.name, adapter: 0)
            let (height, columns) = (factors.b.shape[0], factors.b.shape[1])
            let start = layer.shares.prefix(layer.part).reduce(0, +) * width
            func place(_ row: Int) -> Int { layer.isSwapped ? (row + rows / 2) % rows : start + row }
            for row in 0..<height {
                for other in 0..<columns { b[place(row) * rank + column + other] = factors.scale * own[row * columns + other] }
            }
            if let magnitude = factors.magnitude {
                let values = try numbers.elements(of: magnitude.name, adapter: 0)
                magnitudes += layer.isSwapped ? values.indices.map { values[($0 + rows / 2) % rows] } : values
            }
            column += columns
        }
        let found = (try wholeNumbers.elements(of: whole.a.name, adapter: 0), try wholeNumbers.elements(of: whole.b.name, adapter: 0))
        elements = found.0.count + found.1.count
        note(zip(a, found.0).count { $0.bitPattern != $1.bitPattern }, of: a.count, "A")
        note(
            zip(b, found.1).count { expected, own in
                let value = whole.scale * own
                return !(value == expected || abs(value - expected) <= tolerance * abs(expected) || value.isNaN && expected.isNaN)
            }, of: b.count, "\(whole.scale)·B")
        let stored = try whole.magnitude.map { try wholeNumbers.elements(of: $0.name, adapter: 0) } ?? []
        if stored != magnitudes { reasons.append("has other magnitudes than the source") }
    }

    private mutating func note(_ wrong: Int, of count: Int, _ what: String) {
        if wrong > 0 { reasons.append("\(wrong) of \(count) elements of \(what) differ") }
    }
}

/// Row-major matrices by plain loops, as reference.
struct PlainMatrix {
    var rows: Int, columns: Int
    var elements: [Double]

    init(rows: Int, columns: Int, elements: [Double]) {
        (self.rows, self.columns, self.elements) = (rows, columns, elements)
    }

    /// Elements from -1 to 1 by a linear congruential generator (Knuth's MMIX constants).
    init(rows: Int, columns: Int, seed: UInt64) {
        var state = seed
        elements = (0..<rows * columns).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Double(Int64(bitPattern: state) >> 11) * 0x1p-52
        }
        (self.rows, self.columns) = (rows, columns)
    }

    static func identity(_ size: Int) -> PlainMatrix {
        var result = PlainMatrix(rows: size, columns: size, elements: .init(repeating: 0, count: size * size))
        for i in 0..<size { result[i, i] = 1 }
        return result
    }

    /// The reflection I - 2 v v^T / (v^T v): orthogonal, symmetric, full.
    static func reflection(_ v: [Double]) -> PlainMatrix {
        let norm = v.reduce(0) { $0 + $1 * $1 }
        var result = identity(v.count)
        for i in v.indices { for j in v.indices { result[i, j] -= 2 * v[i] * v[j] / norm } }
        return result
    }

    subscript(i: Int, j: Int) -> Double {
        get { elements[i * columns + j] }
        set { elements[i * columns + j] = newValue }
    }

    var transposed: PlainMatrix {
        var result = PlainMatrix(rows: columns, columns: rows, elements: elements)
        for i in 0..<rows { for j in 0..<columns { result[j, i] = self[i, j] } }
        return result
    }

    var magnitudes: PlainMatrix { PlainMatrix(rows: rows, columns: columns, elements: elements.map(abs)) }

    static func * (left: PlainMatrix, right: PlainMatrix) -> PlainMatrix {
        var result = PlainMatrix(
            rows: left.rows, columns: right.columns, elements: .init(repeating: 0, count: left.rows * right.columns))
        for i in 0..<left.rows {
            for k in 0..<left.columns {
                for j in 0..<right.columns { result[i, j] += left[i, k] * right[k, j] }
            }
        }
        return result
    }

    /// The largest difference of two elements at one place; NaN counts as infinite.
    func distance(to other: PlainMatrix) -> Double {
        guard rows == other.rows, columns == other.columns else { return .infinity }
        return zip(elements, other.elements).reduce(0) {
            let difference = abs($1.0 - $1.1)
            return difference.isNaN ? .infinity : Swift.max($0, difference)
        }
    }
}

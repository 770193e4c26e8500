/// A low-rank update as the dense matrix that it is, and the orthogonal projections onto its spaces, by plain loops: what
/// the comparison through factors is held against.
struct PlainProduct {
    let rows: Int
    let columns: Int
    let values: [Double]

    /// scale · B·A, B (rows, r), A (r, columns).
    init(b: [Double], a: [Double], rank: Int, scale: Double) {
        rows = b.count / rank
        columns = a.count / rank
        var values = [Double](repeating: 0, count: rows * columns)
        for i in 0..<rows {
            for k in 0..<rank {
                for j in 0..<columns { values[i * columns + j] += scale * b[i * rank + k] * a[k * columns + j] }
            }
        }
        self.values = values
    }

    var norm: Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }

    func distance(to other: PlainProduct) -> Double {
        zip(values, other.values).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
    }

    func cosine(to other: PlainProduct) -> Double {
        zip(values, other.values).reduce(0) { $0 + $1.0 * $1.1 } / norm / other.norm
    }

    /// An orthonormal basis of the column space (or the row space), by Gram-Schmidt done twice.
    func basis(ofColumns: Bool) -> [[Double]] {
        var basis: [[Double]] = []
        let (count, length) = ofColumns ? (columns, rows) : (rows, columns)
        for number in 0..<count {
            var vector = (0..<length).map { ofColumns ? values[$0 * columns + number] : values[number * columns + $0] }
            let size = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            for _ in 0..<2 {
                for known in basis {
                    let part = zip(vector, known).reduce(0) { $0 + $1.0 * $1.1 }
                    for index in vector.indices { vector[index] -= part * known[index] }
                }
            }
            let rest = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            if rest > 1e-9 * size, size > 0 { basis.append(vector.map { $0 / rest }) }
        }
        return basis
    }

    /// tr(P₁ P₂) / min(rank₁, rank₂).
    func overlap(with other: PlainProduct, ofColumns: Bool) -> Double {
        let (mine, its) = (basis(ofColumns: ofColumns), other.basis(ofColumns: ofColumns))
        var sum = 0.0
        for u in mine {
            for v in its {
                let product = zip(u, v).reduce(0) { $0 + $1.0 * $1.1 }
                sum += product * product
            }
        }
        return sum / Double(min(mine.count, its.count))
    }
}

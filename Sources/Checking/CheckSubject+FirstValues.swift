import Adapters
import ByteAccess
import Checkpoints
import Tensors

extension CheckSubject {
    /// The modules whose values are those with which PEFT began, and of how many; nil where the method's first values cannot be told.
    ///
    /// - Throws: what reading throws.
    func untouched() throws -> (tensors: [ExactString], of: Int)? {
        try untouchedModules.value {
            guard let adapter = try? adapter(), let values = try? adapter.firstValues(), !values.isEmpty else { return nil }
            _ = try self.values()
            let drawn = values.filter { if case .uniform = $0 { true } else { false } }
            var tensors = try isDraw(drawn) ? drawn.map(\.tensor) : []
            let numbers = FirstNumbers(adapter)
            for value in values {
                switch value {
                case .uniform: continue
                case .pairedColumns(let tensor): if try !numbers.isPaired(tensor) { continue }
                case .singularTriplets(let left, let values, let right):
                    if try !numbers.isDecomposition(left: left, values: values, right: right) { continue }
                }
                tensors.append(value.tensor)
            }
            return (tensors, values.count)
        }
    }

    /// Whether the numbers of all tensors together fill their intervals and none is outside. Of n numbers drawn from (−b, b) none
    /// is beyond (1 − 24/n)·b with a probability of e⁻²⁴; of n numbers that a step then moves by d, n·d/4b are outside on the mean, and
    /// none with a probability of e to the minus that. Where a step of 10⁻⁴ would put fewer than 16 outside nothing is told.
    private func isDraw(_ drawn: [FirstValues]) throws -> Bool {
        var (count, outside, largest) = (0, 0.0, 0.0)
        for case .uniform(let tensor, let bound) in drawn {
            guard let checkpoint = weights.checkpoint, let position = checkpoint.position(of: tensor), bound > 0, bound.isFinite,
                // In 16 bits the ends of the interval are rounded.
                [.f32, .f64].contains(checkpoint.tensors[position].dtype), let statistics = try values().statistics[position],
                statistics.count == checkpoint.tensors[position].info.elementCount, statistics.count > 0
            else { return false }
            count += statistics.count
            outside += Double(statistics.count) * 1e-4 / (4 * bound)
            largest = max(largest, max(abs(statistics.minimum), abs(statistics.maximum)) / bound)
        }
        return outside >= 16 && largest <= 1 + 0x1p-20 && largest >= 1 - 24 / Double(count)
    }
}

/// Reads what tells first values.
private struct FirstNumbers {
    private let numbers: AdapterNumbers
    private let adapter: Adapter
    /// Vectors that are looked at of a matrix, and the most elements of a matrix that is read for its columns.
    private static let (vectors, limit) = (16, 1 << 24)

    init(_ adapter: Adapter) { (self.adapter, numbers) = (adapter, AdapterNumbers(adapters: [adapter])) }

    func isPaired(_ tensor: ExactString) throws -> Bool {
        guard let shape = adapter.tensor(tensor)?.shape, shape.count == 2, shape[0] > 0, shape[1] >= 2, shape[1].isMultiple(of: 2) else { return false }
        let values = try numbers.elements(of: tensor, adapter: 0)
        return stride(from: 0, to: values.count, by: 2).allSatisfy { values[$0] == values[$0 + 1] } && values.contains { $0 != 0 }
    }

    func isDecomposition(left: ExactString, values: ExactString, right: ExactString) throws -> Bool {
        guard let shape = adapter.tensor(right)?.shape, shape.count == 2, shape[0] >= 2, let stored = adapter.checkpoint[right],
            stored.dtype.isMergeable
        else { return false }
        let falling = try numbers.elements(of: values, adapter: 0)
        guard falling.count == shape[0], falling.allSatisfy({ $0 >= 0 }), zip(falling, falling.dropFirst()).allSatisfy({ $0 >= $1 }) else { return false }
        let width = UInt64(shape[1]), size = UInt64(stored.dtype.bits / 8)
        let rows = try FirstNumbers.spread(shape[0]).map { row in
            let first = UInt64(row) * width * size
            return try Conversion.widened(
                adapter.checkpoint.read(stored, bytes: first..<(first + width * size)), as: stored.dtype, count: shape[1])
        }
        guard FirstNumbers.areOrthonormal(rows) else { return false }
        guard let shape = adapter.tensor(left)?.shape, shape.count == 2, shape[0] * shape[1] <= FirstNumbers.limit else { return true }
        let matrix = try numbers.elements(of: left, adapter: 0)
        return FirstNumbers.areOrthonormal(
            FirstNumbers.spread(shape[1]).map { column in (0..<shape[0]).map { matrix[$0 * shape[1] + column] } })
    }

    private static func spread(_ count: Int) -> [Int] {
        stride(from: 0, to: count, by: max(1, (count + vectors - 1) / vectors)).map { $0 }
    }

    /// Within 2⁻¹⁴: a decomposition in float32 is so within some 2⁻²⁰, and one that was rounded to bfloat16 within 2⁻⁹ / √n · 4 for n
    /// numbers. A step of training changes a product of two unit vectors by about the learning rate.
    private static func areOrthonormal(_ vectors: [[Double]]) -> Bool {
        vectors.indices.allSatisfy { i in
            (0...i).allSatisfy { j in
                abs(zip(vectors[i], vectors[j]).reduce(0) { $0 + $1.0 * $1.1 } - (i == j ? 1 : 0)) <= 0x1p-14
            }
        }
    }
}

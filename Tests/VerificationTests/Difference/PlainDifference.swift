import Tensors

/// The figures of two tensors by their definitions, one element at a time: what `diff` is held against.
struct PlainDifference {
    var unequal = 0
    var differing = 0
    var first: Int?
    var nonfinite = 0
    var nans = [0, 0]
    var infinities = [0, 0]
    var maxAbs = 0.0
    var finite = 0
    var sumAbs = 0.0
    var squares = [0.0, 0.0, 0.0]
    var product = 0.0
    var maxULP: UInt64? = 0

    var meanAbs: Double { sumAbs / Double(finite) }
    var relL2: Double? { squares[0] > 0 ? (squares[2] / squares[0]).squareRoot() : nil }
    var cos: Double? { squares[0] > 0 && squares[1] > 0 ? product / (squares[0] * squares[1]).squareRoot() : nil }

    init(_ a: StoredValues, _ b: StoredValues, rtol: Double = 0, atol: Double = 0) throws {
        // A complex number is two real ones.
        func real(_ tensor: StoredValues) throws -> (dtype: DType, values: [Double]) {
            guard tensor.dtype == .c64 else { return (tensor.dtype, try tensor.values) }
            return (.f32, try Conversion.widened(tensor.bytes, as: .f32, count: tensor.bytes.count / 4))
        }
        let (left, right) = (try real(a), try real(b))
        let (x, y) = (left.values, right.values)
        let integers = (PlainDifference.integers(a), PlainDifference.integers(b))
        let coarse = [left.dtype, right.dtype].min { PlainDifference.digits($0) < PlainDifference.digits($1) }
        for index in x.indices {
            if x[index].isNaN { nans[0] += 1 }
            if y[index].isNaN { nans[1] += 1 }
            if x[index].isInfinite { infinities[0] += 1 }
            if y[index].isInfinite { infinities[1] += 1 }
            let isSame =
                if let left = integers.0, let right = integers.1 { left[index] == right[index] }
                else { x[index] == y[index] || (x[index].isNaN && y[index].isNaN) }
            if let coarse, PlainDifference.digits(coarse) > 0 {
                let steps = Ulp.distance(x[index], y[index], in: coarse)
                if steps == .max { maxULP = nil } else { maxULP = maxULP.map { max($0, steps) } }
            } else {
                maxULP = nil
            }
            guard x[index].isFinite, y[index].isFinite else {
                if !isSame { note(index, isBeyond: true); nonfinite += 1 }
                continue
            }
            var d = abs(y[index] - x[index])
            if let left = integers.0, let right = integers.1 { d = Double((right[index] - left[index]).magnitude) }
            if !isSame { note(index, isBeyond: d > atol + rtol * abs(x[index])) }
            finite += 1
            maxAbs = max(maxAbs, d)
            sumAbs += d
            squares[0] += x[index] * x[index]
            squares[1] += y[index] * y[index]
            squares[2] += d * d
            product += x[index] * y[index]
        }
    }

    private mutating func note(_ index: Int, isBeyond: Bool) {
        unequal += 1
        guard isBeyond else { return }
        differing += 1
        if first == nil { first = index }
    }

    private static func digits(_ dtype: DType) -> Int {
        switch dtype {
        case .f64: 53
        case .f32: 24
        case .f16: 11
        case .bf16: 8
        default: 0
        }
    }

    /// The elements of a 64-bit integer type, from their bytes.
    private static func integers(_ tensor: StoredValues) -> [Int128]? {
        guard tensor.dtype == .i64 || tensor.dtype == .u64 else { return nil }
        return stride(from: 0, to: tensor.bytes.count, by: 8).map { start in
            let code = tensor.bytes[start..<(start + 8)].reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
            return tensor.dtype == .i64 ? Int128(Int64(bitPattern: code)) : Int128(code)
        }
    }
}

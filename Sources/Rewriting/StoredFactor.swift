import Adapters
import Tensors

/// A factor of a low-rank update as the adapter stores it, widened a part at a time.
///
/// Factors are the largest things that a merge holds where a wide tensor meets a high rank. The left one stays while the rows of its
/// tensor are merged, a panel at a time; the right one while it is packed, some columns at a time. One that a dialect makes of other
/// tensors is kept in float32, where every element is such a number.
struct StoredFactor: Sendable {
    private enum Storage {
        case stored([UInt8], DType)
        case narrow([Float])
        case wide([Double])
    }

    private let columns: Int
    private let storage: Storage

    /// - Throws: what reading the factor throws.
    init(_ factor: Factor, from numbers: AdapterNumbers) throws {
        columns = factor.columns
        let count = factor.rows * factor.columns
        if factor.isWhole, let (bytes, dtype) = try numbers.storedBytes(of: factor.tensor, adapter: factor.adapter),
            dtype.byteCount(elements: count) == bytes.count {
            storage = .stored(bytes, dtype)
            return
        }
        let values = try factor.matrix(from: numbers)
        storage = values.allSatisfy { Double(Float($0)) == $0 } ? .narrow(values.map { Float($0) }) : .wide(values)
    }

    /// Calls `body` with the elements of some rows, widened without error.
    func withRows<Result>(_ rows: Range<Int>, _ body: (UnsafeBufferPointer<Double>) -> Result) throws -> Result {
        let range = (rows.lowerBound * columns)..<(rows.upperBound * columns)
        if case .wide(let wide) = storage { return wide.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[range])) } }
        let values = try [Double](unsafeUninitializedCapacity: range.count) { buffer, count in
            try widen(range, into: UnsafeMutableBufferPointer(rebasing: buffer[..<range.count]))
            count = range.count
        }
        return values.withUnsafeBufferPointer(body)
    }

    /// The elements of some columns, row after row, widened without error.
    func block(columns part: Range<Int>, ofRows rows: Int) throws -> [Double] {
        try [Double](unsafeUninitializedCapacity: rows * part.count) { buffer, count in
            for row in 0..<rows {
                try widen(
                    (row * columns + part.lowerBound)..<(row * columns + part.upperBound),
                    into: UnsafeMutableBufferPointer(rebasing: buffer[(row * part.count)..<((row + 1) * part.count)]))
            }
            count = rows * part.count
        }
    }

    private func widen(_ range: Range<Int>, into result: UnsafeMutableBufferPointer<Double>) throws {
        switch storage {
        case .stored(let bytes, let dtype):
            let size = dtype.bits / 8
            try bytes.withUnsafeBytes {
                try Conversion.widen(
                    UnsafeRawBufferPointer(rebasing: $0[(range.lowerBound * size)..<(range.upperBound * size)]), as: dtype, into: result)
            }
        case .narrow(let narrow): for (place, index) in range.enumerated() { result[place] = Double(narrow[index]) }
        case .wide(let wide): for (place, index) in range.enumerated() { result[place] = wide[index] }
        }
    }
}

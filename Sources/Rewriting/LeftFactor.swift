import Adapters
import Tensors

/// The left factor of a low-rank update while the rows of its tensor are merged, a panel of rows at a time.
///
/// It is the largest thing that a merge holds where a wide tensor meets a high rank. So it is kept as the adapter stores it, and rows
/// are widened when they are wanted; one that a dialect makes of other tensors is kept in float32, where every element is such a number.
struct LeftFactor: Sendable {
    private enum Storage {
        case stored([UInt8], DType)
        case narrow([Float])
        case wide([Double])
    }

    private let rank: Int
    private let storage: Storage

    /// - Throws: what reading the factor throws.
    init(_ factor: Factor, from numbers: AdapterNumbers) throws {
        rank = factor.columns
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
        let range = (rows.lowerBound * rank)..<(rows.upperBound * rank)
        switch storage {
        case .stored(let bytes, let dtype):
            let size = dtype.bits / 8
            let values = try bytes.withUnsafeBytes {
                try Conversion.widened(
                    UnsafeRawBufferPointer(rebasing: $0[(range.lowerBound * size)..<(range.upperBound * size)]), as: dtype, count: range.count)
            }
            return values.withUnsafeBufferPointer(body)
        case .narrow(let narrow): return narrow[range].map { Double($0) }.withUnsafeBufferPointer(body)
        case .wide(let wide): return wide.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[range])) }
        }
    }
}

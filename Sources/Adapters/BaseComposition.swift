public import ByteAccess
import Tensors

/// A change that applies a low-rank map to what a layer gives: W' = W + s·U·(D·W), and its bias likewise. The map stands behind
/// the layer, so its right factor is made of the base itself.
///
///     held (out, in):  left = U,  right = D·W          held (in, out), and a bias as one row:  left = W·Dᵀ,  right = Uᵀ
///
/// Each element of D·W or W·Dᵀ is the sum over out = 0, 1, … by fused multiply-add from +0, in float64, rounded once. Then
/// the term is a low-rank one like any other: `scale · Σ_k left[i, k]·right[k, j]`.
public struct BaseComposition: Sendable, Hashable {
    /// D, (rank, out).
    public var down: Factor
    /// Uᵀ, (rank, out).
    public var upTransposed: Factor
    /// Whether the stored matrix has the layer's outputs as rows.
    public var outputsAreRows: Bool

    /// The map U·D behind a layer. U comes transposed, so that both factors are (rank, out).
    public init(down: Factor, upTransposed: Factor, outputsAreRows: Bool) {
        self.down = down
        self.upTransposed = upTransposed
        self.outputsAreRows = outputsAreRows
    }

    /// The rank of the term: rows of D.
    public var rank: Int { down.rows }

    /// The term's factors, `left` (rows, rank) and `right` (rank, columns).
    ///
    /// - Parameter weight: the stored matrix, widened.
    /// - Throws: what ``Factor/matrix(from:)`` throws for D or Uᵀ: `.malformed` with rule `FactorShape`, and what `numbers` throws.
    public func factors(
        of weight: [Double], rows: Int, columns: Int, numbers: any FactorSource
    ) throws -> (left: [Double], right: [Double]) {
        let d = try down.matrix(from: numbers)
        let u = try upTransposed.matrix(from: numbers)
        if outputsAreRows {
            return (
                Kernels.transposed(u, rows: rank, columns: rows),
                BaseComposition.product(d, weight, rows: rank, depth: rows, columns: columns)
            )
        }
        let turned = Kernels.transposed(d, rows: rank, columns: columns)
        return (BaseComposition.product(weight, turned, rows: rows, depth: columns, columns: rank), u)
    }

    private static func product(_ left: [Double], _ right: [Double], rows: Int, depth: Int, columns: Int) -> [Double] {
        var result = [Double](repeating: 0, count: rows * columns)
        left.withUnsafeBufferPointer { left in
            right.withUnsafeBufferPointer { right in
                result.withUnsafeMutableBufferPointer { result in
                    Kernels.addLowRank(
                        left: left, right: right, rows: rows, rank: depth, columns: columns, scale: 1, into: result,
                        rowStride: columns)
                }
            }
        }
        return result
    }
}

/// A bottleneck without a non-linearity behind a layer, as a method hands it to the binding: z becomes
/// z + s·(U·(D·z + b) + c) for what the layer gives, z = W·x + w.
///
///     W' = W + s·U·(D·W)          w' = w + s·U·(D·w) + s·U·b + s·c
public struct LinearBottleneck: Sendable {
    /// D, (rank, out).
    public var down: Factor
    /// Uᵀ, (rank, out).
    public var upTransposed: Factor
    /// b as one row (1, rank), and c as one row (1, out).
    public var downBias: Factor?
    /// c as one row (1, out).
    public var upBias: Factor?
    /// The tensor that the scale was read from, where it is one.
    public var scaleTensor: ExactString?

    /// The adapter tensors that are read.
    var tensors: [ExactString] {
        let factors = [down, upTransposed, downBias, upBias].compactMap { $0 }
        return factors.map(\.tensor) + factors.compactMap(\.diagonal) + [scaleTensor].compactMap { $0 }
    }
}

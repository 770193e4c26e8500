import Adapters
import Tensors

/// An additive term with its numbers at hand, and what bounds the rounding errors made in it.
///
/// ## The bound of a sum of terms
///
/// Let T be the number of terms that can meet in one element, and for a low-rank term of rank r and factor s
///
///     S = |s| · Σ_k |left[i, k]| · |right[k, j]|  ≤  |s| · ‖left[i, :]‖₂ · ‖right[:, j]‖₂      (Cauchy-Schwarz)
///
/// *The defined order* sums by fused multiply-add from +0, which is one rounding for each k, multiplies by s, and adds
/// the terms up from −0, where the first addition is exact: every product passes through at most r + 1 + (T − 1)
/// roundings, so the term's part of the sum is off by at most γ(r + T)·S.
///
/// *The path here* lets OpenBLAS form left·right, in an order nobody knows: at most r + 1 roundings for any order, with
/// or without fused operations, counting one for the write into the result (Higham, section 3.1 and 3.5). Then it
/// multiplies by s and adds up as above: γ(r + 1 + T)·S.
///
/// Both are off from the same exact number, so they differ by at most 2·γ(r + 1 + T)·S. A dense term s·d has one
/// rounding in the product and passes T − 1 additions on either path: 2·γ(T)·|s·d|. A factor's diagonal (KaSA) is
/// multiplied in when the factor is made, once for both paths: it adds nothing.
struct PreparedTerm: Sendable {
    enum Numbers: Sendable {
        case lowRank(left: [Double], right: [Double], rank: Int)
        case dense([Double])
        case computed(ComputedPart)
    }

    let region: Region
    let numbers: Numbers
    let scale: Double
    /// For each row of the region an upper bound of ‖left[i, :]‖₂; for a dense term empty.
    let rowNorms: [Double]
    /// For each column of the region an upper bound of ‖right[:, j]‖₂; for a dense term empty.
    let columnNorms: [Double]
    /// 2·γ(r + 1 + T)·|s|, or 2·γ(T)·|s|.
    let relative: Double
    /// How far another build of LAPACK could be from this term, for every element alike; 0 for stored factors.
    let libraryBound: Double
    let isDecomposed: Bool
    /// Whether no other term meets it.
    let isAlone: Bool

    /// - Parameter overlapping: T.
    init(
        region: Region, left: [Double], right: [Double], rank: Int, scale: Double, overlapping: Int,
        libraryBound: Double? = nil
    ) {
        self.region = region
        self.scale = scale
        numbers = .lowRank(left: left, right: right, rank: rank)
        rowNorms = PreparedTerm.norms(of: left, count: region.rows.count, length: rank, step: rank, stride: 1)
        columnNorms = PreparedTerm.norms(
            of: right, count: region.columns.count, length: rank, step: 1, stride: region.columns.count)
        relative = 2 * RoundingError.gamma(rank + 1 + overlapping) * abs(scale)
        self.libraryBound = libraryBound ?? 0
        isDecomposed = libraryBound != nil
        isAlone = overlapping == 1
    }

    init(region: Region, dense: [Double], scale: Double, overlapping: Int) {
        self.region = region
        self.scale = scale
        numbers = .dense(dense)
        rowNorms = []
        columnNorms = []
        relative = 2 * RoundingError.gamma(overlapping) * abs(scale)
        libraryBound = 0
        isDecomposed = false
        isAlone = overlapping == 1
    }

    /// A term whose rows come with bounds of their own.
    ///
    /// Where that bound D is 0, s·x is the same product on both paths; else it adds |s|·D + 2u·|s·x|, and the sum of T
    /// terms 2·γ(T)·|s·x|: 2·γ(T + 1)·|s·x| covers both. A term that is alone is not rounded by the sum.
    init(_ part: ComputedPart, scale: Double, overlapping: Int) {
        region = part.region
        self.scale = scale
        numbers = .computed(part)
        rowNorms = []
        columnNorms = []
        relative = 2 * RoundingError.gamma(overlapping + 1) * abs(scale)
        libraryBound = 0
        isDecomposed = false
        isAlone = overlapping == 1
    }

    /// Upper bounds of the Euclidean norms of `count` lines of `length` numbers. They are scaled by the largest number
    /// of the line, so that no square overflows, or vanishes and makes the norm of a line that is not zero zero.
    private static func norms(of matrix: [Double], count: Int, length: Int, step: Int, stride: Int) -> [Double] {
        (0..<count).map { line in
            var largest = 0.0
            for k in 0..<length {
                let magnitude = abs(matrix[line * step + k * stride])
                if !(magnitude <= largest) { largest = magnitude }
            }
            guard largest > 0, largest.isFinite else { return largest }
            var sum = 0.0
            for k in 0..<length {
                let ratio = matrix[line * step + k * stride] / largest
                sum += ratio * ratio
            }
            return largest * sum.squareRoot() * RoundingError.slack
        }
    }
}

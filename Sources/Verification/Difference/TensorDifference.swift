public import ByteAccess
import Checkpoints
public import Tensors

/// How the elements of two tensors of one name and shape differ.
///
/// With d = b − a in float64, over the pairs of finite numbers:
///
///     maxAbs = max |d|      meanAbs = Σ|d| / n      relL2 = ‖d‖₂ / ‖a‖₂      cos = a·b / (‖a‖₂ ‖b‖₂)
///
/// A complex number counts as two elements, its real and its imaginary part.
public struct TensorDifference: Sendable {
    /// The name in A.
    public var name: ExactString
    /// The name in B, where it is spelt otherwise there.
    public var nameInB: ExactString
    /// The dtype in A.
    public var dtype: DType
    /// The dtype in B.
    public var dtypeInB: DType
    /// The shape, which is the same in both.
    public var shape: Shape
    /// How many elements there are.
    public var elements: Int
    /// Pairs of different numbers.
    public var unequal: Int
    /// Those of them that are beyond the tolerance; all of them where there is none.
    public var differing: Int
    /// The first of those, in C order from 0.
    public var first: Int?
    /// Nil without a pair of finite numbers.
    public var maxAbs: Double?
    /// The mean of |d|; nil without a pair of finite numbers.
    public var meanAbs: Double?
    /// Nil where A's norm is 0.
    public var relL2: Double?
    /// Nil where a norm is 0.
    public var cos: Double?
    /// The largest distance in steps of `stepDType`; nil where that is nil, or where NaN met a number.
    public var maxULP: UInt64?
    /// The type that steps are counted of: the tensors' own, or of two the one with fewer digits; nil for types that are
    /// no floating-point numbers of 16 bits or more.
    public var stepDType: DType?
    /// Pairs of different numbers of which one at least is NaN or infinite; they enter none of the figures.
    public var nonfinite: Int
    /// Elements of A that are NaN.
    public var nansInA: Int
    /// Elements of B that are NaN.
    public var nansInB: Int
    /// Elements of A that are infinite.
    public var infinitiesInA: Int
    /// Elements of B that are infinite.
    public var infinitiesInB: Int

    /// The share of elements that differ, and of those that are another number, within the tolerance or not.
    public var share: Double { elements > 0 ? Double(differing) / Double(elements) : 0 }
    /// The share of elements that are another number, within the tolerance or not.
    public var unequalShare: Double { elements > 0 ? Double(unequal) / Double(elements) : 0 }

    init(_ pair: TensorPair, _ tally: DifferenceTally) {
        name = pair.a.name
        nameInB = pair.b.name
        dtype = pair.a.dtype
        dtypeInB = pair.b.dtype
        shape = pair.a.shape
        elements = pair.elements
        unequal = tally.unequal
        differing = tally.differing
        first = tally.first
        nonfinite = tally.nonfinite
        (nansInA, nansInB) = tally.nans
        (infinitiesInA, infinitiesInB) = tally.infinities
        stepDType = pair.stepDType
        maxULP = stepDType == nil || tally.hasUncountedDistance ? nil : tally.maxULP
        relL2 = ScaledSum.rootOfRatio(tally.squaresOfDifference, tally.squaresA)
        cos = ScaledSum.cosine(tally.product, tally.squaresA, tally.squaresB)
        if tally.finite > 0 {
            maxAbs = tally.maxAbs
            meanAbs = tally.absolutes.mean(of: tally.finite)
        }
    }
}

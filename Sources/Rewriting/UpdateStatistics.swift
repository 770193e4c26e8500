import Adapters
import Tensors

/// What rounding left of an update, over the elements that it touches.
///
/// An update can be smaller than half the spacing of the output's dtype; such an element is stored unchanged and the
/// update is lost there. Survival is `‖stored update‖₂ / ‖update‖₂`, where the update is the exact result minus the
/// base and the stored update is the rounded result minus the base: 1 means that nothing was lost on the whole, and
/// rounding can push it a little above 1.
public struct UpdateStatistics: Sendable, Hashable {
    /// Elements whose update is not zero, or in the general path whose float64 result differs from the base.
    public var updated = 0
    /// Those of them that are stored with the base's value.
    public var unchanged = 0
    /// Results that are NaN or infinite where the base was not.
    public var nonfinite = 0
    /// Elements that are NaN or infinite in the base.
    public var baseNonfinite = 0
    var exactSquares = 0.0
    var storedSquares = 0.0
    var roundingSquares = 0.0

    /// The statistics of no elements yet.
    public init() {}

    init(_ panel: PanelStatistics) {
        updated = panel.updated
        unchanged = panel.unchanged
        nonfinite = panel.nonfinite
        baseNonfinite = panel.baseNonfinite
        exactSquares = panel.updateSquares
        storedSquares = panel.storedSquares
    }

    /// Figures that take as many characters as any of a tensor can.
    static func widest(of recipe: TensorRecipe) -> UpdateStatistics {
        var result = UpdateStatistics()
        let count = max(1, recipe.shape.elementCount ?? 0)
        (result.updated, result.unchanged) = (count, count)
        (result.exactSquares, result.storedSquares) = (1.2345e-10 * 1.2345e-10, 1.524e-15 * 1.524e-15)
        return result
    }

    /// `‖update‖₂²`, before rounding.
    public var squares: Double { exactSquares }

    /// `‖stored update‖ / ‖update‖`; nil where nothing was updated.
    public var survival: Double? {
        guard exactSquares > 0, exactSquares.isFinite, storedSquares.isFinite else { return nil }
        return (storedSquares / exactSquares).squareRoot()
    }

    /// `‖stored result − exact result‖ / ‖update‖`, where blocks were requantised; nil elsewhere.
    public var roundingError: Double? {
        guard exactSquares > 0, roundingSquares > 0, roundingSquares.isFinite else { return nil }
        return (roundingSquares / exactSquares).squareRoot()
    }

    mutating func addRounding(exact: [Double], stored: [Double], range: Range<Int>) {
        for index in range { roundingSquares += (stored[index] - exact[index]) * (stored[index] - exact[index]) }
    }

    /// `‖update‖₂`, the Frobenius norm of the exact update.
    public var norm: Double { exactSquares.squareRoot() }

    mutating func add(original: [Double], exact: [Double], stored: [Double], range: Range<Int>) {
        original[range].withUnsafeBufferPointer { original in
            exact[range].withUnsafeBufferPointer { exact in
                stored[range].withUnsafeBufferPointer { stored in
                    add(UpdateStatistics(Kernels.tally(original: original, exact: exact, stored: stored)))
                }
            }
        }
    }

    /// Sums over both.
    public mutating func add(_ other: UpdateStatistics) {
        updated += other.updated
        unchanged += other.unchanged
        nonfinite += other.nonfinite
        baseNonfinite += other.baseNonfinite
        exactSquares += other.exactSquares
        storedSquares += other.storedSquares
        roundingSquares += other.roundingSquares
    }
}

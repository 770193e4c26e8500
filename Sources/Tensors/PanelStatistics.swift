internal import CKernels

/// What rounding left of a panel's update. The counts are exact; they say nothing of how the panel was computed.
public struct PanelStatistics: Sendable, Hashable {
    /// Elements whose update `scale * acc` is not zero; a NaN is not.
    public var updated = 0
    /// Those of them that are stored with the value of W.
    public var unchanged = 0
    /// Elements stored as Inf or NaN where W is finite.
    public var nonfinite = 0
    /// Elements of which W is Inf or NaN.
    public var baseNonfinite = 0
    /// The sum of the squares of the updates, and of what was stored less W, over the updated elements where both are
    /// finite. Good to 1e-6 of itself: BF16 and F16 sum a tile's squares in float32, unless all are small. Factors
    /// chosen to that end can put the updates' sum off by more, 1e-5 at the most while no terms cancel.
    public var updateSquares = 0.0
    /// The sum of squares of what the stored elements changed by.
    public var storedSquares = 0.0

    /// The statistics of no elements yet.
    public init() {}

    init(_ tally: ck_low_rank_tally) {
        updated = Int(tally.updated)
        unchanged = Int(tally.unchanged)
        nonfinite = Int(tally.nonfinite)
        baseNonfinite = Int(tally.base_nonfinite)
        updateSquares = tally.update_squares
        storedSquares = tally.stored_squares
    }
}

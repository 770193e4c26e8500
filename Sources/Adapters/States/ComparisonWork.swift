public import ByteAccess

/// How a training state's frozen weights are held against a base. It has no part in the result, so any two are equal.
public struct ComparisonWork: Sendable, Hashable {
    /// How many weights are compared at a time.
    public var jobs = Machine.availableCores
    /// Called with bytes of the state that have just been compared.
    public var progress: (@Sendable (UInt64) -> Void)?

    /// All cores, and nobody who looks on.
    public init() {}

    /// True: which work it was does not show in what came of it.
    public static func == (first: ComparisonWork, second: ComparisonWork) -> Bool { true }
    /// Feeds nothing, as all are equal.
    public func hash(into hasher: inout Hasher) {}
}

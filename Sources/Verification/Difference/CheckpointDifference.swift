public import ByteAccess
public import Checkpoints
public import Tensors

/// What differs between two checkpoints or adapters, A and B.
///
/// Tensors decide: names, dtypes, shapes and numbers. Metadata and configs are told beside it (`notes`) and decide
/// nothing, but for what an adapter's config does to its update: the same factors with another scale are another
/// adapter (`updates`).
public struct CheckpointDifference: Sendable {
    /// A tensor that both have, stored in another type or with another shape.
    public struct Retyped: Sendable, Hashable {
        /// What the numbers came to, where one shape let them be compared.
        public enum Values: String, Sendable, Hashable {
            /// All numbers are equal, and some are not.
            case equal, different
            /// The shapes differ, or a dtype has no numbers.
            case notCompared = "not_compared"
        }

        /// The name in both.
        public var name: ExactString
        /// The type in A's file, as ``Checkpoint/storedType(of:)`` names it.
        public var typeInA: String
        /// The type in B's file.
        public var typeInB: String
        /// The shape in A.
        public var shapeInA: Shape
        /// The shape in B.
        public var shapeInB: Shape
        /// What the numbers came to.
        public var values: Values
    }

    /// A tensor of two adapters that means the same and is spelt otherwise.
    public struct Renamed: Sendable, Hashable {
        /// The name in A.
        public var name: ExactString
        /// The name in B.
        public var nameInB: ExactString
    }

    /// A value beside the tensors that differs.
    public struct Note: Sendable, Hashable {
        /// `__metadata__`, `config.json` or `adapter_config.json`.
        public var place: String
        /// The keys that lead to the value, with dots between; nil where one side has the whole place and the other not.
        public var key: String?
        /// The values as JSON; nil where there is none.
        public var inA: String?
        /// The value in B as JSON; nil where there is none.
        public var inB: String?
    }

    /// Tensors that both have and that were compared, as far as they are selected; with `renamed`.
    public var compared = 0
    /// Elements of them.
    public var comparedElements = 0
    /// Only in A, only in B; sorted by name.
    public var removed: [StoredTensor] = []
    /// Only in B, sorted by name.
    public var added: [StoredTensor] = []
    /// Sorted by name in A, as the following.
    public var renamed: [Renamed] = []
    /// Tensors with another dtype or shape.
    public var retyped: [Retyped] = []
    /// Tensors with an element beyond the tolerance.
    public var changed: [TensorDifference] = []
    /// Tensors whose bytes differ and whose elements all count as equal: within the tolerance, or the same numbers in
    /// other bits (−0 and 0, NaN with another payload).
    public var tolerated: [TensorDifference] = []
    /// Values beside the tensors that differ.
    public var notes: [Note] = []
    /// The updates that two adapters make; nil unless both are adapters.
    public var updates: UpdateComparison?
    /// What a reader should know, in words.
    public var warnings: [String] = []

    /// A difference of nothing yet, in which A and B are equal.
    public init() {}

    /// Whether the tensors are the same: by name, dtype, shape and number.
    public var hasEqualTensors: Bool {
        removed.isEmpty && added.isEmpty && renamed.isEmpty && retyped.isEmpty && changed.isEmpty
    }

    /// Whether A and B are the same: the tensors, and for two adapters the method and the updates.
    public var isEqual: Bool { hasEqualTensors && updates?.showsDifference != true }
}

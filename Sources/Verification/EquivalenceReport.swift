public import ByteAccess
public import Checkpoints
public import Tensors

/// How a result compares with what a base and adapters come to, tensor by tensor.
public struct EquivalenceReport: Sendable {
    /// How a tensor's elements come about, and so how they were judged.
    public enum Kind: String, Sendable, Hashable {
        /// The source's bytes; compared bit for bit.
        case copied
        /// The source's elements in another dtype, or with rows replaced; every element has one right answer.
        case converted
        /// Elements computed from several numbers; recomputed by another arithmetic.
        case computed
    }

    /// An element that was not accepted.
    public struct Mismatch: Sendable, Hashable {
        /// The element's position in the tensor, in C order from 0.
        public var index: Int
        /// What the result holds.
        public var stored: Double
        /// What was expected, before it is rounded to the tensor's dtype.
        public var expected: Double
    }

    /// What multiplying with probe vectors showed: `W'·x` against `W·x + scale·B·(A·x)`, without ever forming B·A.
    public enum Probe: Sendable, Hashable {
        /// - vectors: how many were used.
        /// - failures: rows × vectors outside the tolerance.
        /// - worst: the largest difference, as a multiple of its tolerance; above 1 is a failure.
        case compared(vectors: Int, failures: Int, worst: Double)
        /// The tensor has no linear form; the reason says why.
        case skipped(String)
    }

    /// One tensor that both sides have, in the same dtype and shape.
    public struct Tensor: Sendable {
        /// The tensor's name.
        public var name: ExactString
        /// Whether it was computed or copied.
        public var kind: Kind
        /// How many elements there are.
        public var elements: Int
        /// The largest distance from the expected value after rounding, in steps of the dtype; nil where a distance has
        /// no number: NaN against a number, or different codes of a type without steps.
        public var maxULP: UInt64?
        /// The largest |stored − expected|, the expected value taken before it is rounded. Pairs with a NaN or an
        /// infinity on one side only do not enter it.
        public var maxAbs: Double
        /// Pairs of which exactly one is NaN or infinite, or which are different infinities.
        public var nonfinite: Int
        /// Elements that were not accepted.
        public var mismatched: Int
        /// Elements that the bound of the two arithmetics' difference did not decide alone, and that were evaluated in
        /// the defined order as well. (Where the base is decomposed there is none: several answers were acceptable.)
        public var ambiguous: Int
        /// Elements accepted only because another build of LAPACK may have written them (methods that decompose the
        /// base).
        public var acceptedByLibraryBound: Int
        /// The first element that was not accepted.
        public var firstMismatch: Mismatch?
        /// Nil where no probe was asked for, or the tensor is copied.
        public var probe: Probe?

        /// Whether the tensor is right.
        public var isEquivalent: Bool {
            guard mismatched == 0 else { return false }
            if case .compared(_, let failures, _) = probe { return failures == 0 }
            return true
        }
    }

    /// A tensor that the result stores in another dtype or shape.
    public struct Disagreement: Sendable, Hashable {
        /// The tensor's name.
        public var name: ExactString
        /// What a correct merge writes.
        public var expectedDType: DType
        /// What the result has.
        public var foundDType: DType
        /// What a correct merge writes.
        public var expectedShape: Shape
        /// What the result has.
        public var foundShape: Shape
    }

    /// A value of config.json that must follow the weights and does not.
    public struct ConfigMismatch: Sendable {
        /// The keys that lead to the value.
        public var path: [ExactString]
        /// What a correct merge writes.
        public var expected: JSONValue
        /// What the result's config has; nil where the key is absent.
        public var found: JSONValue?
    }

    /// The tensors that were compared, in output order.
    public var tensors: [Tensor] = []
    /// Tensors that the result lacks.
    public var missing: [ExactString] = []
    /// Tensors that the result has and should not have.
    public var unexpected: [ExactString] = []
    /// Tensors in another dtype or shape than expected; they are not compared further.
    public var disagreements: [Disagreement] = []
    /// Keys of config.json that should have been changed and are not.
    public var config: [ConfigMismatch] = []
    /// The files of the result beside what the receipt says was written; nil where no receipt was asked.
    public var files: FileComparison?
    /// What a reader should know beside the verdict.
    public var warnings: [String] = []

    /// A report in which nothing was compared yet and nothing is wrong, so that it counts as equivalent.
    public init() {}

    /// Whether the result is what base and adapters come to: every tensor there, none besides, every element accepted,
    /// every probe within its tolerance, the config in step.
    public var isEquivalent: Bool {
        missing.isEmpty && unexpected.isEmpty && disagreements.isEmpty && config.isEmpty && files?.changed.isEmpty != false
            && tensors.allSatisfy(\.isEquivalent)
    }
}

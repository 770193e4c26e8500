/// The updates that two adapters make to one base, compared module by module: low-rank ones as products of their
/// factors (`LowRankProduct`), all others row by row (`UpdateRows`), whatever their methods and dialects.
///
/// Many pairs of factors have one product: B·G and G⁻¹·A make the update of B and A, for every invertible G. So the
/// tensors of two adapters can differ in every element while the adapters do the same; what they do is Δ = Σ s·B·A.
///
/// Two products count as the same where
///
///     ‖Δ₁ − Δ₂‖_F ≤ ρ,   ρ = ρ(1) + ρ(2),
///     ρ(i) = √(u_A² + u_B²) · √(Σ_k (s ‖b_k‖ ‖a_k‖)²) + 64·u_c · Σ_k s ‖b_k‖ ‖a_k‖
///
/// with b_k and a_k the columns of B and the rows of A. The first part is the root mean square that rounding every
/// stored element to its type can cause, by a relative error of at most u (2⁻²⁴ for F32, 2⁻⁸ for BF16) that is
/// independent of the others'. The second allows for the computation that found the other factors, in float32
/// (u_c = 2⁻²⁴; 2⁻⁵³ where all factors are F64): decompositions are backward stable, with an error of a modest multiple
/// of u_c times the norm (LAPACK Users' Guide, 3rd edition, section 4.9). The error of the comparison itself is far
/// below either (`LowRankProduct`). For other formulas the same root mean square is carried through every operation
/// (`RoundedArithmetic`). A difference below ρ is not proved to be rounding, but it cannot be told from it.
public struct UpdateComparison: Sendable {
    /// One matrix that both adapters change.
    public struct Module: Sendable {
        /// The module.
        public var name: String
        /// r in A.
        public var rankInA: Int?
        /// r in B.
        public var rankInB: Int?
        /// The scale in A.
        public var scaleInA: Double?
        /// The scale in B.
        public var scaleInB: Double?
        /// Whether the factors are the same bytes; then norms and overlaps are not computed.
        public var hasSameFactors: Bool
        /// ‖Δ₁‖_F, ‖Δ₂‖_F.
        public var normInA: Double?
        /// ‖Δ₂‖_F; nil where the factors are the same bytes.
        public var normInB: Double?
        /// ‖Δ₁ − Δ₂‖_F / ‖Δ₁‖_F; nil where Δ₁ is 0 and Δ₂ is not.
        public var relativeDifference: Double?
        /// ρ / ‖Δ₁‖_F.
        public var rounding: Double?
        /// ⟨Δ₁, Δ₂⟩ / (‖Δ₁‖_F ‖Δ₂‖_F).
        public var cos: Double?
        /// φ of the column spaces and of the row spaces: how much of the smaller space lies in the other, 0 to 1; nil
        /// where a space is empty, and for updates that are not of low rank.
        public var columnOverlap: Double?
        /// φ of the row spaces.
        public var rowOverlap: Double?
        /// Whether the two updates differ by no more than rounding.
        public var isEquivalent: Bool

        /// Whether Δ₁ is 0, so that nothing can be put in relation to it.
        public var isNothingInA: Bool { normInA == 0 || scaleInA == 0 }
        /// Whether Δ₂ is 0.
        public var isNothingInB: Bool { normInB == 0 || scaleInB == 0 }
    }

    /// A module whose updates could not be compared.
    public struct Skipped: Sendable, Hashable {
        /// The module.
        public var name: String
        /// Why its updates could not be compared.
        public var reason: String
    }

    /// Why nothing could be compared; nil where it could.
    public internal(set) var reason: String?
    /// The matrices that both adapters change.
    public internal(set) var modules: [Module] = []
    /// Modules that one adapter alone changes.
    public internal(set) var onlyInA: [String] = []
    /// Modules that B alone changes.
    public internal(set) var onlyInB: [String] = []
    /// Modules whose updates could not be compared.
    public internal(set) var skipped: [Skipped] = []
    /// Whether tensors differ that are no factors: biases, saved modules, magnitudes.
    public internal(set) var hasOtherDifferences = false
    /// Whether the configs name two methods, or give a module two forms of one.
    public internal(set) var methodsDiffer = false
    /// Keys of the configs that differ and by which the same tensors are another model: those that choose what is loaded, and where
    /// updates were not compared as numbers all that a method may read.
    public internal(set) var differingSettings: [String] = []
    /// Whether a module has two forms of which only a base could tell that they do the same.
    var formsDiffer = false

    /// Whether the two adapters do the same to every base, as far as it can be told from rounding.
    public var isEquivalent: Bool {
        reason == nil && !modules.isEmpty && modules.allSatisfy(\.isEquivalent) && onlyInA.isEmpty && onlyInB.isEmpty
            && skipped.isEmpty && !hasOtherDifferences && !formsDiffer && differingSettings.isEmpty
    }

    /// Whether the adapters were seen to be different though their tensors may be the same: by another scale, setting or method.
    var showsDifference: Bool {
        formsDiffer || !differingSettings.isEmpty || !modules.allSatisfy(\.isEquivalent) || methodsDiffer && (reason != nil || modules.isEmpty || !skipped.isEmpty)
    }
}

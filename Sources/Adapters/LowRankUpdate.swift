public import ByteAccess
import Tensors

/// The low-rank update of one matrix, as an adapter tells it without its base: `Σ scale · left · right`.
public struct LowRankUpdate: Sendable {
    /// One product, on the whole matrix or on a rectangle of it.
    public struct Term: Sendable {
        /// (rows, r) and (r, columns) of the region.
        public var left: Factor
        /// (r, columns) of the region.
        public var right: Factor
        /// The factor of the product.
        public var scale: Double
        /// Nil for the whole matrix.
        public var region: Region?
    }

    /// The in-memory path of the module, without the prefixes that files write in different ways.
    public var module: ExactString
    /// The parameter of the module: `weight`, or a name of its own.
    public var parameter: String
    /// Which of stacked experts.
    public var expert: Int?
    /// What the update needs beside the product, and the base alone knows: empty for plain LoRA. Only updates of one form
    /// can be compared by their products.
    public var form: String
    /// r, the columns of `left`; of several terms their sum.
    public var rank: Int
    /// The module's scaling.
    public var scale: Double
    /// The shape of the matrix, as far as the adapter knows it.
    public var rows: Int
    /// The columns of the matrix.
    public var columns: Int
    /// The products, which are added.
    public var terms: [Term]
    /// The tensors that the terms read.
    public var tensors: [ExactString]
}

/// All low-rank updates of an adapter.
public struct LowRankUpdates: Sendable {
    /// One for each matrix that is changed.
    public var updates: [LowRankUpdate] = []
    /// Modules whose update the files do not tell, each with the reason.
    public var skipped: [(module: ExactString, reason: String)] = []
}

extension Adapter {
    /// The low-rank updates that the adapter makes; nil where its method is of another form, or its scale unknown.
    ///
    /// - Throws: `.refused` where method or config are not known or contradict the tensors.
    public func lowRankUpdates() throws -> LowRankUpdates? { try MethodRegistry.method(of: self).lowRankUpdates(of: self) }
}

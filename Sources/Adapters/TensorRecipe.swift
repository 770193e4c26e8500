public import ByteAccess
public import Tensors

/// How one output tensor comes about, in terms of stored bytes and float64 arithmetic: the value that a plan executes
/// and that verification recomputes by its own path.
///
/// The tensor is read as a matrix of `rows` × `columns` (for a stack of experts all matrices below each other). In
/// order: the source's elements, widened; replaced rows; transforms; the sum of the updates; magnitudes; one
/// rounding. Expressions read the source as it is before transforms.
public struct TensorRecipe: Sendable, Hashable {
    /// Where the unchanged elements come from.
    public enum Source: Sendable, Hashable {
        /// A tensor of the base.
        case base(ExactString)
        /// A tensor of an adapter that takes the place of the base's (`modules_to_save`, `bias=all`, a resized
        /// embedding).
        case adapter(Int, ExactString)
    }

    /// Rows copied from an adapter tensor over the source (`trainable_token_indices`, parts of fused parameters).
    public struct RowReplacement: Sendable, Hashable {
        /// `rows[i]` is the matrix row that row i of `values` replaces.
        public var rows: [Int]
        /// The columns that are replaced; `values` has as many.
        public var columns: Range<Int>
        /// The rows that take their place, one for each of `rows`.
        public var values: Factor

        /// Puts the rows of `values` in the place of `rows`, in these columns alone.
        public init(rows: [Int], columns: Range<Int>, values: Factor) {
            self.rows = rows
            self.columns = columns
            self.values = values
        }
    }

    /// An additive term and the rectangle it covers.
    public struct PlacedUpdate: Sendable, Hashable {
        /// The rectangle that is covered.
        public var region: Region
        /// What is added there.
        public var update: WeightUpdate

        /// Adds the update inside the region; its matrix is as large as the region.
        public init(region: Region, update: WeightUpdate) {
            self.region = region
            self.update = update
        }
    }

    /// A rectangle whose elements become those of an expression, which reads the source with its replaced rows.
    public struct Transform: Sendable, Hashable {
        /// The rectangle that is replaced.
        public var region: Region
        /// Its elements, as many rows and columns as the region.
        public var expression: MatrixExpression

        /// Replaces what is inside the region.
        public init(region: Region, expression: MatrixExpression) {
            self.region = region
            self.expression = expression
        }
    }

    /// DoRA's magnitude (arXiv:2402.09353): inside `region`, with V = W + Σ updates, each line of V along `axis` is
    /// multiplied by m / ‖line‖₂. The norm sums squares by fused multiply-add in index order, in float64.
    public struct Magnitude: Sendable, Hashable {
        /// Which lines have a magnitude each.
        public enum Axis: Sendable, Hashable {
            /// One magnitude for each row of the region.
            case rows
            /// One magnitude for each column of the region.
            case columns
        }
        /// The rectangle whose lines are scaled.
        public var region: Region
        /// Which lines.
        public var axis: Axis
        /// A single row of `region.rows.count` or `region.columns.count` elements.
        public var values: Factor

        /// Gives each row or each column of the region the norm that `values` has for it.
        public init(region: Region, axis: Axis, values: Factor) {
            self.region = region
            self.axis = axis
            self.values = values
        }
    }

    /// The output tensor's name.
    public var name: ExactString
    /// Where the unchanged elements come from.
    public var source: Source
    /// The dtype of the source's stored elements.
    public var sourceDType: DType
    /// The dtype of the output.
    public var dtype: DType
    /// The shape of the output.
    public var shape: Shape
    /// Rows that are copied over the source, in order.
    public var rowReplacements: [RowReplacement] = []
    /// Rectangles that become expressions of the source.
    public var transforms: [Transform] = []
    /// What is added, in order; the sum is taken first.
    public var updates: [PlacedUpdate] = []
    /// DoRA's magnitudes, last.
    public var magnitudes: [Magnitude] = []

    /// A recipe that takes the source's elements and does nothing to them but convert them from `sourceDType` to `dtype`. What else happens
    /// is appended to its lists.
    public init(name: ExactString, source: Source, sourceDType: DType, dtype: DType, shape: Shape) {
        self.name = name
        self.source = source
        self.sourceDType = sourceDType
        self.dtype = dtype
        self.shape = shape
    }

    /// The length of a matrix row: the last dimension of a stack of expert matrices, all but the first dimension of
    /// anything else.
    public var columns: Int { isExpertStack && shape.count == 3 ? (shape.matrix.rows > 0 ? shape[2] : 0) : shape.matrix.columns }
    /// The base's tensor that it is, without a change; nil where it is computed, or from an adapter.
    public var copiedName: ExactString? {
        guard case .base(let name) = source, !changesValues, !isFromAdapter else { return nil }
        return name
    }

    /// The number of matrix rows.
    public var rows: Int {
        isExpertStack && shape.count == 3 ? (shape.matrix.rows > 0 ? shape[0] * shape[1] : 0) : shape.matrix.rows
    }
    /// Whether the source is stored as codes, and its F64 elements are computed when they are read.
    public var isDequantised = false

    /// Set for 3-D stacks (experts, out, in), whose matrices lie below each other.
    public var isExpertStack = false

    /// Whether the source is a tensor of an adapter.
    public var isFromAdapter: Bool { if case .adapter = source { true } else { false } }

    /// Whether the output is the source, bit for bit.
    public var isCopy: Bool {
        !isDequantised && !changesValues && sourceDType == dtype
    }

    /// Whether more happens to the elements than a conversion.
    public var changesValues: Bool {
        !(rowReplacements.isEmpty && transforms.isEmpty && updates.isEmpty && magnitudes.isEmpty)
    }

    /// The rectangles whose elements are computed; all others keep the source's bits.
    public var changedRegions: [Region] {
        var regions: [Region] = []
        for region in transforms.map(\.region) + updates.map(\.region) + magnitudes.map(\.region) where !regions.contains(region) {
            regions.append(region)
        }
        return regions
    }
}

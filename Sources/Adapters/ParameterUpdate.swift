public import ByteAccess

/// A change to one parameter of the base, in the orientation that the parameter has in memory.
public struct ParameterUpdate: Sendable {
    /// What happens to the parameter's elements. Held by reference: an adapter for mixtures of experts has tens of thousands.
    public indirect enum Change: Sendable {
        /// A low-rank term B·A on the matrix, or on the matrix of one expert. `left` is (out, r), `right` (r, in);
        /// ``Binding`` turns it where the parameter is held the other way round.
        case lowRank(expert: Int?, left: Factor, right: Factor, scale: Double, region: Region?)
        /// `scale · values`, for vectors (`lora_bias`).
        case add(values: Factor, scale: Double)
        /// The adapter's tensor takes the place of the parameter. `shared` says that it is the tied parameter itself,
        /// so that every module tied to it sees the new values; a copy trained by one module is not shared.
        case replace(tensor: ExactString, shared: Bool)
        /// Rows of an embedding are replaced, on all sides of a tie.
        case replaceRows(indices: [Int], values: Factor)
        /// DoRA's magnitude: one value for each row of `left`, or for each column of `right`.
        case magnitude(values: Factor, perColumn: Bool)
        /// `scale · expression`, added to the parameter; the expression is (out, in), a convolution's (out, in·k…), a
        /// vector one row.
        case term(MatrixExpression, scale: Double)
        /// The parameter becomes the expression, in which the base's own elements stand; the same shapes.
        case transform(MatrixExpression)
        /// What the method's initialisation took out of the base, with the adapter's weight.
        case decomposition(BaseDecomposition, scale: Double)
        /// A bottleneck without a non-linearity behind the layer, on its weight or its bias.
        case bottleneck(LinearBottleneck, scale: Double)
    }

    /// Where the base keeps the parameter.
    public var place: ParameterPlace
    /// What happens to it.
    public var change: Change
    /// What `inspect` and the receipt say of it.
    public var target: AdapterTarget?

    /// A change to be made at a place. Without a target the change is made all the same, and ``Binding/targets`` does not list it.
    public init(place: ParameterPlace, change: Change, target: AdapterTarget? = nil) {
        self.place = place
        self.change = change
        self.target = target
    }
}

/// The orders in which changed tensors are listed: by name, or the worst first. Tensors in which a number became NaN or
/// infinite, and those without the figure, come before all others; equal ones are in the order of the names.
public enum DifferenceOrder: String, Sendable, CaseIterable {
    /// By name, as the rest breaks ties.
    case name
    /// The largest absolute difference first.
    case maxAbs = "max_abs"
    /// The largest mean absolute difference first.
    case meanAbs = "mean_abs"
    /// The largest relative difference of norms first.
    case relL2 = "rel_l2"
    /// The smallest cosine first.
    case cos
    /// The largest distance in steps of the dtype first.
    case ulp
    /// The largest share of elements that differ first.
    case share

    /// `name, max_abs, …`.
    public static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }

    /// Whether `left` is listed before `right`.
    public func precedes(_ left: TensorDifference, _ right: TensorDifference) -> Bool {
        let (a, b) = (badness(left), badness(right))
        return a == b ? left.name < right.name : a > b
    }

    private func badness(_ tensor: TensorDifference) -> Double {
        let value: Double? =
            switch self {
            case .name: 0
            case .share: tensor.share
            case _ where tensor.nonfinite > 0: nil
            case .maxAbs: tensor.maxAbs
            case .meanAbs: tensor.meanAbs
            case .relL2: tensor.relL2
            case .cos: tensor.cos.map { -$0 }
            case .ulp: tensor.maxULP.map(Double.init)
            }
        return value ?? .infinity
    }
}

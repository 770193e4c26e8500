public import ByteAccess
import Tensors

/// How the values with which PEFT begins can be told from trained ones, where they do not leave the base as it is, or only the base shows
/// that they do: by what a draw or a decomposition has and one step of training takes away.
public enum FirstValues: Sendable, Hashable {
    /// Drawn evenly from −bound to bound. A step of an optimiser moves every number by about the learning rate, so that of many
    /// thousand some leave the interval; a draw fills it to its ends.
    case uniform(tensor: ExactString, bound: Double)
    /// Columns 2i and 2i + 1 are one and the same; their gradients are not.
    case pairedColumns(tensor: ExactString)
    /// The parts of a singular value decomposition: columns of `left` and rows of `right` are orthonormal, `values` fall. No training keeps
    /// them so.
    case singularTriplets(left: ExactString, values: ExactString, right: ExactString)

    /// What tells of the module.
    public var tensor: ExactString {
        switch self {
        case .uniform(let tensor, _), .pairedColumns(let tensor): tensor
        case .singularTriplets(_, _, let right): right
        }
    }
}

extension Adapter {
    /// One for each module whose first values can be told; what modules share stands once.
    ///
    /// - Throws: `.refused` where method or config are not known or contradict the tensors.
    public func firstValues() throws -> [FirstValues] {
        guard dialect == nil, config?.peftType != nil else { return [] }
        var seen: Set<FirstValues> = []
        return try MethodRegistry.method(of: self).firstValues(of: self).filter { seen.insert($0).inserted }
    }
}

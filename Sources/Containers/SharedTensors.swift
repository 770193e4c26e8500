public import ByteAccess

/// Tensors of a file that lie in the same bytes.
public struct SharedTensors: Sendable, Hashable {
    /// In the order of the file's directory; two at least.
    public var names: [ExactString]
    /// Whether they are one tensor under several names: the same bytes, dtype, shape and order. Otherwise each has elements of
    /// its own and some bytes, or the span from the first to the last of them, in common with another.
    public var isIdentical: Bool

    /// A group of tensors that a container found in the same bytes.
    public init(names: [ExactString], isIdentical: Bool) {
        self.names = names
        self.isIdentical = isIdentical
    }
}

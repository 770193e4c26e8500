public import ByteAccess

/// The tensors that are compared: those that one pattern of `include` matches, or all where there is none, less those
/// that one of `exclude` matches.
public struct TensorSelection: Sendable, Hashable {
    /// Names that are taken; none means all.
    public var include: [GlobPattern]
    /// Names that are left out of those.
    public var exclude: [GlobPattern]

    /// A selection by patterns; without arguments every tensor is compared.
    public init(include: [GlobPattern] = [], exclude: [GlobPattern] = []) {
        self.include = include
        self.exclude = exclude
    }

    /// Whether every tensor is compared.
    public var isAll: Bool { include.isEmpty && exclude.isEmpty }

    /// Whether a tensor of this name is taken.
    public func contains(_ name: ExactString) -> Bool {
        (include.isEmpty || include.contains { $0.matches(name.text) }) && !exclude.contains { $0.matches(name.text) }
    }

    /// Patterns that match none of `names`: most likely mistyped.
    func unused(among names: Set<ExactString>) -> [GlobPattern] {
        (include + exclude).filter { pattern in !names.contains { pattern.matches($0.text) } }
    }
}

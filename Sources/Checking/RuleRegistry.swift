/// The rules of the house, one line each, in the order of the report.
public enum RuleRegistry {
    public static let rules: [any CheckRule] = []

    /// The rule of this id, or nil.
    public static func rule(_ id: String) -> (any CheckRule)? { rules.first { $0.id == id } }
}

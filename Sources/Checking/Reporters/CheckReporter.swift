/// A form of the report: a file in `Reporters/` and a line in ``CheckReporters``.
public protocol CheckReporter: Sendable {
    /// What `--format` calls it.
    var name: String { get }
    /// The whole document.
    func render(_ report: CheckReport) -> String
}

/// The forms that the house knows, one line each.
public enum CheckReporters {
    public static let all: [any CheckReporter] = [
        CheckTextReporter(),
        CheckJSONReporter(),
    ]

    /// The form of this name, or nil.
    public static func reporter(_ name: String) -> (any CheckReporter)? { all.first { $0.name == name } }
}

/// A form of the report: a file in `Reporters/` and a line in ``CheckReporters``.
public protocol CheckReporter: Sendable {
    /// What `--format` calls it.
    var name: String { get }
    /// The whole document.
    func render(_ report: CheckReport) -> String
}

/// The forms that the house knows, one line each.
public enum CheckReporters {
    /// All of them; `toolVersion` is what SARIF says of the tool that wrote it.
    public static func all(toolVersion: String) -> [any CheckReporter] {
        [
            CheckTextReporter(),
            CheckJSONReporter(),
            CheckJSONLinesReporter(),
            SARIFReporter(toolVersion: toolVersion),
            JUnitReporter(),
            GitHubReporter(),
            GitLabReporter(),
        ]
    }
}

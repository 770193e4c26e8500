public import ByteAccess
public import Tensors

/// What a team asks of adapters beyond what every loader asks: the file behind `--policy`.
///
/// The form of the file is `Formats/check-policy.md`.
public struct CheckPolicy: Sendable {
    /// What a policy makes of a rule's findings.
    public enum Level: Sendable, Hashable {
        /// They are not reported, and the rule's question need not be answered.
        case off
        /// They are all of this severity.
        case severity(Severity)
    }

    /// A key of `__metadata__` that has to be there.
    public struct RequiredMetadata: Sendable, Hashable {
        /// The key of `__metadata__`.
        public var key: ExactString
        /// What its value must be; nil where any will do.
        public var value: GlobPattern?
    }

    /// Findings that are known and accepted for a time.
    public struct Ignore: Sendable, Hashable {
        /// The id of the rule whose findings are ignored.
        public var rule: String
        /// The adapter's path or the file's, relative to the working directory; nil for all.
        public var path: GlobPattern?
        /// The tensor's name; nil for all, and for findings that concern no tensor.
        public var tensor: GlobPattern?
        /// Why, for those who read the report.
        public var reason: String
        /// The last day on which it counts, in UTC.
        public var expires: CalendarDate
        /// Where it stands in the file.
        public var line: Int
    }

    /// The file, for messages.
    public var file: String
    /// The severity that a rule has here, by its id.
    public var levels: [String: Level] = [:]
    /// The dtypes that tensors may have; nil for any.
    public var dtypes: [DType]?
    /// The highest rank that a module may have; nil for any.
    public var maximumRank: Int?
    /// Bytes of the files with the weights.
    public var maximumSize: UInt64?
    /// What `base_model_name_or_path` may be.
    public var bases: [GlobPattern]?
    /// Metadata that every file must carry.
    public var metadata: [RequiredMetadata] = []
    /// Findings that do not count.
    public var ignores: [Ignore] = []

    /// A policy that asks for nothing yet, to be filled in by code instead of from a file.
    ///
    /// - Parameter file: what messages call it; it is not opened.
    public init(file: String) { self.file = file }

    /// Which key of a policy each rule needs that measures by one.
    static let limits = [
        "dtype-not-allowed": "dtypes", "rank-over-limit": "max-rank", "size-over-limit": "max-size",
        "base-not-allowed": "bases", "metadata-missing": "metadata",
    ]

    /// Whether a rule that runs for policies alone has to run: its limit is given, or where it has none, a severity.
    func asksFor(_ rule: String) -> Bool {
        switch CheckPolicy.limits[rule] {
        case "dtypes": dtypes != nil
        case "max-rank": maximumRank != nil
        case "max-size": maximumSize != nil
        case "bases": bases != nil
        case "metadata": !metadata.isEmpty
        default: if case .severity = levels[rule] { true } else { false }
        }
    }
}

public import ByteAccess

/// One thing that is wrong with an adapter, as a rule found it.
public struct Finding: Sendable, Hashable {
    /// The id of the rule, for example `missing-pair`.
    public var rule: String
    /// How bad it is.
    public var severity: Severity
    /// What is wrong, in one sentence without a final stop.
    public var message: String
    /// The file or directory concerned.
    public var file: String?
    /// The tensor concerned.
    public var tensor: ExactString?
    /// The byte in `file`, where one is known.
    public var offset: UInt64?
    /// What to do about it; where a command gets further, that command, ready to paste.
    public var help: String?

    /// What a rule reports. A ``CheckRule`` has `finding`, which makes one with the rule's own id and severity.
    public init(
        rule: String, severity: Severity, message: String, file: String? = nil, tensor: ExactString? = nil,
        offset: UInt64? = nil, help: String? = nil
    ) {
        self.rule = rule
        self.severity = severity
        self.message = message
        self.file = file
        self.tensor = tensor
        self.offset = offset
        self.help = help
    }
}

public import ByteAccess

/// One rule: a file in `Rules/`, a line in ``RuleRegistry``, a paragraph of `Formats/check-rules.md`, and a bad and a good
/// fixture.
public protocol CheckRule: Sendable {
    /// The stable name, in lower case with hyphens: `missing-pair`.
    var id: String { get }
    /// The heading that its findings stand under.
    var family: RuleFamily { get }
    /// The severity of its findings unless a policy says otherwise. A rule may report single findings as less.
    var severity: Severity { get }
    /// What it finds, in one sentence.
    var summary: String { get }
    /// What it protects from: what happens to whoever loads such an adapter, with a source where one is known.
    var protectsFrom: String { get }
    /// What must be at hand before the rule can run; where something is not, the report says which and why.
    var needs: [RuleNeed] { get }

    /// The rules of the refusals, by opening the adapter or by binding it to the base, that are findings of this rule where
    /// no other rule has found their cause.
    var refusals: Set<String> { get }

    /// Whether the rule judges by a merge of some rows, where the update is large.
    var looksAtSample: Bool { get }

    /// Looks at a subject.
    ///
    /// - Throws: ``NotChecked`` where the rule applies and the question cannot be answered: the verdict is then
    ///   inconclusive, which fails closed.
    func findings(in subject: CheckSubject) throws -> [Finding]
}

/// What a rule looks at; the headings of the report.
public enum RuleFamily: String, Sendable, CaseIterable {
    /// The bytes of the files.
    case container
    /// The tensors against `adapter_config.json`.
    case config
    /// The adapter against its base.
    case base
    /// The values of the tensors.
    case numerics
    /// The files beside the weights.
    case directory
    /// What could run code or leave the directory.
    case security
    /// What a loader named by `--target` rejects or ignores.
    case serving
    /// What a policy asks for beyond all that.
    case policy
}

/// What a rule needs before it can run.
public enum RuleNeed: Sendable, Hashable {
    /// Tensors that could be read from a container.
    case tensors
    /// An `adapter_config.json` that could be read.
    case config
    /// A base, given by `--base`.
    case base
    /// A loader, given by `--target`.
    case target
    /// A policy that asks for it.
    case policy
}

/// A rule's question could not be answered.
public struct NotChecked: Error, Sendable, Hashable {
    /// Why, in words.
    public var reason: String
    /// What was found beside what stayed open.
    public var findings: [Finding]

    /// What a rule throws where its question stays open; findings that it made before that are kept in the report.
    public init(_ reason: String, findings: [Finding] = []) {
        self.reason = reason
        self.findings = findings
    }
}

extension CheckRule {
    public var needs: [RuleNeed] { [] }
    public var refusals: Set<String> { [] }
    /// A rule that says nothing else looks at everything.
    public var looksAtSample: Bool { false }

    /// A finding of this rule, with its own severity unless another is given.
    public func finding(
        _ message: String, severity: Severity? = nil, file: String? = nil, tensor: ExactString? = nil,
        offset: UInt64? = nil, help: String? = nil
    ) -> Finding {
        Finding(
            rule: id, severity: severity ?? self.severity, message: message, file: file, tensor: tensor, offset: offset,
            help: help)
    }
}

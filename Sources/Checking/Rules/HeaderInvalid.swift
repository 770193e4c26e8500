import ByteAccess

/// A safetensors header that breaks the format.
struct HeaderInvalid: CheckRule {
    let id = "header-invalid"
    let family = RuleFamily.container
    let severity = Severity.error
    let summary = "The safetensors header breaks a rule of the format."
    let protectsFrom = """
        Two readers that see two models in one file: duplicate names, overlapping byte ranges, sizes that contradict the \
        shape, and lengths made to exhaust memory. The reference reader refuses most of them (SafeTensorError in \
        safetensors/src/tensor.rs), and readers of other languages do not.
        """

    func findings(in subject: CheckSubject) throws -> [Finding] {
        unreadableWeights(
            in: subject, .headerInvalid,
            help: subject.weights.error?.help ?? "fetch or save the file again: no writer of the format makes such a header")
    }
}

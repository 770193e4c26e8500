/// Weights that end too early.
struct Truncated: CheckRule {
    let id = "truncated"
    let family = RuleFamily.container
    let severity = Severity.error
    let summary = "The file of the weights is empty or cut short."
    let protectsFrom = """
        An upload or download that broke off. The reference reader says "incomplete metadata, file not fully covered" or \
        "invalid header length", which says neither how much is missing nor what to do.
        """

    func findings(in subject: CheckSubject) throws -> [Finding] { unreadableWeights(in: subject, .truncated) }
}

/// A shard index that its shards contradict.
struct IndexInvalid: CheckRule {
    let id = "index-invalid"
    let family = RuleFamily.container
    let severity = Severity.error
    let summary = "The shard index names files or tensors that are not there, or leaves some out."
    let protectsFrom = "A shard that was not uploaded: what it held is missing, and loaders that follow the index fail late or silently."

    func findings(in subject: CheckSubject) throws -> [Finding] { unreadableWeights(in: subject, .indexInvalid) }
}

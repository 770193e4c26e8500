import ByteAccess

/// Bytes behind the last tensor.
struct TrailingBytes: CheckRule {
    let id = "trailing-bytes"
    let family = RuleFamily.container
    let severity = Severity.error
    let summary = "Bytes follow the last tensor that no tensor has."
    let protectsFrom = """
        Data hidden behind the tensors, and two files written over each other. The reference reader refuses such a file \
        (MetadataIncompleteBuffer in safetensors/src/tensor.rs); readers that map single tensors do not notice.
        """

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let error = subject.weights.error, let file = error.file ?? subject.weights.file else { return [] }
        return unreadableWeights(
            in: subject, .trailingBytes,
            help: "fetch it again, or cut it if the tensors are right: truncate -s \(error.offset ?? 0) \(file.shellQuoted)")
    }
}

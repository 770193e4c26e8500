import Adapters
import ByteAccess

/// Embeddings of another vocabulary.
struct VocabularySize: CheckRule {
    let id = "vocabulary-size"
    let family = RuleFamily.base
    let severity = Severity.warning
    let summary = "The adapter brings embeddings of another vocabulary than the base has."
    let protectsFrom = """
        Tokens that were added for training: a loader that does not resize the base first raises a size mismatch or drops the \
        saved embeddings, and without the adapter's tokenizer the new rows are never used (unslothai/unsloth issues 3428, 3444).
        """
    let needs: [RuleNeed] = [.tensors, .base]
    let refusals: Set<String> = ["VocabularySize"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let binding = subject.binding.binding,
            let change = binding.configChanges.first(where: { $0.path.last == "vocab_size" })
        else { return [] }
        let hasTokenizer = try subject.entries().contains { ["tokenizer.json", "tokenizer.model", "vocab.json"].contains($0.name) }
        return [
            finding(
                "the adapter's embeddings make a vocabulary of \(change.value.intValue.map(String.init) ?? "another size")"
                    + (hasTokenizer ? "" : ", and no tokenizer lies beside it"),
                severity: hasTokenizer ? .note : .warning, file: subject.weights.file,
                help: "resize the base's embeddings before loading, and publish the tokenizer with the adapter")
        ]
    }
}

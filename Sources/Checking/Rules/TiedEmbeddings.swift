import Adapters
import ByteAccess

/// One side of a tied pair.
struct TiedEmbeddings: CheckRule {
    let id = "tied-embeddings"
    let family = RuleFamily.base
    let severity = Severity.warning
    let summary = "The update reaches one side of embeddings that the base ties."
    let protectsFrom = """
        Merged into the shared tensor, an update of lm_head changes embed_tokens as well, and a reload ties what was written \
        apart (huggingface/peft issue 2018, huggingface/transformers issue 45127).
        """
    let needs: [RuleNeed] = [.tensors, .base]
    let refusals: Set<String> = ["TiedEmbeddings"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let binding = subject.binding.binding,
            binding.configChanges.contains(where: { $0.path.last == "tie_word_embeddings" })
        else { return [] }
        return [
            finding(
                "the base ties its embeddings, and the update reaches one side of them: a merge must untie them",
                file: subject.weights.file,
                help: "serve it unmerged, or merge it with peftfile merge, which writes both sides and sets "
                    + "tie_word_embeddings to false")
        ]
    }
}

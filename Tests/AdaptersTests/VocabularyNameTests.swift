import Testing

@testable import Adapters

/// Names by which an embedding or an output head is told, without those of other layers.
@Suite struct VocabularyNameTests {
    @Test func otherLayersHaveNone() {
        for name in ["out_proj", "proj", "output", "relative_attention_bias", "embedding_projection", "0", "class_embed"] {
            #expect(!TiedWeights.vocabularyNames.contains(name), "\(name)")
        }
        for name in ["embed_tokens", "lm_head", "wte", "shared", "word_embeddings", "embed_out", "output_projection"] {
            #expect(TiedWeights.vocabularyNames.contains(name), "\(name)")
        }
    }
}

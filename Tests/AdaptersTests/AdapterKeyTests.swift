@testable import Adapters
import ByteAccess
import Testing

/// Adapter tensor names, taken apart: stripped as PEFT saves them, and as raw state dicts have them.
@Suite struct AdapterKeyTests {
    private func expect(
        _ name: ExactString, _ module: ExactString, _ component: String?, _ leaf: String, depth: Int = 0,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let key = AdapterKey(name)
        #expect(key.module == module, sourceLocation: sourceLocation)
        #expect(key.component == component, sourceLocation: sourceLocation)
        #expect(key.leaf == leaf, sourceLocation: sourceLocation)
        #expect(key.depth == depth, sourceLocation: sourceLocation)
    }

    @Test func strippedKeys() {
        expect("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "model.layers.0.self_attn.q_proj", "lora_A", "weight")
        expect("base_model.model.bert.embeddings.word_embeddings.lora_embedding_A", "bert.embeddings.word_embeddings", "lora_embedding_A", "")
        expect("base_model.model.m.q.lora_magnitude_vector", "m.q", "lora_magnitude_vector", "")
        expect("base_model.model.m.q.lora_B.bias", "m.q", "lora_B", "bias")
        expect("base_model.model.m.q.base_layer.bias", "m.q", nil, "bias", depth: 1)
        expect("base_model.model.m.experts.base_layer.lora_A.weight", "m.experts", "lora_A", "weight", depth: 1)
        expect("base_model.model.head.attention.base_layer.out_proj.lora_B.weight", "head.attention.out_proj", "lora_B", "weight")
        expect("base_model.model.lm_head.weight", "lm_head", nil, "weight")
        expect("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", "model.embed_tokens", "trainable_tokens_delta", "")
        expect("base_model.model.m.q.lora_monteclora_sampler.std_prior", "m.q", "lora_monteclora_sampler", "std_prior")
        expect("base_model.vera_A", "", "vera_A", "")
    }

    @Test func rawStateDictKeys() {
        expect("base_model.model.m.q.lora_A.default.weight", "m.q", "lora_A", "weight")
        expect("base_model.model.m.q.lora_A.my-adapter.weight", "m.q", "lora_A", "weight")
        expect("base_model.model.e.lora_embedding_A.default", "e", "lora_embedding_A", "")
        expect("base_model.model.m.q.lora_magnitude_vector.default.weight", "m.q", "lora_magnitude_vector", "weight")
        expect("base_model.model.score.modules_to_save.default.weight", "score", nil, "weight")
        expect("base_model.model.score.original_module.weight", "score", "original_module", "weight")
        expect("module.base_model.model.m.q.lora_A.weight", "m.q", "lora_A", "weight")
        expect("_orig_mod.base_model.model.m._fsdp_wrapped_module.q.lora_A.weight", "m.q", "lora_A", "weight")
    }

    @Test func twoSpellingsOfOneTensorAreEqual() {
        let stripped = AdapterKey("base_model.model.m.q.lora_A.weight")
        let raw = AdapterKey("module.base_model.model.m.q.lora_A.default.weight")
        #expect(stripped.canonical == raw.canonical)
        #expect(stripped.canonical != AdapterKey("base_model.model.m.q.lora_B.weight").canonical)
    }

    @Test func oddNamesDoNotTrap() {
        for name in ["", ".", "..", "lora_A", ".lora_A.", "base_model.", "base_model.model", "base_model.model.", "modules_to_save", "a.modules_to_save"] {
            _ = AdapterKey(ExactString(name)).canonical
        }
    }
}

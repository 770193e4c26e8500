import ByteAccess
import Checkpoints
import Testing

/// Names of both sides, held against what gguf-py 0.19's `get_tensor_name_map` and llama.cpp's converters say.
@Suite struct GGUFArchitectureTests {
    static let pairs: [(architecture: String, hub: String, gguf: String)] = [
        ("llama", "model.layers.3.self_attn.q_proj.weight", "blk.3.attn_q.weight"),
        ("llama", "model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight"),
        ("llama", "model.layers.31.post_attention_layernorm.weight", "blk.31.ffn_norm.weight"),
        ("llama", "model.embed_tokens.weight", "token_embd.weight"),
        ("llama", "lm_head.weight", "output.weight"),
        ("llama", "model.layers.1.block_sparse_moe.gate.weight", "blk.1.ffn_gate_inp.weight"),
        ("qwen2", "model.layers.1.self_attn.k_proj.bias", "blk.1.attn_k.bias"),
        ("qwen3", "model.layers.1.self_attn.q_norm.weight", "blk.1.attn_q_norm.weight"),
        ("gemma2", "model.layers.1.post_attention_layernorm.weight", "blk.1.post_attention_norm.weight"),
        ("gemma2", "model.layers.1.pre_feedforward_layernorm.weight", "blk.1.ffn_norm.weight"),
        ("gemma3", "model.layers.1.post_feedforward_layernorm.weight", "blk.1.post_ffw_norm.weight"),
        ("phi3", "model.layers.2.self_attn.qkv_proj.weight", "blk.2.attn_qkv.weight"),
        ("phi3", "model.layers.2.mlp.gate_up_proj.weight", "blk.2.ffn_up.weight"),
        ("gpt2", "transformer.h.5.attn.c_attn.weight", "blk.5.attn_qkv.weight"),
        ("gpt2", "transformer.h.5.mlp.c_proj.weight", "blk.5.ffn_down.weight"),
        ("gptneox", "gpt_neox.layers.5.mlp.dense_4h_to_h.weight", "blk.5.ffn_down.weight"),
        ("bloom", "transformer.h.5.self_attention.dense.weight", "blk.5.attn_output.weight"),
        ("qwen2moe", "model.layers.1.mlp.shared_expert_gate.weight", "blk.1.ffn_gate_inp_shexp.weight"),
        ("deepseek2", "model.layers.1.mlp.gate.e_score_correction_bias", "blk.1.exp_probs_b.bias"),
        ("gpt-oss", "model.layers.1.self_attn.sinks", "blk.1.attn_sinks.weight"),
    ]

    @Test(arguments: pairs) func leadToEachOther(_ architecture: String, _ hub: String, _ gguf: String) throws {
        let table = try #require(GGUFArchitecture.named(architecture))
        let there = try #require(table.place(ofHub: hub))
        #expect(there.gguf == gguf)
        #expect(there.expert == nil && !there.isStack)
        let back = try #require(table.place(ofGGUF: gguf))
        #expect(back.hub == hub)
        #expect(back.rowOrder == there.rowOrder)
    }

    @Test func expertsAreSlicesOfStacks() throws {
        let mixtral = try #require(GGUFArchitecture.named("llama"))
        let up = try #require(mixtral.place(ofHub: "model.layers.2.block_sparse_moe.experts.7.w3.weight"))
        #expect(up.gguf == "blk.2.ffn_up_exps.weight")
        #expect(up.expert == 7 && up.isStack)
        let stack = try #require(mixtral.place(ofGGUF: "blk.2.ffn_down_exps.weight"))
        #expect(stack.expert == nil && stack.isStack)
        #expect(stack.hubName(expert: 3) == "model.layers.2.block_sparse_moe.experts.3.w2.weight")
        let qwen = try #require(GGUFArchitecture.named("qwen3moe"))
        #expect(qwen.place(ofGGUF: "blk.0.ffn_gate_exps.weight")?.hubName(expert: 1) == "model.layers.0.mlp.experts.1.gate_proj.weight")
    }

    @Test func prefixesOfOtherModelsAreSeenThrough() throws {
        let gemma = try #require(GGUFArchitecture.named("gemma3"))
        for name in [
            "model.language_model.layers.4.self_attn.q_proj.weight", "language_model.model.layers.4.self_attn.q_proj.weight",
            "layers.4.self_attn.q_proj.weight",
        ] { #expect(gemma.place(ofHub: name)?.gguf == "blk.4.attn_q.weight") }
        let gpt2 = try #require(GGUFArchitecture.named("gpt2"))
        #expect(gpt2.place(ofHub: "h.4.attn.c_attn.weight")?.gguf == "blk.4.attn_qkv.weight")
    }

    @Test(arguments: [
        "blk.03.attn_q.weight", "blk.-1.attn_q.weight", "blk.x.attn_q.weight", "blk.1.attn_q", "attn_q.weight", "",
        "blk.1.attn_kqv_b.weight", "token_embd.weight.lora_a",
    ]) func otherNamesHaveNoPlace(_ name: String) throws {
        for architecture in GGUFArchitecture.names {
            #expect(GGUFArchitecture.named(architecture)?.place(ofGGUF: name) == nil)
        }
    }

    /// No name of one side may stand for two of the other.
    @Test(arguments: GGUFArchitecture.names) func everyNameIsOnce(_ name: String) throws {
        let architecture = try #require(GGUFArchitecture.named(name))
        #expect(GGUFArchitecture.names.filter { $0 == name }.count == 1)
        for leaf in ["attn_q", "attn_k", "attn_qkv", "attn_output", "ffn_up", "ffn_down", "ffn_gate_exps"] {
            guard let place = architecture.place(ofGGUF: "blk.9.\(leaf).weight") else { continue }
            let hub = place.isStack ? place.hubName(expert: 2) : place.hub
            #expect(
                architecture.place(ofHub: hub)?.gguf == "blk.9.\(leaf).weight"
                    || architecture.parts(ofHub: hub).filter { $0.gguf == "blk.9.\(leaf).weight" }.count == 1)
        }
    }

    private func object(_ text: String) throws -> JSONObject {
        try #require(try JSONValue.parse(Array(text.utf8), file: "config.json").objectValue)
    }

    @Test func configsTellTheArchitecture() throws {
        func name(_ text: String) throws -> String? { GGUFArchitecture.of(try object(text))?.name }
        #expect(try name(#"{"model_type":"mistral"}"#) == "llama")
        #expect(try name(#"{"model_type":"mixtral"}"#) == "llama")
        #expect(try name(#"{"model_type":"mistral3","text_config":{"model_type":"mistral"}}"#) == "llama")
        #expect(try name(#"{"model_type":"mistral3","text_config":{"model_type":"ministral3"}}"#) == "mistral3")
        #expect(try name(#"{"model_type":"gemma3","text_config":{"model_type":"gemma3_text"}}"#) == "gemma3")
        #expect(try name(#"{"model_type":"clip"}"#) == nil)
    }

    /// numpy: `np.arange(12).reshape(2, 2, 3).swapaxes(1, 2).reshape(-1)`, two heads of six rows.
    @Test func rotaryRowsAreTurnedByHeads() {
        let heads = GGUFHeads(query: 2, key: 1)
        #expect(GGUFRowOrder.rotaryQuery.hubRows(count: 12, heads: heads) == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11])
        #expect(GGUFRowOrder.rotaryKey.hubRows(count: 6, heads: heads) == [0, 3, 1, 4, 2, 5])
        #expect(GGUFRowOrder.rotaryQuery.hubRows(count: 10, heads: heads) == nil)
        #expect(GGUFRowOrder.rotaryQuery.hubRows(count: 12, heads: GGUFHeads(query: 0, key: 0)) == nil)
    }

    /// numpy: `np.arange(12).reshape(2, 3, 2).swapaxes(0, 1).reshape(-1)`, two heads of two rows for each of q, k and v.
    @Test func fusedRowsAreGatheredByPart() {
        let heads = GGUFHeads(query: 2, key: 2)
        #expect(GGUFRowOrder.fusedByHead.hubRows(count: 12, heads: heads) == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11])
        #expect(GGUFRowOrder.fusedByHead.hubRows(count: 10, heads: heads) == nil)
    }

    @Test(arguments: [GGUFRowOrder.rotaryQuery, .rotaryKey, .fusedByHead]) func ordersAreUndone(_ order: GGUFRowOrder) throws {
        let heads = GGUFHeads(query: 6, key: 3)
        let there = try #require(order.hubRows(count: 72, heads: heads))
        let back = try #require(order.ggufRows(count: 72, heads: heads))
        #expect(there.map { back[$0] } == Array(0..<72))
        #expect(back.map { there[$0] } == Array(0..<72))
    }

    @Test func headsAreCountedByTheLanguageModel() throws {
        #expect(GGUFHeads(try object(#"{"num_attention_heads":32,"num_key_value_heads":8}"#)) == GGUFHeads(query: 32, key: 8))
        #expect(GGUFHeads(try object(#"{"n_head":12}"#)) == GGUFHeads(query: 12, key: 12))
        #expect(
            GGUFHeads(try object(#"{"text_config":{"model_type":"x","num_attention_heads":4},"num_attention_heads":16}"#))
                == GGUFHeads(query: 4, key: 4))
        #expect(GGUFHeads(try object(#"{"hidden_size":12}"#)) == nil)
    }
}

/// The renames of language models that transformers 5.20 and later know.
///
/// Each table is what `revert_weight_conversion` of transformers 5.24 makes of the names of a small model of the type, with the ends that
/// both names share left out: what saving writes, where `conversion_mapping.py` says what loading reads. Attention matrices whose
/// rows saving brings into another order for the position encoding (`PermuteForRope`) or takes in turn (`Interleave`) are not here:
/// their modules are refused.
extension RenameTable {
    static let recentLanguageEntries: [RenameEntry] = [
        RenameEntry(
            "axk2", ["axk2"],
            lines: """
                layers.*.input_layernorm.mlp.fc1 > layers.*.input_layernorm.W_down
                layers.*.input_layernorm.mlp.fc2 > layers.*.input_layernorm.W_up
                layers.*.post_attention_layernorm.mlp.fc1 > layers.*.post_attention_layernorm.W_down
                layers.*.post_attention_layernorm.mlp.fc2 > layers.*.post_attention_layernorm.W_up
                layers.*.self_attn.q_gate_proj > layers.*.self_attn.q_b_proj
                """),
        RenameEntry(
            "cohere_asr", ["cohere_asr"],
            lines: """
                ^model.decoder.layers.*.encoder_attn.k_proj > ^model.transf_decoder._decoder.layers.*.second_sub_layer.key_net
                ^model.decoder.layers.*.encoder_attn.o_proj > ^model.transf_decoder._decoder.layers.*.second_sub_layer.out_projection
                ^model.decoder.layers.*.encoder_attn.q_proj > ^model.transf_decoder._decoder.layers.*.second_sub_layer.query_net
                ^model.decoder.layers.*.encoder_attn.v_proj > ^model.transf_decoder._decoder.layers.*.second_sub_layer.value_net
                ^model.decoder.layers.*.mlp.fc1 > ^model.transf_decoder._decoder.layers.*.third_sub_layer.dense_in
                ^model.decoder.layers.*.mlp.fc2 > ^model.transf_decoder._decoder.layers.*.third_sub_layer.dense_out
                ^model.decoder.layers.*.self_attn.k_proj > ^model.transf_decoder._decoder.layers.*.first_sub_layer.key_net
                ^model.decoder.layers.*.self_attn.o_proj > ^model.transf_decoder._decoder.layers.*.first_sub_layer.out_projection
                ^model.decoder.layers.*.self_attn.q_proj > ^model.transf_decoder._decoder.layers.*.first_sub_layer.query_net
                ^model.decoder.layers.*.self_attn.v_proj > ^model.transf_decoder._decoder.layers.*.first_sub_layer.value_net
                ^model.decoder.layers.*.final_layernorm > ^model.transf_decoder._decoder.layers.*.layer_norm_3
                ^model.decoder.layers.*.input_layernorm > ^model.transf_decoder._decoder.layers.*.layer_norm_1
                ^model.decoder.layers.*.post_attention_layernorm > ^model.transf_decoder._decoder.layers.*.layer_norm_2
                ^model.decoder.pos_emb.weight$ > ^model.transf_decoder._embedding.position_embedding.pos_enc$
                layers.*.conv.norm > layers.*.conv.batch_norm
                layers.*.self_attn.bias_u$ > layers.*.self_attn.pos_bias_u$
                layers.*.self_attn.bias_v$ > layers.*.self_attn.pos_bias_v$
                layers.*.self_attn.k_proj > layers.*.self_attn.linear_k
                layers.*.self_attn.o_proj > layers.*.self_attn.linear_out
                layers.*.self_attn.q_proj > layers.*.self_attn.linear_q
                layers.*.self_attn.relative_k_proj > layers.*.self_attn.linear_pos
                layers.*.self_attn.v_proj > layers.*.self_attn.linear_v
                ^model.decoder.embed_tokens > ^model.transf_decoder._embedding.token_embedding
                ^model.decoder.embedding_layernorm > ^model.transf_decoder._embedding.layer_norm
                ^model.decoder.norm > ^model.transf_decoder._decoder.final_layer_norm
                encoder.subsampling.layers > encoder.pre_encode.conv
                encoder.subsampling.linear > encoder.pre_encode.out
                ^model.decoder.proj > ^model.encoder_decoder_proj
                ^proj_out > ^log_softmax.mlp.layer0
                """),
        RenameEntry(
            "deepseek_v4", ["deepseek_v4"],
            lines: """
                layers.*.self_attn.compressor.indexer.scorer.weights_proj > layers.*.attn.indexer.weights_proj
                layers.*.self_attn.compressor.indexer.q_b_proj > layers.*.attn.indexer.wq_b
                layers.*.self_attn.compressor.indexer.gate_proj > layers.*.attn.indexer.compressor.wgate
                layers.*.self_attn.compressor.indexer.kv_norm > layers.*.attn.indexer.compressor.norm
                layers.*.self_attn.compressor.indexer.kv_proj > layers.*.attn.indexer.compressor.wkv
                layers.*.self_attn.compressor.indexer.position_bias$ > layers.*.attn.indexer.compressor.ape$
                ^lm_head > ^head
                layers.*.mlp.shared_experts.down_proj > layers.*.ffn.shared_experts.w2
                layers.*.mlp.shared_experts.gate_proj > layers.*.ffn.shared_experts.w1
                layers.*.mlp.shared_experts.up_proj > layers.*.ffn.shared_experts.w3
                layers.*.self_attn.compressor.gate_proj > layers.*.attn.compressor.wgate
                layers.*.self_attn.compressor.kv_norm > layers.*.attn.compressor.norm
                layers.*.self_attn.compressor.kv_proj > layers.*.attn.compressor.wkv
                layers.*.self_attn.compressor.position_bias$ > layers.*.attn.compressor.ape$
                layers.*.self_attn.kv_norm > layers.*.attn.norm
                layers.*.self_attn.kv_proj > layers.*.attn.wkv
                layers.*.self_attn.o_a_proj > layers.*.attn.wo_a
                layers.*.self_attn.o_b_proj > layers.*.attn.wo_b
                layers.*.self_attn.q_a_norm > layers.*.attn.q_norm
                layers.*.self_attn.q_a_proj > layers.*.attn.wq_a
                layers.*.self_attn.q_b_proj > layers.*.attn.wq_b
                layers.*.self_attn.sinks$ > layers.*.attn.attn_sink$
                layers.*.attn_hc.base$ > layers.*.hc_attn_base$
                layers.*.attn_hc.fn$ > layers.*.hc_attn_fn$
                layers.*.attn_hc.scale$ > layers.*.hc_attn_scale$
                layers.*.ffn_hc.base$ > layers.*.hc_ffn_base$
                layers.*.ffn_hc.fn$ > layers.*.hc_ffn_fn$
                layers.*.ffn_hc.scale$ > layers.*.hc_ffn_scale$
                layers.*.input_layernorm > layers.*.attn_norm
                layers.*.mlp > layers.*.ffn
                layers.*.post_attention_layernorm > layers.*.ffn_norm
                embed_tokens > embed
                """),
        RenameEntry(
            "dory", ["dory"],
            lines: """
                ^model.layers.*.self_attn.gate_proj > ^backbone.layers.*.self_attn.g_proj
                ^model.embed_tokens > ^backbone.embeddings
                ^model.layers > ^backbone.layers
                """),
        RenameEntry(
            "glm5_next", ["glm5_next", "glm5_next_text"],
            lines: """
                layers.*.self_attn.forget_gate.A_log$ > layers.*.self_attn.A_log$
                layers.*.self_attn.forget_gate.dt_bias$ > layers.*.self_attn.dt_bias$
                layers.*.self_attn.forget_gate.f_a_proj > layers.*.self_attn.f_a_proj
                layers.*.self_attn.forget_gate.f_b_proj > layers.*.self_attn.f_b_proj
                layers.*.attn_hc.base$ > layers.*.hc_attn_base$
                layers.*.attn_hc.fn$ > layers.*.hc_attn_fn$
                layers.*.attn_hc.scale$ > layers.*.hc_attn_scale$
                layers.*.ffn_hc.base$ > layers.*.hc_ffn_base$
                layers.*.ffn_hc.fn$ > layers.*.hc_ffn_fn$
                layers.*.ffn_hc.scale$ > layers.*.hc_ffn_scale$
                """),
        RenameEntry(
            "hrm_text", ["hrm_text"],
            lines: """
                layers.*.self_attn > layers.*.attn
                """),
        RenameEntry(
            "hy_v4", ["hy_v4"],
            lines: """
                layers.*.mlp.shared_experts.gate_proj > layers.*.mlp.shared_experts.linear_gate
                layers.*.attn_hc.base$ > layers.*.hc_pre.hc_attn_layer.hc_base$
                layers.*.attn_hc.fn$ > layers.*.hc_pre.hc_attn_layer.hc_fn$
                layers.*.attn_hc.scale$ > layers.*.hc_pre.hc_attn_layer.hc_scale$
                layers.*.ffn_hc.base$ > layers.*.hc_pre.hc_mlp_layer.hc_base$
                layers.*.ffn_hc.fn$ > layers.*.hc_pre.hc_mlp_layer.hc_fn$
                layers.*.ffn_hc.scale$ > layers.*.hc_pre.hc_mlp_layer.hc_scale$
                layers.*.mlp.gate_proj > layers.*.mlp.linear_gate
                layers.*.self_attn.gate_proj > layers.*.self_attn.linear_gate
                layers.*.self_attn.sinks$ > layers.*.self_attn.learnable_sink_param$
                ^model.hc_head.hc_base$ > ^model.hc_pre.hc_head.hc_head_base$
                ^model.hc_head.hc_fn$ > ^model.hc_pre.hc_head.hc_head_fn$
                ^model.hc_head.hc_scale$ > ^model.hc_pre.hc_head.hc_head_scale$
                """),
        RenameEntry(
            "inkling2_text", ["inkling2_text", "inkling2_loop_text"],
            lines: """
                ^lm_head > ^model.llm.unembed
                ^model.layers.*.self_attn.q_proj.norm.scale$ > ^model.llm.layers.*.attn.q_l2_clip.scale$
                ^model.layers.*.self_attn.relative_position_bias.norm.scale$ > ^model.llm.layers.*.attn.rel_l2_clip.scale$
                ^model.layers.*.self_attn.k_proj.sconv.conv1d > ^model.llm.layers.*.attn.k_sconv
                ^model.layers.*.self_attn.v_proj.sconv.conv1d > ^model.llm.layers.*.attn.v_sconv
                ^model.layers.*.mlp.experts.down_proj$ > ^model.llm.layers.*.mlp.experts.w2_weight$
                ^model.layers.*.mlp.gate.e_score_correction_bias$ > ^model.llm.layers.*.mlp.gate.bias$
                ^model.layers.*.self_attn.relative_position_bias.proj$ > ^model.llm.layers.*.attn.rel_logits_proj.proj$
                ^model.layers.*.self_attn.k_proj.linear > ^model.llm.layers.*.attn.wk_dv
                ^model.layers.*.self_attn.o_proj.gate_proj > ^model.llm.layers.*.attn.gate_attn
                ^model.layers.*.self_attn.o_proj.linear > ^model.llm.layers.*.attn.wo_ud
                ^model.layers.*.self_attn.q_proj.linear > ^model.llm.layers.*.attn.wq_du
                ^model.layers.*.self_attn.relative_position_bias.linear > ^model.llm.layers.*.attn.wr_du
                ^model.layers.*.self_attn.v_proj.linear > ^model.llm.layers.*.attn.wv_dv
                ^model.layers.*.self_attn.sink_proj > ^model.llm.layers.*.attn.attn_sink_proj
                ^model.layers.*.mlp_input.query$ > ^model.llm.attn_res.mlp_queries.*$
                ^model.layers.*.post_attention_convolution.conv1d > ^model.llm.layers.*.attn_sconv
                ^model.layers.*.post_mlp_convolution.conv1d > ^model.llm.layers.*.mlp_sconv
                ^model.layers.1.attention_input.query$ > ^model.llm.attn_res.attn_queries.0$
                ^model.layers.*.input_layernorm > ^model.llm.layers.*.attn_norm
                ^model.layers.*.post_attention_layernorm > ^model.llm.layers.*.mlp_norm
                ^model.final_input.query$ > ^model.llm.attn_res.output_query$
                ^model.embed_tokens.embed_norm > ^model.llm.embed_norm
                ^model.embed_tokens > ^model.llm.embed
                ^model.layers > ^model.llm.layers
                ^model.norm > ^model.llm.norm
                """),
        RenameEntry(
            "lara_mini", ["lara_mini"],
            lines: """
                layers.*.linear_attn.norm > layers.*.linear_attn.out_norm
                """),
        RenameEntry(
            "aria_text", ["aria_text"],
            lines: """
                layers.*.mlp.experts.down_proj$ > layers.*.mlp.experts.fc2.weight$
                layers.*.mlp.experts.gate_up_proj$ > layers.*.mlp.experts.fc1.weight$
                """),
        RenameEntry(
            "mistral_large4_text", ["mistral_large4_text"],
            lines: """
                ^layers.*.mlp.experts > ^layers.*.experts
                ^layers.*.self_attn.indexer.softmax_scaling.bias$ > ^layers.*.attention.indexer.ssmax_scaling.b$
                ^layers.*.self_attn.indexer.softmax_scaling.scale$ > ^layers.*.attention.indexer.ssmax_scaling.s$
                ^layers.*.self_attn.softmax_scaling.bias$ > ^layers.*.attention.ssmax_scaling.b$
                ^layers.*.self_attn.softmax_scaling.scale$ > ^layers.*.attention.ssmax_scaling.s$
                ^layers.*.self_attn.kv_a_layernorm > ^layers.*.attention.kv_a_norm
                ^layers.*.self_attn.kv_a_proj_with_mqa > ^layers.*.attention.wkv_a_with_mqa
                ^layers.*.self_attn.kv_b_proj > ^layers.*.attention.wkv_b
                ^layers.*.self_attn.q_proj > ^layers.*.attention.wq
                ^layers.*.mlp.gate > ^layers.*.gate
                ^layers.*.mlp.shared_experts > ^layers.*.shared_experts
                ^layers.*.input_layernorm > ^layers.*.attention_norm
                ^layers.*.mlp > ^layers.*.feed_forward
                ^layers.*.post_attention_layernorm > ^layers.*.ffn_norm
                ^layers.*.self_attn > ^layers.*.attention
                """),
        RenameEntry(
            "Molmo2TextModel", ["molmo2_text"],
            lines: """
                ^layers.*.mlp.down_proj > ^layers.*.mlp.ff_out
                ^layers.*.self_attn.o_proj > ^layers.*.self_attn.attn_out
                ^layers.*.input_layernorm > ^layers.*.attn_norm
                ^layers.*.post_attention_layernorm > ^layers.*.ff_norm
                """),
        RenameEntry(
            "UltrabertForMaskedLM", ["ultrabert"],
            lines: """
                ^model.embed_tokens > ^ultrabert.embed_tokens
                ^model.layers > ^ultrabert.layers
                ^model.norm > ^ultrabert.norm
                ^head.decoder > ^cls
                """),
        RenameEntry(
            "lfm3", ["lfm3"],
            lines: """
                self_attn.g_proj > self_attn.gate_proj
                """),
    ]
}

/// The renames of models of several parts that transformers 5.20 and later know.
///
/// Each table is what `revert_weight_conversion` of transformers 5.24 makes of the names of a small model of the type, with the ends that
/// both names share left out: what saving writes, where `conversion_mapping.py` says what loading reads. Attention matrices whose
/// rows saving brings into another order for the position encoding (`PermuteForRope`) or takes in turn (`Interleave`) are not here:
/// their modules are refused.
extension RenameTable {
    static let recentMultimodalEntries: [RenameEntry] = [
        RenameEntry(
            "LlavaModel", ["colpali"],
            lines: """
                language_model.embed_tokens > language_model.model.embed_tokens
                language_model.layers > language_model.model.layers
                language_model.norm > language_model.model.norm
                """),
        RenameEntry(
            "cosmos3_edge", ["cosmos3_edge"],
            lines: """
                ^model.language_model.layers.*.self_attn.o_proj > ^layers.*.self_attn.to_out
                layers.*.mlp.fc1 > layers.*.mlp.up_proj
                layers.*.mlp.fc2 > layers.*.mlp.down_proj
                layers.*.self_attn.k_proj > layers.*.self_attn.to_k
                layers.*.self_attn.q_proj > layers.*.self_attn.to_q
                layers.*.self_attn.v_proj > layers.*.self_attn.to_v
                ^model.language_model.embed_tokens > ^embed_tokens
                ^model.language_model.layers > ^layers
                ^model.language_model.norm > ^norm
                """),
        RenameEntry(
            "cosmos3_omni", ["cosmos3_omni"],
            lines: """
                ^model.language_model.layers.*.self_attn.k_norm > ^layers.*.self_attn.norm_k
                ^model.language_model.layers.*.self_attn.k_proj > ^layers.*.self_attn.to_k
                ^model.language_model.layers.*.self_attn.o_proj > ^layers.*.self_attn.to_out
                ^model.language_model.layers.*.self_attn.q_norm > ^layers.*.self_attn.norm_q
                ^model.language_model.layers.*.self_attn.q_proj > ^layers.*.self_attn.to_q
                ^model.language_model.layers.*.self_attn.v_proj > ^layers.*.self_attn.to_v
                ^model.language_model.embed_tokens > ^embed_tokens
                ^model.language_model.layers > ^layers
                ^model.language_model.norm > ^norm
                ^model.visual.blocks > ^blocks
                ^model.visual.deepstack_merger_list > ^deepstack_merger_list
                ^model.visual.merger > ^merger
                ^model.visual.patch_embed > ^patch_embed
                ^model.visual.pos_embed > ^pos_embed
                """),
        RenameEntry(
            "hy_v4_vl", ["hy_v4_vl"],
            lines: """
                ^model.language_model.layers.*.mlp.shared_experts.gate_proj > ^model.layers.*.mlp.shared_experts.linear_gate
                ^model.language_model.layers.*.attn_hc.base$ > ^model.layers.*.hc_pre.hc_attn_layer.hc_base$
                ^model.language_model.layers.*.attn_hc.fn$ > ^model.layers.*.hc_pre.hc_attn_layer.hc_fn$
                ^model.language_model.layers.*.attn_hc.scale$ > ^model.layers.*.hc_pre.hc_attn_layer.hc_scale$
                ^model.language_model.layers.*.ffn_hc.base$ > ^model.layers.*.hc_pre.hc_mlp_layer.hc_base$
                ^model.language_model.layers.*.ffn_hc.fn$ > ^model.layers.*.hc_pre.hc_mlp_layer.hc_fn$
                ^model.language_model.layers.*.ffn_hc.scale$ > ^model.layers.*.hc_pre.hc_mlp_layer.hc_scale$
                ^model.language_model.layers.*.mlp.gate_proj > ^model.layers.*.mlp.linear_gate
                ^model.language_model.layers.*.self_attn.gate_proj > ^model.layers.*.self_attn.linear_gate
                ^model.language_model.layers.*.self_attn.sinks$ > ^model.layers.*.self_attn.learnable_sink_param$
                ^model.vision_tower.layers.*.mlp.fc1 > ^vit.layers.*.mlp.dense_h_to_4h
                ^model.vision_tower.layers.*.mlp.fc2 > ^vit.layers.*.mlp.dense_4h_to_h
                ^model.vision_tower.layers.*.layer_norm1 > ^vit.layers.*.input_layernorm
                ^model.vision_tower.layers.*.layer_norm2 > ^vit.layers.*.post_attention_layernorm
                ^model.language_model.hc_head.hc_base$ > ^model.hc_head.hc_pre.hc_head_base$
                ^model.language_model.hc_head.hc_fn$ > ^model.hc_head.hc_pre.hc_head_fn$
                ^model.language_model.hc_head.hc_scale$ > ^model.hc_head.hc_pre.hc_head_scale$
                ^model.vision_tower.patch_merger.proj_conv > ^vit.perceive.proj.0
                ^model.vision_tower.patch_merger.proj_out > ^vit.perceive.proj.2
                ^model.vision_tower.patch_merger.before_rms > ^vit.perceive.norm
                ^model.vision_tower.patch_merger.image_newline$ > ^vit.perceive.image_newline$
                ^model.language_model.embed_tokens > ^model.embed_tokens
                ^model.language_model.layers > ^model.layers
                ^model.language_model.norm > ^model.norm
                ^model.vision_tower > ^vit
                """),
        RenameEntry(
            "hyperclovax_vision_v2", ["hyperclovax_vision_v2"],
            lines: """
                ^lm_head > ^model.language_model.lm_head
                ^model.projector > ^model.vision_projector
                """),
        RenameEntry(
            "inkling_mm_model", ["inkling_mm_model"],
            lines: """
                ^lm_head > ^model.llm.unembed
                ^model.language_model.layers.*.mlp.experts.down_proj$ > ^model.llm.layers.*.mlp.experts.w2_weight$
                ^model.language_model.layers.*.mlp.gate.e_score_correction_bias$ > ^model.llm.layers.*.mlp.gate.bias$
                ^model.language_model.layers.*.mlp.shared_experts.down_proj$ > ^model.llm.layers.*.mlp.shared_experts.shared_w2_weight$
                ^model.language_model.layers.*.self_attn.k_sconv.conv1d > ^model.llm.layers.*.attn.k_sconv
                ^model.language_model.layers.*.self_attn.v_sconv.conv1d > ^model.llm.layers.*.attn.v_sconv
                ^model.language_model.layers.*.self_attn.k_proj > ^model.llm.layers.*.attn.wk_dv
                ^model.language_model.layers.*.self_attn.o_proj > ^model.llm.layers.*.attn.wo_ud
                ^model.language_model.layers.*.self_attn.q_proj > ^model.llm.layers.*.attn.wq_du
                ^model.language_model.layers.*.self_attn.r_proj > ^model.llm.layers.*.attn.wr_du
                ^model.language_model.layers.*.self_attn.v_proj > ^model.llm.layers.*.attn.wv_dv
                ^model.language_model.layers.*.attn_sconv.conv1d > ^model.llm.layers.*.attn_sconv
                ^model.language_model.layers.*.mlp_sconv.conv1d > ^model.llm.layers.*.mlp_sconv
                ^model.language_model.layers.*.input_layernorm > ^model.llm.layers.*.attn_norm
                ^model.language_model.layers.*.post_attention_layernorm > ^model.llm.layers.*.mlp_norm
                ^model.language_model.layers.*.self_attn > ^model.llm.layers.*.attn
                ^model.vision_tower.encoder_layers.0.layer_norm > ^model.visual.layers.norm_0
                ^model.vision_tower.encoder_layers.0.projection > ^model.visual.layers.linear_0
                ^model.vision_tower.encoder_layers.1.projection > ^model.visual.layers.linear_1
                ^model.audio_tower.embed_audio_tokens.embed_audio_tokens > ^model.audio.encoder
                ^model.language_model.embed_tokens.embed_norm > ^model.llm.embed_norm
                ^model.audio_tower.norm > ^model.audio.final_norm
                ^model.language_model.embed_tokens > ^model.llm.embed
                ^model.language_model > ^model.llm
                ^model.vision_tower > ^model.visual
                """),
        RenameEntry(
            "inkling2", ["inkling2", "inkling2_loop"],
            lines: """
                ^lm_head > ^model.llm.unembed
                ^model.language_model.layers.*.self_attn.q_proj.norm.scale$ > ^model.llm.layers.*.attn.q_l2_clip.scale$
                ^model.language_model.layers.*.self_attn.relative_position_bias.norm.scale$ > ^model.llm.layers.*.attn.rel_l2_clip.scale$
                ^model.language_model.layers.*.self_attn.k_proj.sconv.conv1d > ^model.llm.layers.*.attn.k_sconv
                ^model.language_model.layers.*.self_attn.v_proj.sconv.conv1d > ^model.llm.layers.*.attn.v_sconv
                ^model.language_model.layers.*.mlp.experts.down_proj$ > ^model.llm.layers.*.mlp.experts.w2_weight$
                ^model.language_model.layers.*.mlp.gate.e_score_correction_bias$ > ^model.llm.layers.*.mlp.gate.bias$
                ^model.language_model.layers.*.self_attn.relative_position_bias.proj$ > ^model.llm.layers.*.attn.rel_logits_proj.proj$
                ^model.language_model.layers.*.self_attn.k_proj.linear > ^model.llm.layers.*.attn.wk_dv
                ^model.language_model.layers.*.self_attn.o_proj.gate_proj > ^model.llm.layers.*.attn.gate_attn
                ^model.language_model.layers.*.self_attn.o_proj.linear > ^model.llm.layers.*.attn.wo_ud
                ^model.language_model.layers.*.self_attn.q_proj.linear > ^model.llm.layers.*.attn.wq_du
                ^model.language_model.layers.*.self_attn.relative_position_bias.linear > ^model.llm.layers.*.attn.wr_du
                ^model.language_model.layers.*.self_attn.v_proj.linear > ^model.llm.layers.*.attn.wv_dv
                ^model.vision_tower.layers.*.mlp.fc1 > ^model.visual.backbone.layers.*.mlp.c_fc
                ^model.vision_tower.layers.*.mlp.fc2 > ^model.visual.backbone.layers.*.mlp.c_proj
                ^model.language_model.layers.*.self_attn.sink_proj > ^model.llm.layers.*.attn.attn_sink_proj
                ^model.language_model.layers.*.mlp_input.query$ > ^model.llm.attn_res.mlp_queries.*$
                ^model.language_model.layers.*.post_attention_convolution.conv1d > ^model.llm.layers.*.attn_sconv
                ^model.language_model.layers.*.post_mlp_convolution.conv1d > ^model.llm.layers.*.mlp_sconv
                ^model.language_model.layers.1.attention_input.query$ > ^model.llm.attn_res.attn_queries.0$
                ^model.vision_tower.layers.*.lambda_1$ > ^model.visual.backbone.layers.*.ls_1.gamma$
                ^model.vision_tower.layers.*.lambda_2$ > ^model.visual.backbone.layers.*.ls_2.gamma$
                ^model.vision_tower.layers.*.layernorm_after > ^model.visual.backbone.layers.*.ln_2
                ^model.vision_tower.layers.*.layernorm_before > ^model.visual.backbone.layers.*.ln_1
                ^model.language_model.layers.*.input_layernorm > ^model.llm.layers.*.attn_norm
                ^model.language_model.layers.*.post_attention_layernorm > ^model.llm.layers.*.mlp_norm
                ^model.vision_tower.embeddings.position_embedding.weight$ > ^model.visual.backbone.embeddings.position_embedding$
                ^model.language_model.final_input.query$ > ^model.llm.attn_res.output_query$
                ^model.language_model.embed_tokens.embed_norm > ^model.llm.embed_norm
                ^model.vision_tower.merger.linear_1 > ^model.visual.proj_in
                ^model.vision_tower.merger.linear_2 > ^model.visual.proj_out
                ^model.vision_tower.pre_layernorm > ^model.visual.backbone.ln_pre
                ^model.language_model.embed_tokens > ^model.llm.embed
                ^model.vision_tower > ^model.visual.backbone
                ^model.language_model > ^model.llm
                """),
        RenameEntry(
            "kimi_k25", ["kimi_k25"],
            lines: """
                ^lm_head > ^language_model.lm_head
                ^model.vision_tower.layers.*.mlp.fc1 > ^vision_tower.encoder.blocks.*.mlp.fc0
                ^model.vision_tower.layers.*.mlp.fc2 > ^vision_tower.encoder.blocks.*.mlp.fc1
                ^model.vision_tower.layers.*.attn.proj > ^vision_tower.encoder.blocks.*.wo
                ^model.vision_tower.layers.*.norm1 > ^vision_tower.encoder.blocks.*.norm0
                ^model.vision_tower.layers.*.norm2 > ^vision_tower.encoder.blocks.*.norm1
                ^model.vision_tower.patch_embed.pos_emb.position_embeddings$ > ^vision_tower.patch_embed.pos_emb.weight$
                ^model.language_model.layers > ^language_model.model.blocks
                ^model.mm_projector.in_proj > ^mm_projector.proj.0
                ^model.mm_projector.out_proj > ^mm_projector.proj.2
                ^model.language_model > ^language_model.model
                ^model.vision_tower > ^vision_tower.encoder
                """),
        RenameEntry(
            "minimax_m3_vl", ["minimax_m3_vl"],
            lines: """
                ^lm_head > ^language_model.lm_head
                ^model.language_model.layers.*.mlp.gate.e_score_correction_bias$ > ^language_model.model.layers.*.block_sparse_moe.e_score_correction_bias$
                ^model.language_model.layers.*.mlp > ^language_model.model.layers.*.block_sparse_moe
                ^model.vision_tower.embeddings.proj > ^vision_tower.vision_model.embeddings.patch_embedding
                ^model.vision_tower.layers > ^vision_tower.vision_model.encoder.layers
                ^model.vision_tower.pre_layrnorm > ^vision_tower.vision_model.pre_layrnorm
                ^model.multi_modal_projector.merge_linear_1 > ^patch_merge_mlp.linear_1
                ^model.multi_modal_projector.merge_linear_2 > ^patch_merge_mlp.linear_2
                ^model.language_model > ^language_model.model
                ^model.multi_modal_projector > ^multi_modal_projector
                """),
        RenameEntry(
            "mistral_large4", ["mistral_large4"],
            lines: """
                ^lm_head > ^output
                ^model.language_model.layers.*.self_attn.indexer.softmax_scaling.bias$ > ^layers.*.attention.indexer.ssmax_scaling.b$
                ^model.language_model.layers.*.self_attn.indexer.softmax_scaling.scale$ > ^layers.*.attention.indexer.ssmax_scaling.s$
                ^model.vision_tower.transformer.layers.*.attention.o_proj > ^vision_encoder.transformer.layers.*.attention.wo
                ^model.vision_tower.transformer.layers.*.attention.v_proj > ^vision_encoder.transformer.layers.*.attention.wv
                ^model.vision_tower.transformer.layers.*.feed_forward.down_proj > ^vision_encoder.transformer.layers.*.feed_forward.w2
                ^model.vision_tower.transformer.layers.*.feed_forward.gate_proj > ^vision_encoder.transformer.layers.*.feed_forward.w1
                ^model.vision_tower.transformer.layers.*.feed_forward.up_proj > ^vision_encoder.transformer.layers.*.feed_forward.w3
                ^model.language_model.layers.*.self_attn.softmax_scaling.bias$ > ^layers.*.attention.ssmax_scaling.b$
                ^model.language_model.layers.*.self_attn.softmax_scaling.scale$ > ^layers.*.attention.ssmax_scaling.s$
                ^model.language_model.layers.*.mlp.shared_experts.down_proj > ^layers.*.shared_experts.w2
                ^model.language_model.layers.*.mlp.shared_experts.gate_proj > ^layers.*.shared_experts.w1
                ^model.language_model.layers.*.mlp.shared_experts.up_proj > ^layers.*.shared_experts.w3
                ^model.language_model.layers.*.mlp.down_proj > ^layers.*.feed_forward.w2
                ^model.language_model.layers.*.mlp.gate_proj > ^layers.*.feed_forward.w1
                ^model.language_model.layers.*.mlp.up_proj > ^layers.*.feed_forward.w3
                ^model.language_model.layers.*.self_attn.kv_a_layernorm > ^layers.*.attention.kv_a_norm
                ^model.language_model.layers.*.self_attn.kv_a_proj_with_mqa > ^layers.*.attention.wkv_a_with_mqa
                ^model.language_model.layers.*.self_attn.kv_b_proj > ^layers.*.attention.wkv_b
                ^model.language_model.layers.*.self_attn.o_proj > ^layers.*.attention.wo
                ^model.language_model.layers.*.self_attn.q_proj > ^layers.*.attention.wq
                ^model.language_model.layers.*.input_layernorm > ^layers.*.attention_norm
                ^model.language_model.layers.*.post_attention_layernorm > ^layers.*.ffn_norm
                ^model.language_model.layers.*.self_attn > ^layers.*.attention
                ^model.language_model.layers.*.mlp > ^layers.*
                ^model.language_model.rotary_emb.alpha$ > ^lerope.alpha$
                ^model.multi_modal_projector.linear_1 > ^vision_language_adapter.w_in
                ^model.multi_modal_projector.linear_2 > ^vision_language_adapter.w_out
                ^model.language_model.embed_tokens > ^tok_embeddings
                ^model.language_model.norm > ^norm
                ^model.multi_modal_projector.norm > ^pre_mm_projector_norm
                ^model.multi_modal_projector.patch_merger > ^patch_merger
                ^model.vision_tower > ^vision_encoder
                """),
        RenameEntry(
            "molmo2", ["molmo2"],
            lines: """
                ^model.vision_tower.layers.*.mlp.fc1 > ^model.vision_backbone.image_vit.transformer.resblocks.*.feed_forward.w1
                ^model.vision_tower.layers.*.mlp.fc2 > ^model.vision_backbone.image_vit.transformer.resblocks.*.feed_forward.w2
                ^model.vision_tower.layers.*.self_attn.k_proj > ^model.vision_backbone.image_vit.transformer.resblocks.*.attention.wk
                ^model.vision_tower.layers.*.self_attn.o_proj > ^model.vision_backbone.image_vit.transformer.resblocks.*.attention.wo
                ^model.vision_tower.layers.*.self_attn.q_proj > ^model.vision_backbone.image_vit.transformer.resblocks.*.attention.wq
                ^model.vision_tower.layers.*.self_attn.v_proj > ^model.vision_backbone.image_vit.transformer.resblocks.*.attention.wv
                ^model.language_model.layers.*.mlp.down_proj > ^model.transformer.blocks.*.mlp.ff_out
                ^model.language_model.layers.*.self_attn.o_proj > ^model.transformer.blocks.*.self_attn.attn_out
                ^model.vision_tower.layers.*.layer_norm1 > ^model.vision_backbone.image_vit.transformer.resblocks.*.attention_norm
                ^model.vision_tower.layers.*.layer_norm2 > ^model.vision_backbone.image_vit.transformer.resblocks.*.ffn_norm
                ^model.language_model.layers.*.input_layernorm > ^model.transformer.blocks.*.attn_norm
                ^model.language_model.layers.*.post_attention_layernorm > ^model.transformer.blocks.*.ff_norm
                ^model.multi_modal_projector.image_pooling_2d.k_proj > ^model.vision_backbone.image_pooling_2d.wk
                ^model.multi_modal_projector.image_pooling_2d.o_proj > ^model.vision_backbone.image_pooling_2d.wo
                ^model.multi_modal_projector.image_pooling_2d.q_proj > ^model.vision_backbone.image_pooling_2d.wq
                ^model.multi_modal_projector.image_pooling_2d.v_proj > ^model.vision_backbone.image_pooling_2d.wv
                ^model.multi_modal_projector.image_projector.down_proj > ^model.vision_backbone.image_projector.w2
                ^model.multi_modal_projector.image_projector.gate_proj > ^model.vision_backbone.image_projector.w1
                ^model.multi_modal_projector.image_projector.up_proj > ^model.vision_backbone.image_projector.w3
                ^model.language_model.layers > ^model.transformer.blocks
                ^model.language_model.norm > ^model.transformer.ln_f
                ^model.vision_tower > ^model.vision_backbone.image_vit
                """),
        RenameEntry(
            "NemotronH_Omni_Reasoning_V3", ["nemotron_h_omni"],
            lines: """
                ^vision_model.encoder.layer.*.attention.o_proj > ^vision_model.radio_model.model.blocks.*.attn.proj
                ^vision_model.embeddings.cls_register_token$ > ^vision_model.radio_model.model.patch_generator.cls_token.token$
                ^vision_model.embeddings.patch_projection > ^vision_model.radio_model.model.patch_generator.embedder
                ^vision_model.embeddings.position_embedding$ > ^vision_model.radio_model.model.patch_generator.pos_embed$
                ^vision_model.embeddings.video_patch_projection > ^vision_model.radio_model.model.patch_generator.video_embedder
                ^vision_model.encoder.layer > ^vision_model.radio_model.model.blocks
                ^language_model.model > ^language_model.backbone
                ^multi_modal_projector.layer_norm > ^mlp1.0
                ^multi_modal_projector.linear_1 > ^mlp1.1
                ^multi_modal_projector.linear_2 > ^mlp1.3
                """),
        RenameEntry(
            "pi0", ["pi0"],
            lines: """
                ^model.vlm.language_model > ^paligemma_with_expert.paligemma.model.language_model.model
                ^model.dit.embed_tokens > ^paligemma_with_expert.gemma_expert.lm_head
                ^model.dit > ^paligemma_with_expert.gemma_expert.model
                ^model.vlm > ^paligemma_with_expert.paligemma.model
                ^embed_action_time.action_in_proj > ^action_in_proj
                ^embed_action_time.action_time_mlp_in > ^action_time_mlp_in
                ^embed_action_time.action_time_mlp_out > ^action_time_mlp_out
                ^embed_action_time.state_proj > ^state_proj
                """),
        RenameEntry(
            "qianfan_ocr", ["qianfan_ocr"],
            lines: """
                ^lm_head > ^language_model.lm_head
                ^model.vision_tower.layers.*.attention.projection_layer > ^vision_model.encoder.layers.*.attn.proj
                ^model.vision_tower.layers.*.lambda_1$ > ^vision_model.encoder.layers.*.ls1$
                ^model.vision_tower.layers.*.lambda_2$ > ^vision_model.encoder.layers.*.ls2$
                ^model.vision_tower.layers.*.layernorm_after > ^vision_model.encoder.layers.*.norm2
                ^model.vision_tower.layers.*.layernorm_before > ^vision_model.encoder.layers.*.norm1
                ^model.vision_tower.embeddings.patch_embeddings.projection > ^vision_model.embeddings.patch_embedding
                ^model.vision_tower.embeddings.cls_token$ > ^vision_model.embeddings.class_embedding$
                ^model.vision_tower.embeddings.position_embeddings$ > ^vision_model.embeddings.position_embedding$
                ^model.language_model.layers > ^language_model.model.encoder.layers
                ^model.language_model.embed_tokens > ^language_model.model.embed_tokens
                ^model.language_model.norm > ^language_model.model.norm
                ^model.multi_modal_projector.layer_norm > ^mlp1.0
                ^model.multi_modal_projector.linear_1 > ^mlp1.1
                ^model.multi_modal_projector.linear_2 > ^mlp1.3
                ^model.vision_tower > ^vision_model.encoder
                """),
        RenameEntry(
            "step3p7, step3p5_vision", ["step3p7"],
            lines: """
                ^model.vision_model.layers.*.mlp.fc1 > ^vision_model.transformer.resblocks.*.mlp.c_fc
                ^model.vision_model.layers.*.mlp.fc2 > ^vision_model.transformer.resblocks.*.mlp.c_proj
                ^model.vision_model.layers.*.lambda_1$ > ^vision_model.transformer.resblocks.*.ls_1.gamma$
                ^model.vision_model.layers.*.lambda_2$ > ^vision_model.transformer.resblocks.*.ls_2.gamma$
                ^model.vision_model.layers.*.layernorm_after > ^vision_model.transformer.resblocks.*.ln_2
                ^model.vision_model.layers.*.layernorm_before > ^vision_model.transformer.resblocks.*.ln_1
                ^model.vision_model.layers.*.self_attn > ^vision_model.transformer.resblocks.*.attn
                ^model.vision_model.embeddings.position_embedding.weight$ > ^vision_model.positional_embedding$
                ^model.vision_model.embeddings.patch_embedding > ^vision_model.conv1
                ^model.language_model.embed_tokens > ^model.embed_tokens
                ^model.language_model.layers > ^model.layers
                ^model.language_model.norm > ^model.norm
                ^model.vision_model.downsampler1 > ^vision_model.vit_downsampler1
                ^model.vision_model.downsampler2 > ^vision_model.vit_downsampler2
                ^model.vision_model.pre_layernorm > ^vision_model.ln_pre
                ^model.multi_modal_projector > ^vit_large_projector
                """),
        RenameEntry(
            "t5gemma2_encoder", ["t5gemma2"],
            lines: """
                encoder.text_model.embed_tokens > encoder.embed_tokens
                encoder.text_model.layers > encoder.layers
                encoder.text_model.norm > encoder.norm
                """),
        RenameEntry(
            "UltraVBertForMaskedLM", ["ultravbert"],
            lines: """
                ^lm_head > ^head.decoder
                ^projection_head > ^head
                """),
        RenameEntry(
            "unlimited_ocr", ["unlimited_ocr"],
            lines: """
                ^model.vision_tower.sam_encoder.layers.*.layer_norm1 > ^model.sam_model.blocks.*.norm1
                ^model.vision_tower.sam_encoder.layers.*.layer_norm2 > ^model.sam_model.blocks.*.norm2
                ^model.vision_tower.sam_encoder.neck.conv1 > ^model.sam_model.neck.0
                ^model.vision_tower.sam_encoder.neck.conv2 > ^model.sam_model.neck.2
                ^model.vision_tower.sam_encoder.neck.layer_norm1 > ^model.sam_model.neck.1
                ^model.vision_tower.sam_encoder.neck.layer_norm2 > ^model.sam_model.neck.3
                ^model.vision_tower.sam_encoder.patch_embed.projection > ^model.sam_model.patch_embed.proj
                ^model.vision_tower.sam_encoder.proj.conv1 > ^model.sam_model.net_2
                ^model.vision_tower.sam_encoder.proj.conv2 > ^model.sam_model.net_3
                ^model.vision_tower.sam_encoder.layers > ^model.sam_model.blocks
                ^model.vision_tower.sam_encoder.pos_embed$ > ^model.sam_model.pos_embed$
                ^model.vision_tower.vision_encoder.encoder > ^model.vision_model.transformer
                ^model.language_model.embed_tokens > ^model.embed_tokens
                ^model.language_model.layers > ^model.layers
                ^model.language_model.norm > ^model.norm
                ^model.vision_tower.vision_encoder > ^model.vision_model
                ^model.multi_modal_projector > ^model.projector.layers
                ^model.view_separator$ > ^model.view_seperator$
                """),
        RenameEntry(
            "Qwen2_5OmniThinkerForConditionalGeneration", ["qwen2_5_omni", "qwen3_omni_moe"],
            lines: """
                ^thinker.model.audio_tower > ^thinker.audio_tower
                ^thinker.model.visual > ^thinker.visual
                ^thinker.model.language_model.embed_tokens > ^thinker.model.embed_tokens
                ^thinker.model.language_model.layers > ^thinker.model.layers
                ^thinker.model.language_model.norm > ^thinker.model.norm
                """),
        RenameEntry(
            "MimiModel, MimiEncoderModel, MimiDecoderModel", ["mimi"],
            lines: """
                decoder.decoder_transformer > decoder_transformer
                encoder.encoder_transformer > encoder_transformer
                decoder.decoder_seanet.layers > decoder.layers
                encoder.encoder_seanet.layers > encoder.layers
                decoder.upsample > upsample
                encoder.downsample > downsample
                """),
    ]
}

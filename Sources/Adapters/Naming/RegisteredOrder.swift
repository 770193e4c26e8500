/// The order in which single models register their modules, where the rows of ``ModuleOrder`` do not tell it.
///
/// A line has the model types that a config names, all of them, and then lists of siblings: `type type: first second | other another`.
/// It holds for a model of these parts and of no others.
///
/// Source: `named_modules()` of a small model of each type, made with transformers 5.24: every list of siblings with a linear layer
/// in them that the rows leave open or have otherwise, for 574 model types.
enum RegisteredOrder {
    /// The lists of a model with these types; nil where it has none of its own.
    static func rows(for modelTypes: [String]) -> [[String]]? {
        table[Set(modelTypes).sorted().joined(separator: " ")]
    }

    private static let table: [String: [[String]]] = {
        var result: [String: [[String]]] = [:]
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let rows = line[line.index(after: colon)...].split(separator: "|").map { $0.split(separator: " ").map { String($0) } }
            for types in line[..<colon].split(separator: ",") {
                result[types.split(separator: " ").joined(separator: " ")] = rows
            }
        }
        return result
    }()

    private static let text = """
         evolla: protein_encoder layers | model sequence_compressor_resampler | layers protein_projector | to_q to_kv to_out | self_attn mlp adapter | query key_protein value_protein out_proj ff
         fun_asr_nano fun_asr_nano_encoder qwen3: linear_1 linear_2 layers
         gradium_phonon_tts: layers audio_prompt_proj audio_latent_proj num_speakers_proj duration_delta_proj
         hgnet_v2 pp_doclayout_v2: model reading_order | encoder enc_output enc_score_head enc_bbox_head decoder | layers query_pos_head class_embed bbox_embed | sampling_offsets attention_weights value_proj output_proj | embeddings label_features_projection encoder relative_head | layer rel_pos_x_bias rel_pos_y_bias
         mpt: attn ffn
         nemotron3_5_transcribe_asr_audio nemotron3_5_transcribe_audio nemotron3_diarization nemotron3_diarization_audio: asr_encoder diarization_model | embedder layers | model classifier | audio_tower proj
         nemotron3_diarization nemotron3_diarization_audio: audio_tower proj | embedder layers
         pocket_tts: layers audio_prompt_proj audio_latent_proj
        afmoe: q_proj k_proj v_proj o_proj gate_proj | router shared_experts
        aimv2 aimv2_text_model aimv2_vision_model: vision_model text_model visual_projection text_projection | k_proj v_proj output_proj
        aimv2_vision_model: k_proj v_proj output_proj
        albert: albert predictions | dense decoder
        altclip altclip_text_model altclip_vision_model: roberta transformation
        axk2: self_attn mlp input_layernorm | q_a_proj q_gate_proj kv_a_proj_with_mqa kv_b_proj o_proj indexer | wq_b wk weights_proj | self_attn mlp input_layernorm post_attention_layernorm
        bailing_hybrid: q_proj k_proj v_proj forget_gate b_proj o_proj g_proj
        bamba: feed_forward mamba | gate_proj up_proj down_proj | in_proj out_proj
        bark coarse_acoustics encodec fine_acoustics semantic: semantic coarse_acoustics fine_acoustics | layers lm_head | att_proj out_proj | layers lm_heads
        bart florence2 florence_vision: window_attn ffn | channel_attn ffn
        beam, dory, muse_glimmer_text: q_proj k_proj v_proj o_proj gate_proj
        bert encoder_decoder, big_bird, blip blip_text_model blip_vision_model, megatron_bert: bert cls | transform decoder
        bert grounding_dino swin, bert mm_grounding_dino swin: backbone text_backbone text_projection encoder decoder enc_output encoder_output_bbox_embed | blocks downsample | text_enhancer_layer fusion_layer deformable_layer | query key value out_proj | vision_proj text_proj values_vision_proj values_text_proj out_vision_proj out_text_proj | sampling_offsets attention_weights value_proj output_proj | layers reference_points_head | self_attn encoder_attn_text encoder_attn fc1 fc2
        bert speech_encoder_decoder wav2vec2: encoder decoder enc_to_dec_proj | feature_projection encoder | bert cls | transform decoder
        bert vision_encoder_decoder vit: layers pooler | bert cls | transform decoder
        bert vision_text_dual_encoder vit: vision_model text_model visual_projection text_projection | layers pooler
        bert: bert cls | transform decoder | predictions seq_relationship
        biogpt: biogpt output_projection
        blip_2 blip_2_qformer blip_2_vision_model opt: vision_model qformer language_projection language_model | self_attn mlp | qkv projection | fc1 fc2 | attention crossattention intermediate_query output_query | attention output | query key value | attention intermediate_query output_query | model lm_head | self_attn fc1 fc2 | k_proj v_proj q_proj out_proj
        blip_2_qformer granite granite_speech granite_speech_encoder, blip_2_qformer granite granite_speech_plus granite_speech_plus_encoder: encoder projector language_model | input_linear layers out out_mid | ff1 attn ff2 | to_q to_kv to_out | qformer linear
        blt blt_global_transformer blt_local_decoder blt_local_encoder blt_patcher: local_encoder global_transformer local_decoder patcher | layers patch_embedding_projection cross_attn_layers | layers token_embedding_projection | layers lm_head
        bridgetower bridgetower_text_model bridgetower_vision_model: cross_modal_text_transform cross_modal_image_transform vision_model text_model cross_modal_image_layers cross_modal_text_layers cross_modal_image_pooler cross_modal_text_pooler
        bros: bbox_embeddings encoder pooler
        camembert, data2vec_text, esmc, gte, ibert, mpnet, roberta, roberta_prelayernorm, xlm_roberta, xlm_roberta_xl: dense decoder
        canary canary_decoder parakeet_encoder, nemotron_asr_streaming_encoder, parakeet_ctc parakeet_encoder, parakeet_encoder: subsampling layers | feed_forward1 self_attn feed_forward2 | q_proj k_proj v_proj o_proj relative_k_proj
        canine: initial_char_encoder encoder final_char_encoder pooler
        clap clap_audio_model clap_text_model: text_model text_projection audio_model audio_projection | blocks downsample
        clip_text_model omdet_turbo timm_backbone: vision_backbone language_backbone encoder decoder | layers_0 layers_1 layers_2 layers_3 | downsample blocks | query key value out_proj | task_encoder task_project layers query_position_head encoder_vision_features encoder_class_head encoder_bbox_head decoder_class_head decoder_bbox_head | self_attn cross_attn linear1 linear2 | sampling_offsets attention_weights value_proj output_proj
        clip_text_model sam3 sam3_detr_decoder sam3_detr_encoder sam3_geometry_encoder sam3_mask_decoder sam3_tracker_video sam3_tracker_video_mask_decoder sam3_tracker_video_prompt_encoder sam3_video sam3_vision_model sam3_vit_model: detector_model tracker_model | vision_encoder text_encoder text_projection geometry_encoder detr_encoder detr_decoder mask_decoder dot_product_scoring | boxes_direct_project boxes_pos_enc_project final_proj layers | layers box_head presence_head ref_point_head box_rpb_embed_x box_rpb_embed_y | self_attn text_cross_attn vision_cross_attn mlp | layer1 layer2 layer3 | layer1 layer2 | mask_embedder prompt_cross_attn | text_mlp text_proj query_proj | mask_decoder memory_attention memory_encoder object_pointer_proj temporal_positional_encoding_projection_layer | transformer output_hypernetworks_mlps iou_prediction_head pred_obj_score_head | layers final_attn_token_to_image | self_attn cross_attn_token_to_image mlp cross_attn_image_to_token | proj_in proj_out | proj_in proj_out layers | self_attn cross_attn_image linear1 linear2 | pointwise_conv1 pointwise_conv2
        clip_text_model sam3 sam3_detr_decoder sam3_detr_encoder sam3_geometry_encoder sam3_mask_decoder sam3_vision_model sam3_vit_model, sam3_lite_text sam3_lite_text_detr_decoder sam3_lite_text_detr_encoder sam3_lite_text_geometry_encoder sam3_lite_text_mask_decoder sam3_lite_text_text_model sam3_vision_model sam3_vit_model: vision_encoder text_encoder text_projection geometry_encoder detr_encoder detr_decoder mask_decoder dot_product_scoring | boxes_direct_project boxes_pos_enc_project final_proj layers | layers box_head presence_head ref_point_head box_rpb_embed_x box_rpb_embed_y | self_attn text_cross_attn vision_cross_attn mlp | layer1 layer2 layer3 | layer1 layer2 | mask_embedder prompt_cross_attn | text_mlp text_proj query_proj
        clvp clvp_decoder clvp_encoder: conditioning_encoder speech_decoder_model text_encoder_model speech_encoder_model | layers projection
        cohere_asr parakeet_encoder: subsampling layers | feed_forward1 self_attn feed_forward2 | q_proj k_proj v_proj o_proj relative_k_proj | layers proj
        cohere_compass_vision, cosmos3_omni qwen3_vl_text qwen3_vl_vision, qwen3_vl qwen3_vl_text qwen3_vl_vision, qwen3_vl_moe qwen3_vl_moe_text qwen3_vl_moe_vision, qwen3_vl_moe_vision, qwen3_vl_vision: blocks merger deepstack_merger_list
        colmodernvbert modernbert modernvbert siglip_vision_model: vlm embedding_proj_layer | vision_model connector text_model | encoder head | self_attn mlp | k_proj v_proj q_proj out_proj | fc1 fc2 | attn mlp | Wqkv Wo | Wi Wo
        colpali gemma paligemma siglip_vision_model: vlm embedding_proj_layer
        colqwen2 qwen2_vl qwen2_vl_text qwen2_vl_vision: vlm embedding_proj_layer | blocks merger
        conditional_detr timm_backbone: layers query_scale ref_point_head | q_content_proj q_pos_proj k_content_proj k_pos_proj v_proj o_proj | q_content_proj q_pos_proj k_content_proj k_pos_proj v_proj q_pos_sine_proj o_proj | q_content_proj k_content_proj k_pos_proj v_proj q_pos_sine_proj o_proj
        convbert: convbert generator_predictions generator_lm_head | query key value conv_kernel_layer conv_out_layer
        cosmos3_edge cosmos3_edge_text cosmos3_edge_vision, paddleocr_vl paddleocr_vl_text paddleocr_vl_vision: visual language_model projector
        cpmant: self_att ffn | project_q project_k project_v attention_out | w_in w_out | w_0 w_1
        ctrl: multi_head_attention ffn | Wq Wk Wv dense
        cvt: projection_query projection_key projection_value
        dac hubert xcodec: semantic_model fc fc1 fc2 | feature_projection encoder
        dac modernbert pe_audio pe_audio_encoder: text_model audio_encoder text_audio_head audio_head | embedder layers output
        dac pe_audio_encoder: embedder layers output
        data2vec_audio, hubert: feature_projection encoder
        deberta, deberta_v2: deberta cls | transform decoder
        decision_transformer: encoder embed_return embed_state embed_action predict_state predict_action predict_return
        deepseek_v3 kimi_k25 kimi_k25_vision: vision_tower language_model mm_projector | proj q_proj k_proj v_proj
        deepseek_v32, glm_moe_dsa: q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj o_proj indexer | wq_b wk weights_proj
        deepseek_v4: q_a_proj q_b_proj kv_proj o_b_proj compressor | kv_proj gate_proj
        deepseek_vl llama siglip_vision_model: vision_model aligner language_model
        deepseek_vl_hybrid llama sam_vision_model siglip_vision_model: high_res_vision_model vision_model aligner language_model | vision_proj high_res_vision_proj proj
        depth_pro dinov2: patch_encoder image_encoder
        detr maskformer maskformer_swin timm_backbone: pixel_level_module transformer_module | blocks downsample | attention intermediate output | self output | query key value | self_attn encoder_attn mlp | k_proj v_proj q_proj o_proj | fc1 fc2
        dia dia_decoder dia_encoder: model logits_dense | self_attention cross_attention mlp
        dinov3_convnext: pointwise_conv1 pointwise_conv2
        distilbert: distilbert vocab_transform vocab_projector
        doge: q_proj k_proj v_proj dt_proj o_proj
        donut_swin, maskformer_swin, swin: blocks downsample
        dots3_note_text: q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj o_proj g_proj indexer | wq_b wk weights_proj
        dpt: dpt neck
        edgetam_video edgetam_video_mask_decoder edgetam_video_prompt_encoder sam2_hiera_det_model sam2_vision_model: vision_encoder mask_decoder memory_attention memory_encoder object_pointer_proj temporal_positional_encoding_projection_layer spatial_perceiver | attn mlp | qkv proj | proj_in proj_out | attn mlp proj | transformer output_hypernetworks_mlps iou_prediction_head pred_obj_score_head | layers final_attn_token_to_image | self_attn cross_attn_token_to_image mlp cross_attn_image_to_token | q_proj k_proj v_proj o_proj | proj_in proj_out layers | self_attn cross_attn_image mlp | up_proj down_proj | pointwise_conv1 pointwise_conv2 | cross_attention mlp self_attention self_mlp
        efficientloftr: self_attention cross_attention
        electra: electra generator_predictions generator_lm_head
        embedding_gemma2 embedding_gemma2_text, embedding_gemma2_text: layers ple embedding_projection | self_attn mlp ple_block
        ernie: ernie cls | transform decoder
        exaone4 exaone4_5 exaone4_5_vision: visual language_model | blocks merger | attn mlp | proj qkv | gate_proj up_proj down_proj | self_attn mlp | q_proj k_proj v_proj o_proj
        exaone4_5_vision: blocks merger | attn mlp | proj qkv | gate_proj up_proj down_proj
        falcon_h1: feed_forward mamba self_attn | gate_proj up_proj down_proj | in_proj out_proj | q_proj k_proj v_proj o_proj
        fastspeech2_conformer, fastspeech2_conformer fastspeech2_conformer_hifigan fastspeech2_conformer_with_hifigan: encoder duration_predictor pitch_predictor energy_predictor decoder speech_decoder_postnet | linear_q linear_k linear_v linear_out linear_pos
        flaubert, xlm: transformer pred_layer | attentions ffns
        fnet: fnet cls | embeddings encoder pooler | transform decoder
        focalnet: modulation mlp | projection_in projection_out
        fsmt: layers output_projection
        funnel: q_head k_head v_head post_proj
        fuyu persimmon: language_model vision_embed_tokens
        gemma paligemma pi0 siglip_vision_model: model embed_action_time action_out_proj | dit vlm | action_in_proj state_proj action_time_mlp_in action_time_mlp_out
        gemma3n_audio: subsample_conv_projection conformer | ffw_layer_start attention lconv1d ffw_layer_end | ffw_layer_1 ffw_layer_2 | attn post | relative_position_embedding q_proj k_proj v_proj | linear_start linear_end
        gemma4 gemma4_text, gemma4_text: layers per_layer_model_projection
        gemma4_audio: subsample_conv_projection layers output_proj | feed_forward1 feed_forward2 self_attn lconv1d | ffw_layer_1 ffw_layer_2 | q_proj k_proj v_proj post relative_k_proj | linear_start linear_end
        gemma4_vision: patch_embedder encoder
        git git_vision_model: git output | image_encoder encoder visual_projection
        glm46v glm4v_text glm4v_vision, glm4v glm4v_text glm4v_vision, glm4v_moe glm4v_moe_text glm4v_moe_vision, glm4v_moe_vision, glm4v_vision, glm5_next_vision, glm_ocr glm_ocr_text glm_ocr_vision, glm_ocr_vision: blocks merger | proj gate_proj up_proj down_proj
        glm5_next glm5_next_text glm5_next_vision: blocks merger | proj gate_proj up_proj down_proj | q_proj k_proj v_proj forget_gate b_proj g_a_proj g_b_proj o_proj | f_a_proj f_b_proj
        glm5_next_text, kimi_linear: q_proj k_proj v_proj forget_gate b_proj g_a_proj g_b_proj o_proj | f_a_proj f_b_proj
        glpn, pvt: dense1 dense2
        granite_docling granite_docling_text granite_docling_vision, granite_docling_vision: encoder connector | coarse fine mlp_fc2 | projection deepstack_mergers
        granite_speech5_encoder: input_linear layers out out_mid | feed_forward1 self_attn conv feed_forward2 | pointwise_lin1 pointwise_lin2
        granitemoehybrid: shared_mlp mamba | input_linear output_linear
        groupvit groupvit_text_model groupvit_vision_model: layers downsample | mlp_inter pre_assign_attn assign mlp_channels | q_proj k_proj v_proj proj | layers downsample group_projector | k_proj v_proj q_proj out_proj
        hgnet_v2 pp_doclayout_v3: encoder enc_output enc_score_head enc_bbox_head decoder decoder_order_head decoder_global_pointer mask_query_head | self_attn mlp | k_proj v_proj q_proj o_proj | fc1 fc2 | layers query_pos_head class_embed bbox_embed | self_attn encoder_attn mlp | sampling_offsets attention_weights value_proj output_proj
        higgs_audio_v2: model audio_lm_head | self_attn mlp audio_mlp
        hrm_text: L_module H_module | q_proj k_proj v_proj o_proj gate_proj
        hunyuan_vl hunyuan_vl_text hunyuan_vl_vision, hunyuan_vl_vision: layers patch_merger
        hy_v4, hy_v4_vl hy_v4_vl_text hy_v4_vl_vision: q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj o_proj indexer gate_proj | wq_b wk weights_proj
        hyperclovax hyperclovax_vision_v2 qwen2_5_vl_vision: vision_model projector language_model | blocks merger
        idefics idefics_perciever idefics_vision: vision_model layers gated_cross_attn_layers
        idefics2 idefics2_perceiver idefics2_vision mistral: modality_projection perceiver_resampler
        inkling2 inkling2_text inkling2_vision, inkling2_loop inkling2_loop_text inkling2_vision: q_proj k_proj v_proj o_proj sink_proj relative_position_bias | gate_proj linear | embeddings layers merger | k_proj v_proj q_proj out_proj
        inkling2_loop_text, inkling2_text: q_proj k_proj v_proj o_proj sink_proj relative_position_bias | gate_proj linear
        inkling2_vision: embeddings layers merger
        inkling_audio inkling_mm_model inkling_text inkling_vision: language_model vision_tower | q_proj k_proj v_proj r_proj o_proj
        inkling_text: q_proj k_proj v_proj r_proj o_proj
        instructblip instructblip_qformer instructblip_vision_model opt, instructblipvideo instructblipvideo_qformer instructblipvideo_vision_model opt: vision_model qformer language_projection language_model | self_attn mlp | qkv projection | fc1 fc2 | attention crossattention intermediate output intermediate_query output_query | attention output | query key value | attention intermediate output intermediate_query output_query | model lm_head | self_attn fc1 fc2 | k_proj v_proj q_proj out_proj
        janus janus_vision_model janus_vqgan llama: vision_model aligner generation_aligner generation_head language_model | fc1 hidden_layers | proj_out vision_head
        jetmoe: experts kv_proj
        jina_embeddings_v3: dense decoder | fc1 fc2
        kimi_k25_vision: proj q_proj k_proj v_proj
        kosmos_2 kosmos_2_text_model kosmos_2_vision_model: text_model vision_model image_to_text_projection | self_attn ffn | dense x_attn
        kosmos_2.5 kosmos_2_5_text_model kosmos_2_5_vision_model: text_model vision_model image_to_text_projection | self_attn ffn | query key value output | dense x_attn
        laguna: q_proj k_proj v_proj o_proj g_proj
        lara_mini, qwen3_5_text: out_proj in_proj_qkv in_proj_z in_proj_b in_proj_a
        lasr_ctc lasr_encoder, lasr_encoder: subsampler layers | dense_0 dense_1 | feed_forward1 self_attn feed_forward2
        layoutlm: layoutlm cls | transform decoder
        layoutlmv3: layer rel_pos_bias rel_pos_x_bias rel_pos_y_bias
        led: longformer_self_attn output | query key value query_global key_global value_global
        levit: queries_keys_values projection | linear_up linear_down | keys_values queries projection
        lfm3 lfm3_vl lfm3_vl_vision: language_model vision_tower multi_modal_projector | conv feed_forward | in_proj out_proj | w1 w3 w2 | patch_embed layers | linear_1 linear_2
        lfm3_vl_vision: patch_embed layers | conv feed_forward | in_proj out_proj | w1 w3 w2
        lightglue superpoint: positional_encoder transformer_layers match_assignment_layers token_confidence | self_attention self_mlp cross_attention cross_mlp | final_projection matchability
        lilt: layout_embeddings encoder pooler | attention intermediate output layout_intermediate layout_output | self output layout_output | query key value layout_query layout_key layout_value
        llama omniasr omniasr_audio, omniasr_audio: subsampling layers
        longcat_flash: mlp self_attn mlps | q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj o_proj | gate_proj up_proj down_proj
        longformer: query key value query_global key_global value_global | dense decoder
        luke: entity_embeddings encoder pooler | query key value w2e_query e2w_query e2e_query | dense decoder | transform decoder
        lw_detr lw_detr_vit, rf_detr rf_detr_dinov2: model class_embed bbox_embed | backbone decoder enc_output enc_out_bbox_embed enc_out_class_embed | layers ref_point_head | sampling_offsets attention_weights value_proj output_proj
        lxmert: lxmert cls obj_predict_head answer_head | visn_fc layer x_layers r_layers | visn_fc box_fc | visual_attention lang_self_att visn_self_att lang_inter lang_output visn_inter visn_output | att output | predictions seq_relationship | transform decoder | transform decoder_dict | obj attr feat
        markuplm: xpath_unitseq2_embeddings xpath_unitseq2_inner inner2emb
        mask2former swin: pixel_level_module transformer_module | blocks downsample | sampling_offsets attention_weights value_proj output_proj | layers mask_predictor
        mgp_str: mgp_str char_head bpe_head wp_head
        minicpm_ocr minicpm_ocr_vision qwen3_5_text, minicpmv4_6 minicpmv4_6_vision qwen3_5_text, minicpmv4_7 minicpmv4_7_vision qwen3_5_text: vision_tower language_model merger | encoder vit_merger | self_attn linear_1 linear_2 | out_proj in_proj_qkv in_proj_z in_proj_b in_proj_a
        minicpm_ocr_vision, minicpmv4_7_vision: encoder vit_merger | self_attn linear_1 linear_2
        minimax_m3_vl minimax_m3_vl_text minimax_m3_vl_vision: linear_1 linear_2 merge_linear_1 merge_linear_2
        mistral_large4 mistral_large4_text pixtral: vision_tower multi_modal_projector language_model | feed_forward attention | gate_proj up_proj down_proj | k_proj v_proj q_proj o_proj | patch_merger linear_1 linear_2 | self_attn mlp | kv_a_proj_with_mqa kv_b_proj o_proj indexer q_proj | wq_b wk weights_proj
        mistral_large4_text: self_attn mlp | kv_a_proj_with_mqa kv_b_proj o_proj indexer q_proj | wq_b wk weights_proj | gate_proj up_proj down_proj
        mobilebert: mobilebert cls | attention intermediate output bottleneck ffn | dense bottleneck | input attention | transform dense decoder
        modernbert modernvbert siglip_vision_model, siglip_vision_model ultrabert ultravbert: model projection_head lm_head
        modernbert: model head decoder
        modernbert_decoder: q_proj k_proj v_proj Wo
        molmo2 molmo2_adapter molmo2_text molmo2_vision: patch_embedding layers | image_pooling_2d image_projector
        mra: mra cls | transform decoder
        muse_glimmer muse_glimmer_text muse_glimmer_vision: vision_tower language_model vision_adapter vision_projection | patch_embedder layers | proj q_proj k_proj v_proj | q_proj k_proj v_proj o_proj gate_proj
        muse_glimmer_assistant: layers encoder
        muse_glimmer_vision, muse_spark_vision: patch_embedder layers | proj q_proj k_proj v_proj
        muse_spark muse_spark_audio muse_spark_text muse_spark_vision: vision_tower language_model vision_adapter vision_projection audio_tower | patch_embedder layers | proj q_proj k_proj v_proj | q_proj k_proj v_proj o_proj gate_proj | pre_expert_proj post_expert_proj | layers proj | patch_embedder conv_blocks
        muse_spark_audio: layers proj | patch_embedder conv_blocks
        muse_spark_text: q_proj k_proj v_proj o_proj gate_proj | pre_expert_proj post_expert_proj
        musicgen_decoder, musicgen_melody_decoder: model lm_heads
        nemotron3_5_asr nemotron_asr_streaming_encoder: encoder encoder_projector decoder joint prompt_projector | subsampling layers | feed_forward1 self_attn feed_forward2 | q_proj k_proj v_proj o_proj relative_k_proj
        nemotron3_5_transcribe_asr_audio, nemotron3_diarization_audio: embedder layers
        nemotron_asr_streaming nemotron_asr_streaming_encoder, parakeet_encoder parakeet_rnnt, parakeet_encoder parakeet_tdt: encoder encoder_projector decoder joint | subsampling layers | feed_forward1 self_attn feed_forward2 | q_proj k_proj v_proj o_proj relative_k_proj
        nemotron_h nemotron_h_omni radio: language_model vision_model multi_modal_projector | model lm_head | in_proj out_proj | up_proj down_proj | embeddings encoder | patch_projection video_patch_projection | attention mlp | q_proj k_proj v_proj o_proj | fc1 fc2 | linear_1 linear_2
        neucodec wav2vec2_bert, wav2vec2_bert xcodec2: semantic_encoder fc_encoder quantizer acoustic_decoder | feature_projection encoder | ffn1 self_attn ffn2 | project_in project_out | fc layers head
        nllb_moe: self_attn ffn | self_attn cross_attention ffn
        nomic_bert: nomic_bert cls | transform decoder
        nystromformer: nystromformer cls | transform decoder
        olmo_hybrid: mlp linear_attn | gate_proj up_proj down_proj | q_proj k_proj v_proj a_proj b_proj g_proj o_proj | self_attn mlp | q_proj k_proj v_proj o_proj
        omniasr_audio omniasr_ctc: ctc_head model | subsampling layers
        oneformer swin: pixel_level_module transformer_module task_encoder | encoder decoder | blocks downsample | attention mlp | q_proj k_proj v_proj o_proj | fc1 fc2 | self_attn fc1 fc2 | sampling_offsets attention_weights value_proj output_proj | query_transformer layers class_embed mask_embed | linear1 linear2 | self_attn ffn | k_proj v_proj q_proj out_proj
        ovis2 ovis2_vision qwen2: transformer head_linear
        patchtsmixer: patcher mlp_mixer_encoder | patch_mixer feature_mixer | mlp gating_block
        patchtst: embedder layers | self_attn ff
        phi3: o_proj qkv_proj
        phi4_multimodal phi4_multimodal_audio phi4_multimodal_vision: layers embed_tokens_extend | o_proj qkv_proj | image_embed audio_embed | img_processor img_projection_up img_projection_down | encoder up_proj_for_speech down_proj_for_speech up_proj_for_vision_speech down_proj_for_vision_speech | embed encoders | feed_forward_in self_attn feed_forward_out
        phi: q_proj k_proj v_proj dense
        pix2struct pix2struct_text_model pix2struct_vision_model: query key value output | layer lm_head | self_attention encoder_decoder_attention mlp
        pixtral: feed_forward attention | gate_proj up_proj down_proj | k_proj v_proj q_proj o_proj
        prophetnet: self_attn cross_attn feed_forward | key_proj value_proj query_proj out_proj relative_pos_embeddings | key_proj value_proj query_proj out_proj | intermediate output
        pvt_v2: query key value proj | dense1 dense2
        qwen2 video_llama_3 video_llama_3_vision: vision_model projector language_model
        qwen2_5_omni qwen2_5_omni_audio_encoder qwen2_5_omni_bigvgan qwen2_5_omni_dit qwen2_5_omni_talker qwen2_5_omni_text qwen2_5_omni_thinker qwen2_5_omni_token2wav qwen2_5_omni_vision_encoder: thinker talker token2wav | layers proj | blocks merger | q k v proj | thinker_to_talker_proj model codec_head | time_embed input_embed transformer_blocks norm_out proj_out | attn_norm attn ff | to_q to_k to_v to_out
        qwen2_5_omni_audio_encoder qwen2_5_omni_text qwen2_5_omni_thinker qwen2_5_omni_vision_encoder: audio_tower visual language_model | layers proj | blocks merger | q k v proj
        qwen2_5_vl qwen2_5_vl_text qwen2_5_vl_vision, qwen2_5_vl_vision, qwen2_vl qwen2_vl_text qwen2_vl_vision, qwen3_5_moe_vision, qwen3_5_vision, qwen4_exp_vision: blocks merger
        qwen2_moe, qwen3_next: shared_expert shared_expert_gate
        qwen3 qwen3_asr qwen3_asr_encoder, qwen3_asr_encoder: layers conv_out
        qwen3_5_moe_text: out_proj in_proj_qkv in_proj_z in_proj_b in_proj_a | shared_expert shared_expert_gate
        qwen4_exp_text: layers hyper_connection_mixer | linear_attn mlp attn_hyper_connection mlp_hyper_connection | out_proj in_proj_qkv in_proj_z in_proj_b in_proj_a | shared_expert shared_expert_gate | input_mix_weight_down input_mix_weight_up block_inject_weight | input_mix_weight_down input_mix_weight_up
        recurrent_gemma: temporal_block mlp_block | linear_y linear_x linear_out
        rembert: rembert cls | embedding_hidden_mapping_in layer | dense decoder
        roc_bert: roc_bert cls | transform decoder
        roformer: roformer cls | transform decoder
        rt_detr rt_detr_resnet: encoder enc_output enc_score_head enc_bbox_head decoder | self_attn mlp | k_proj v_proj q_proj o_proj | fc1 fc2 | layers query_pos_head class_embed bbox_embed | self_attn encoder_attn mlp | sampling_offsets attention_weights value_proj output_proj
        sam sam_mask_decoder sam_prompt_encoder sam_vision_model: transformer output_hypernetworks_mlps iou_prediction_head | layers final_attn_token_to_image | self_attn cross_attn_token_to_image mlp cross_attn_image_to_token | proj_in proj_out layers
        sam2 sam2_hiera_det_model sam2_mask_decoder sam2_prompt_encoder sam2_vision_model: proj_in proj_out | attn mlp proj | transformer output_hypernetworks_mlps iou_prediction_head pred_obj_score_head | layers final_attn_token_to_image | self_attn cross_attn_token_to_image mlp cross_attn_image_to_token | proj_in proj_out layers
        sam2_hiera_det_model sam2_video sam2_video_mask_decoder sam2_video_prompt_encoder sam2_vision_model: vision_encoder mask_decoder memory_attention memory_encoder object_pointer_proj temporal_positional_encoding_projection_layer | proj_in proj_out | attn mlp proj | transformer output_hypernetworks_mlps iou_prediction_head pred_obj_score_head | layers final_attn_token_to_image | self_attn cross_attn_token_to_image mlp cross_attn_image_to_token | proj_in proj_out layers | self_attn cross_attn_image linear1 linear2 | pointwise_conv1 pointwise_conv2
        sam2_hiera_det_model, sam2_hiera_det_model sam2_vision_model: proj_in proj_out | attn mlp proj
        sam3_tracker sam3_tracker_mask_decoder sam3_tracker_prompt_encoder sam3_vision_model sam3_vit_model: transformer output_hypernetworks_mlps iou_prediction_head pred_obj_score_head | layers final_attn_token_to_image | self_attn cross_attn_token_to_image mlp cross_attn_image_to_token | proj_in proj_out | proj_in proj_out layers
        sam3_tracker_video sam3_tracker_video_mask_decoder sam3_tracker_video_prompt_encoder sam3_vision_model sam3_vit_model: vision_encoder mask_decoder memory_attention memory_encoder object_pointer_proj temporal_positional_encoding_projection_layer | transformer output_hypernetworks_mlps iou_prediction_head pred_obj_score_head | layers final_attn_token_to_image | self_attn cross_attn_token_to_image mlp cross_attn_image_to_token | proj_in proj_out | proj_in proj_out layers | self_attn cross_attn_image linear1 linear2 | pointwise_conv1 pointwise_conv2
        sam_hq sam_hq_mask_decoder sam_hq_prompt_encoder sam_hq_vision_model: transformer output_hypernetworks_mlps iou_prediction_head hq_mask_mlp | layers final_attn_token_to_image | self_attn cross_attn_token_to_image mlp cross_attn_image_to_token | proj_in proj_out layers
        seamless_m4t, seamless_m4t_v2: text_encoder text_decoder lm_head | self_attn ffn | self_attn cross_attention ffn
        sew: feature_projection encoder | layers upsample
        sew_d: feature_projection encoder | encoder upsample
        siglip_vision_model t5gemma2 t5gemma2_decoder t5gemma2_encoder t5gemma2_text: text_model vision_tower
        speecht5: speecht5 text_decoder_postnet | prenet wrapped_encoder | self_attn encoder_attn feed_forward
        splinter: splinter splinter_qass | query_start_transform query_end_transform start_transform end_transform start_classifier end_classifier
        squeezebert: transformer cls | transform decoder
        step3p5 step3p5_vision step3p7: q_proj k_proj v_proj o_proj g_proj | k_proj v_proj q_proj out_proj
        swiftformer: swiftformer head dist_head | to_query to_key proj final
        swin2sr: continuous_position_bias_mlp query key value
        swinv2: blocks downsample | continuous_position_bias_mlp query key value
        switch_transformers: router experts | expert_0 expert_1 expert_2 expert_3
        t5_gemma_module t5gemma: encoder decoder | self_attn mlp | q_proj k_proj v_proj o_proj | gate_proj up_proj down_proj | self_attn mlp cross_attn
        tapas: tapas cls | transform decoder
        timesfm, timesfm2_5: input_ff_layer layers | input_layer output_layer residual_layer
        timesformer: attention intermediate output temporal_attention temporal_dense
        tipsv2_dpt tipsv2_vision_model: backbone neck decoder
        trocr: model output_projection
        ultrabert: model head | linear1 linear2 decoder
        unispeech: unispeech quantizer project_q project_hid ctc_proj | feature_projection encoder
        unispeech_sat: unispeech_sat quantizer project_q project_hid speaker_proj | feature_projection encoder
        unlimited_ocr unlimited_ocr_sam_vision_model unlimited_ocr_text unlimited_ocr_vision unlimited_ocr_vision_encoder: sam_encoder vision_encoder
        videomae: videomae encoder_to_decoder decoder | decoder_layers head
        videoprism videoprism_text_model videoprism_vision_model: video_model text_model | vision_model auxiliary_layers head | spatial_layers temporal_layers
        videoprism_vision_model: spatial_layers temporal_layers
        visual_bert: visual_bert cls | embeddings encoder pooler | predictions seq_relationship | transform decoder
        vit_mae: vit decoder | decoder_embed decoder_layers decoder_pred
        vjepa2: encoder predictor | query key value proj | embeddings layer proj
        voxtral_realtime voxtral_realtime_encoder voxtral_realtime_text: self_attn mlp ada_rms_norm
        wav2vec2: wav2vec2 quantizer project_hid project_q | feature_projection encoder
        wav2vec2_conformer: wav2vec2_conformer quantizer project_hid project_q | feature_projection encoder | ffn1 self_attn ffn2 | linear_q linear_k linear_v linear_out linear_pos
        wavlm: feature_projection encoder | k_proj v_proj q_proj out_proj gru_rel_pos_linear
        wavtokenizer: backbone head
        xclip xclip_text_model xclip_vision_model: text_model vision_model visual_projection text_projection mit prompts_generator | self_attn mlp message_fc message_attn | k_proj v_proj q_proj proj
        xlnet: transformer lm_loss
        xlstm: mlstm_layer ffn | q k v ogate_preact igate_preact fgate_preact out_proj | proj_up_gate proj_up proj_down
        xmod: dense adapter_modules | dense1 dense2 | dense decoder
        yoso: yoso cls | transform decoder
        zaya: o_proj qkv_proj | q_proj k_proj v_proj_current v_proj_delayed | down_proj router_mlp | fc1 fc2 out_proj
        """
}

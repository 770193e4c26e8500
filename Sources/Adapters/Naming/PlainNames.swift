/// Model types whose modules have the same names in a file as in memory.
///
/// What no tensor names is found by its name on disk only where that is known to be its name in memory: of a type that is
/// neither here nor in ``RenameTable``, transformers may rename a module, and a module that is overlooked shifts what all
/// others are dealt. Renames of experts are no matter here, since those are refused, nor are those of the front of a name.
///
/// Source: `CONFIG_MAPPING_NAMES` of transformers 5.24 without the types that `conversion_mapping.py` has otherwise.
enum PlainNames {
    static let modelTypes = Set("""
        EvollaModel afmoe aimv2 aimv2_text_model aimv2_vision_model albert align align_text_model align_vision_model altclip_text_model \
        altclip_vision_model apertus apertus1p5 apertus1p5_text apertus1p5_vision_tokenizer arcee aria aria_text audio_spectrogram_transformer \
        audioflamingo3 audioflamingo3_encoder autoformer aya_vision bamba bark bart beam bert bert_generation big_bird bigbird_pegasus biogpt \
        bit bitnet blenderbot blenderbot_small blip blip_2 blip_2_qformer blip_2_vision_model blip_text_model blip_vision_model bloom blt \
        blt_global_transformer blt_local_decoder blt_local_encoder blt_patcher bridgetower bridgetower_text_model bridgetower_vision_model bros \
        camembert canary canary_decoder canine chameleon chameleon_vqgan chinese_clip chinese_clip_text_model chinese_clip_vision_model chmv2 \
        clap clap_audio_model clap_text_model clip clip_text_model clip_vision_model clipseg clipseg_text_model clipseg_vision_model clvp \
        clvp_decoder clvp_encoder codegen cohere cohere2 cohere2_moe cohere2_vision cohere_compass cohere_compass_text cohere_compass_vision \
        colmodernvbert colpali colqwen2 convbert convnext convnextv2 cosmos3_edge_text cosmos3_edge_vision cpmant csm csm_depth_decoder_model \
        ctrl cvt cwm dab_detr dac data2vec_audio data2vec_text data2vec_vision dbrx deberta deberta_v2 decision_transformer \
        deepseek_ocr2_encoder deepseek_ocr2_sam_vision_model deepseek_ocr2_text deepseek_ocr2_vision deepseek_v2 deepseek_v3 deepseek_v32 \
        deepseek_vl deepseek_vl_hybrid deimv2 depth_anything depth_pro dia dia_decoder dia_encoder diffllama diffusion_gemma \
        diffusion_gemma_text dinat distilbert doge donut_swin dots1 dots3_note dots3_note_text dpr dpt edgetam edgetam_mask_decoder \
        edgetam_prompt_encoder edgetam_video edgetam_video_mask_decoder edgetam_video_prompt_encoder edgetam_vision_model efficientloftr \
        efficientnet electra embedding_gemma2 embedding_gemma2_text emu3 emu3_text_model emu3_vqgan encodec encoder_decoder eomt eomt_dinov3 \
        ernie ernie4_5 ernie4_5_vl_moe_text ernie4_5_vl_moe_vision esmc esmfold2 eurobert evolla exaone4 exaone4_5 exaone4_5_vision falcon \
        falcon_h1 falcon_mamba fast_vlm fastspeech2_conformer fastspeech2_conformer_hifigan fastspeech2_conformer_with_hifigan flaubert flava \
        flava_image_codebook flava_image_model flava_multimodal_model flava_text_model flex_olmo florence2 florence_vision fnet focalnet fsmt \
        fun_asr_nano fun_asr_nano_encoder funnel fuyu gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_audio gemma3n_text gemma3n_vision gemma4 \
        gemma4_assistant gemma4_audio gemma4_text gemma4_unified_assistant gemma4_unified_audio gemma4_unified_text gemma4_unified_vision \
        gemma4_vision git git_vision_model glm glm4 glm46v glm4_moe glm4_moe_lite glm4v glm4v_moe glm4v_moe_text glm4v_moe_vision glm4v_text \
        glm4v_vision glm5_next_vision glm_image glm_image_text glm_image_vision glm_image_vqmodel glm_moe_dsa glm_ocr glm_ocr_text \
        glm_ocr_vision glmasr glmasr_encoder glmga glpn got_ocr2 got_ocr2_vision gpt2 gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gpt_oss \
        gpt_sw3 gptj granite granite4_vision granite4_vision_text granite_docling granite_docling_text granite_docling_vision granite_speech \
        granite_speech5_ctc granite_speech5_encoder granite_speech_encoder granite_speech_plus granite_speech_plus_encoder granite_swa \
        granitemoe_swa grounding_dino groupvit groupvit_text_model groupvit_vision_model helium hgnet_v2 hiera higgs_audio_v2 \
        higgs_audio_v2_tokenizer hubert hunyuan_v1_dense hunyuan_v1_moe hunyuan_vl_text hunyuan_vl_vision hy_v4_vl_vision hyperclovax \
        hyperclovax_vision_v2 ibert idefics idefics2 idefics2_perceiver idefics2_vision idefics3 idefics3_vision idefics_perciever \
        idefics_vision imagegpt informer inkling2_vision inkling_audio inkling_text inkling_vision instructblip instructblip_qformer \
        instructblip_vision_model instructblipvideo instructblipvideo_qformer instructblipvideo_vision_model internlm3 internvl internvl_vision \
        iquestcoder jais2 jamba janus janus_vision_model janus_vqgan jetmoe jev kimi_k25_vision kosmos_2 kosmos_2.5 kosmos_2_5_text_model \
        kosmos_2_5_vision_model kosmos_2_text_model kosmos_2_vision_model kyutai_speech_to_text lasr_ctc lasr_encoder layoutlm layoutlmv2 \
        layoutlmv3 layoutxlm led levit lfm2 lfm2_moe lfm2_vl lfm3_vl lightglue lighton_ocr lilt llama llama4 llama4_text llama4_vision_model \
        llava llava_next llava_next_video llava_onevision longcat_flash longformer longt5 luke lw_detr_vit lxmert m2m_100 mamba mamba2 marian \
        markuplm mask2former maskformer_swin mbart megatron_bert mellum metaclip_2 metaclip_2_text_model metaclip_2_vision_model mgp_str mimi \
        mimi_decoder mimi_encoder minicpm3 minicpm_ocr minicpm_ocr_vision minicpmv4_6 minicpmv4_6_vision minicpmv4_7 minicpmv4_7_vision \
        minimax_m3_vl_text minimax_m3_vl_vision ministral ministral3 mistral mistral3 mistral4 mlcd mlcd_vision_model mllama mllama_text_model \
        mllama_vision_model mm_grounding_dino mobilebert mobilenet_v1 mobilenet_v2 mobilevit mobilevitv2 modernbert modernbert_decoder \
        modernvbert molmo2_adapter molmo2_vision moonshine moonshine_streaming moonshine_streaming_encoder moshi moshi_depth \
        moss_transcribe_diarize moss_transcribe_diarize_audio mpnet mpt mra mt5 muse_glimmer muse_glimmer_assistant muse_glimmer_text \
        muse_glimmer_vision muse_spark muse_spark_audio muse_spark_text muse_spark_vision musicflamingo musicgen musicgen_decoder \
        musicgen_melody musicgen_melody_decoder mvp nanochat nemotron nemotron3_5_asr nemotron3_5_transcribe_asr_audio \
        nemotron3_5_transcribe_audio nemotron3_5_transcribe_word_timestamp nemotron3_diarization nemotron3_diarization_audio \
        nemotron_asr_streaming nemotron_asr_streaming_encoder nemotron_h_omni neomme neucodec nllb_moe nougat nystromformer olmo olmo2 olmo3 \
        olmoe omdet_turbo omniasr omniasr_audio omniasr_ctc oneformer openai_gpt openai_privacy_filter opt ovis2 ovis2_vision owlv2 \
        owlv2_text_model owlv2_vision_model owlvit owlvit_text_model owlvit_vision_model paddleocr_vl_text paddleocr_vl_vision paligemma \
        parakeet_ctc parakeet_encoder parakeet_rnnt parakeet_tdt patchtsmixer patchtst pe_audio pe_audio_encoder pe_audio_video \
        pe_audio_video_encoder pe_video pe_video_encoder pegasus pegasus_x perceiver perception_lm persimmon phi phi3 phi4_multimodal \
        phi4_multimodal_audio phi4_multimodal_vision pix2struct pix2struct_text_model pix2struct_vision_model pixtral plbart pocket_tts \
        pocket_tts_audio_tokenizer pocket_tts_audio_tokenizer_decoder pocket_tts_audio_tokenizer_encoder poolformer pop2piano pp_chart2table \
        pp_chart2table_vision pp_formulanet pp_formulanet_text pp_formulanet_vision pp_lcnet pp_lcnet_v3 pp_lcnet_v4 pp_ocrv5_mobile_det \
        pp_ocrv5_mobile_rec pp_ocrv5_server_det pp_ocrv5_server_rec pp_ocrv6_medium_det pp_ocrv6_small_det pp_ocrv6_small_rec pp_ocrv6_tiny_rec \
        prompt_depth_anything prophetnet pvt pvt_v2 qianfan_ocr_vision qwen2 qwen2_5_omni qwen2_5_omni_audio_encoder qwen2_5_omni_bigvgan \
        qwen2_5_omni_dit qwen2_5_omni_talker qwen2_5_omni_text qwen2_5_omni_thinker qwen2_5_omni_token2wav qwen2_5_omni_vision_encoder \
        qwen2_5_vl qwen2_5_vl_text qwen2_5_vl_vision qwen2_audio qwen2_audio_encoder qwen2_moe qwen2_vl qwen2_vl_text qwen2_vl_vision qwen3 \
        qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_moe_vision qwen3_5_text qwen3_5_vision qwen3_asr qwen3_asr_encoder qwen3_moe qwen3_next \
        qwen3_omni_moe qwen3_omni_moe_audio_encoder qwen3_omni_moe_talker_code_predictor qwen3_omni_moe_talker_text qwen3_omni_moe_text \
        qwen3_omni_moe_thinker qwen3_omni_moe_vision_encoder qwen3_vl qwen3_vl_moe qwen3_vl_moe_text qwen3_vl_moe_vision qwen3_vl_text \
        qwen3_vl_vision qwen4_exp qwen4_exp_vision rag recurrent_gemma reformer regnet rembert resnet rf_detr_dinov2 roberta \
        roberta_prelayernorm roc_bert roformer rt_detr_resnet rwkv sam sam2 sam2_hiera_det_model sam2_mask_decoder sam2_prompt_encoder \
        sam2_video sam2_video_mask_decoder sam2_video_prompt_encoder sam2_vision_model sam3 sam3_detr_decoder sam3_detr_encoder \
        sam3_geometry_encoder sam3_lite_text sam3_lite_text_detr_decoder sam3_lite_text_detr_encoder sam3_lite_text_geometry_encoder \
        sam3_lite_text_mask_decoder sam3_lite_text_text_model sam3_mask_decoder sam3_tracker_mask_decoder sam3_tracker_prompt_encoder \
        sam3_tracker_video_mask_decoder sam3_tracker_video_prompt_encoder sam3_video sam3_vision_model sam3_vit_model sam_hq sam_hq_mask_decoder \
        sam_hq_prompt_encoder sam_hq_vision_model sam_mask_decoder sam_prompt_encoder sam_vision_model sapiens2_head sarvam_mla seamless_m4t \
        seamless_m4t_v2 seed_oss seggpt sew sew_d shieldgemma2 siglip siglip2 siglip2_text_model siglip2_vision_model siglip_text_model \
        siglip_vision_model slanet slanext slanext_vision smollm3 smolvlm smolvlm_vision solar_open speech_encoder_decoder speech_to_text \
        speecht5 speecht5_hifigan splinter squeezebert stablelm starcoder2 step3p5 superglue superpoint swiftformer swin2sr swinv2 \
        switch_transformers t5 t5_gemma_module t5gemma t5gemma2 t5gemma2_decoder t5gemma2_text table_transformer tapas textnet \
        time_series_transformer timesfm timesformer timm_backbone timm_wrapper trocr tvp udop ultrabert ultravbert umt5 unispeech unispeech_sat \
        univnet unlimited_ocr_sam_vision_model unlimited_ocr_text unlimited_ocr_vision upernet uvdoc uvdoc_backbone vaultgemma vibevoice \
        vibevoice_acoustic_tokenizer vibevoice_acoustic_tokenizer_decoder vibevoice_acoustic_tokenizer_encoder vibevoice_asr vibevoice_diffusion \
        video_llama_3 video_llama_3_vision video_llava videomt videoprism videoprism_text_model videoprism_vision_model vilt vipllava \
        vision_encoder_decoder vision_text_dual_encoder visual_bert vitdet vitmatte vitpose vitpose_backbone vits vjepa2 voxtral voxtral_encoder \
        voxtral_realtime voxtral_realtime_encoder voxtral_realtime_text wav2vec2 wav2vec2_bert wav2vec2_conformer wavlm wavtokenizer \
        wavtokenizer_encoder whisper xclip xclip_text_model xclip_vision_model xcodec xcodec2 xglm xlm xlm_roberta xlm_roberta_xl xlnet xlstm \
        xmod yoso youtu zamba zamba2 zaya zoedepth axk1 flint kolibri1 mimo_v2_flash olmo_hybrid qwen4_exp_text videomae yolos
        """.split(separator: " ").map { String($0) })

    /// Types with renames here whose files come in a second layout: dory's have an attention and a feed-forward as two layers
    /// (`LayerPairCollapse` in core_model_loading.py), which saving does not write again.
    private static let unsettled: Set<String> = ["dory"]

    /// The first of the types whose names in memory are not known.
    static func unknown(among types: [String]) -> String? {
        types.first { type in
            unsettled.contains(type) || !modelTypes.contains(type) && !RenameTable.entries.contains { $0.modelTypes.contains(type) && !$0.rules.isEmpty }
        }
    }
}

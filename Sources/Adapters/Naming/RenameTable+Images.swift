/// The renames of models that see: image encoders, detectors, and models of several parts.
extension RenameTable {
    static let imageEntries: [RenameEntry] = [
        RenameEntry(
            "ViTModel",
            [
                "vit", "deit", "ijepa", "vit_mae", "vit_msn", "vivit", "audio_spectrogram_transformer", "ast", "beit",
            ],
            [
                RenameRule("layers.*.attention.q_proj", "encoder.layer.*.attention.attention.query"),
                RenameRule("layers.*.attention.k_proj", "encoder.layer.*.attention.attention.key"),
                RenameRule("layers.*.attention.v_proj", "encoder.layer.*.attention.attention.value"),
                RenameRule("layers.*.attention.o_proj", "encoder.layer.*.attention.output.dense"),
                RenameRule("layers.*.mlp.fc1", "encoder.layer.*.intermediate.dense"),
                RenameRule("layers.*.mlp.fc2", "encoder.layer.*.output.dense"),
                RenameRule("layers.*", "encoder.layer.*"),
                // The decoder of vit_mae keeps its list's name (`decoder_layers`).
                RenameRule("attention.q_proj", "attention.attention.query"),
                RenameRule("attention.k_proj", "attention.attention.key"),
                RenameRule("attention.v_proj", "attention.attention.value"),
                RenameRule("attention.o_proj", "attention.output.dense"),
                RenameRule("mlp.fc1", "intermediate.dense"),
                RenameRule("mlp.fc2", "output.dense"),
            ]),
        // Saving undoes ViTModel's `encoder.layer.` to `layers.` as text (`core_model_loading.py`), inside `decoder_layers.` too:
        // files of transformers 5 say `decoder_encoder.layer`. Written backwards, since the forward direction of these names is
        // that of the Hub's file.
        RenameEntry(
            "ViTMAEForPreTraining", ["vit_mae"],
            [
                RenameRule("decoder_encoder.layer.*.attention.attention.query", "decoder_layers.*.attention.q_proj"),
                RenameRule("decoder_encoder.layer.*.attention.attention.key", "decoder_layers.*.attention.k_proj"),
                RenameRule("decoder_encoder.layer.*.attention.attention.value", "decoder_layers.*.attention.v_proj"),
                RenameRule("decoder_encoder.layer.*.attention.output.dense", "decoder_layers.*.attention.o_proj"),
                RenameRule("decoder_encoder.layer.*.intermediate.dense", "decoder_layers.*.mlp.fc1"),
                RenameRule("decoder_encoder.layer.*.output.dense", "decoder_layers.*.mlp.fc2"),
            ]),
        RenameEntry(
            "Dinov2Model", ["dinov2", "dinov2_with_registers"],
            [
                RenameRule("attention.q_proj", "attention.attention.query"),
                RenameRule("attention.k_proj", "attention.attention.key"),
                RenameRule("attention.v_proj", "attention.attention.value"),
                RenameRule("attention.o_proj", "attention.output.dense"),
                RenameRule("mlp.down_proj", "mlp.weights_out"),
            ]),
        RenameEntry(
            "swin", ["swin"],
            [
                RenameRule("attention.q_proj", "attention.self.query"),
                RenameRule("attention.k_proj", "attention.self.key"),
                RenameRule("attention.v_proj", "attention.self.value"),
                RenameRule("attention.o_proj", "attention.output.dense"),
                RenameRule("mlp.fc1", "intermediate.dense"),
                RenameRule("mlp.fc2", "output.dense"),
            ]),
        RenameEntry(
            "SegformerModel", ["segformer"],
            [
                RenameRule("stages.*.blocks.*.attention.q_proj", "encoder.block.*.*.attention.self.query"),
                RenameRule("stages.*.blocks.*.attention.k_proj", "encoder.block.*.*.attention.self.key"),
                RenameRule("stages.*.blocks.*.attention.v_proj", "encoder.block.*.*.attention.self.value"),
                RenameRule("stages.*.blocks.*.attention.o_proj", "encoder.block.*.*.attention.output.dense"),
                RenameRule(
                    "stages.*.blocks.*.attention.sequence_reduction.sequence_reduction",
                    "encoder.block.*.*.attention.self.sr"),
                RenameRule(
                    "stages.*.blocks.*.attention.sequence_reduction.layer_norm",
                    "encoder.block.*.*.attention.self.layer_norm"),
                RenameRule("stages.*.blocks.*.layernorm_before", "encoder.block.*.*.layer_norm_1"),
                RenameRule("stages.*.blocks.*.layernorm_after", "encoder.block.*.*.layer_norm_2"),
                RenameRule("stages.*.blocks.*.mlp.fc1", "encoder.block.*.*.mlp.dense1"),
                RenameRule("stages.*.blocks.*.mlp.fc2", "encoder.block.*.*.mlp.dense2"),
                RenameRule("stages.*.blocks.*", "encoder.block.*.*"),
                RenameRule("stages.*.patch_embeddings", "encoder.patch_embeddings.*"),
                RenameRule("stages.*.layer_norm", "encoder.layer_norm.*"),
                // Entry SegformerForSemanticSegmentation.
                RenameRule("decode_head.linear_projections.*", "decode_head.linear_c.*"),
            ]),
        // The text tower of AltCLIP; its vision tower says `layers` in the file too.
        RenameEntry(
            "altclip", ["altclip", "altclip_text_model"],
            [
                RenameRule("encoder.layers.*", "encoder.layer.*")
            ]),
        RenameEntry(
            "lw_detr", ["lw_detr", "lw_detr_vit"],
            [
                RenameRule("attention.q_proj", "attention.attention.query"),
                RenameRule("attention.k_proj", "attention.attention.key"),
                RenameRule("attention.v_proj", "attention.attention.value"),
                RenameRule("attention.o_proj", "attention.output"),
            ]),
    ]

    static let detectionEntries: [RenameEntry] = [
        // In memory the six content and position projections of each attention lie in it.
        RenameEntry(
            "ConditionalDetrModel", ["conditional_detr"],
            [
                ("q_content_proj", "qcontent_proj"), ("q_pos_proj", "qpos_proj"), ("k_content_proj", "kcontent_proj"),
                ("k_pos_proj", "kpos_proj"), ("v_proj", "v_proj"), ("q_pos_sine_proj", "qpos_sine_proj"),
            ].flatMap { memory, file in
                [
                    RenameRule("decoder.layers.*.self_attn.\(memory)", "decoder.layers.*.sa_\(file)"),
                    RenameRule("decoder.layers.*.encoder_attn.\(memory)", "decoder.layers.*.ca_\(file)"),
                ]
            }),
        RenameEntry(
            "rt_detr, d_fine", ["rt_detr", "rt_detr_v2", "pp_doclayout_v2", "pp_doclayout_v3", "d_fine"],
            [
                RenameRule("encoder.aifi.*.layers", "encoder.encoder.*.layers")
            ]),
        RenameEntry(
            "d_fine", ["d_fine"],
            [
                RenameRule("layers.*.mlp.layers.0", "layers.*.fc1"),
                RenameRule("layers.*.mlp.layers.1", "layers.*.fc2"),
            ]),
        // `MaskFormerDetrDecoder` has DetrModel's renames as well.
        RenameEntry(
            "DetrModel",
            [
                "detr", "conditional_detr", "deformable_detr", "rt_detr", "rt_detr_v2", "pp_doclayout_v2", "pp_doclayout_v3",
                "d_fine", "maskformer",
            ],
            [
                RenameRule("self_attn.o_proj", "self_attn.out_proj"),
                RenameRule("encoder_attn.o_proj", "encoder_attn.out_proj"),
                RenameRule("layers.*.mlp.fc1", "layers.*.fc1"),
                RenameRule("layers.*.mlp.fc2", "layers.*.fc2"),
            ]),
        RenameEntry(
            "DetrModel", ["detr", "conditional_detr", "deformable_detr"],
            [
                RenameRule("backbone.model", "backbone.conv_encoder.model")
            ]),
        RenameEntry(
            "DetrForSegmentation", ["detr", "conditional_detr"],
            [
                RenameRule("bbox_attention.q_proj", "bbox_attention.q_linear"),
                RenameRule("bbox_attention.k_proj", "bbox_attention.k_linear"),
                RenameRule("mask_head.conv1.conv", "mask_head.lay1"), RenameRule("mask_head.conv1.norm", "mask_head.gn1"),
                RenameRule("mask_head.conv2.conv", "mask_head.lay2"), RenameRule("mask_head.conv2.norm", "mask_head.gn2"),
                RenameRule("mask_head.output_conv", "mask_head.out_lay"),
            ]
                + (0..<3).flatMap { stage in
                    [
                        RenameRule("mask_head.fpn_stages.\(stage).fpn_adapter", "mask_head.adapter\(stage + 1)"),
                        RenameRule("mask_head.fpn_stages.\(stage).refine.conv", "mask_head.lay\(stage + 3)"),
                        RenameRule("mask_head.fpn_stages.\(stage).refine.norm", "mask_head.gn\(stage + 3)"),
                    ]
                }),
    ]

    /// Parts of models whose fronts are not those of `MultimodalStyle`.
    static let multimodalEntries: [RenameEntry] = [
        RenameEntry(
            "granite_speech", ["granite_speech", "granite_speech_plus"],
            [
                RenameRule("^model.encoder", "^encoder"),
                RenameRule("^model.projector", "^projector"),
            ]),
        RenameEntry(
            "vibevoice_asr", ["vibevoice_asr"],
            [
                RenameRule("^model.acoustic_tokenizer_encoder", "^acoustic_tokenizer_encoder"),
                RenameRule("^model.semantic_tokenizer_encoder", "^semantic_tokenizer_encoder"),
            ]),
        RenameEntry(
            "emu3", ["emu3"],
            [
                RenameRule("^lm_head", "^text_model.lm_head"),
                RenameRule("^model.text_model", "^text_model.model"),
                RenameRule("^model.vqmodel", "^vqmodel"),
            ]),
        RenameEntry(
            "paddleocr_vl", ["paddleocr_vl"],
            [
                RenameRule("^model.projector", "^mlp_AR")
            ]),
        RenameEntry(
            "hunyuan_vl", ["hunyuan_vl"],
            [
                RenameRule("^model.vision_tower.layers.*.mlp.fc1", "^vit.layers.*.mlp.dense_h_to_4h"),
                RenameRule("^model.vision_tower.layers.*.mlp.fc2", "^vit.layers.*.mlp.dense_4h_to_h"),
                RenameRule("^model.vision_tower.patch_merger.proj_conv", "^vit.perceive.proj.0"),
                RenameRule("^model.vision_tower.patch_merger.proj_out", "^vit.perceive.proj.2"),
                RenameRule("^model.vision_tower.patch_merger", "^vit.perceive"),
                RenameRule("^model.vision_tower", "^vit"),
            ]),
    ]
}

/// The renames of models that see that transformers 5.20 and later know.
///
/// Each table is what `revert_weight_conversion` of transformers 5.24 makes of the names of a small model of the type, with the ends that
/// both names share left out: what saving writes, where `conversion_mapping.py` says what loading reads. Attention matrices whose
/// rows saving brings into another order for the position encoding (`PermuteForRope`) or takes in turn (`Interleave`) are not here:
/// their modules are refused.
extension RenameTable {
    static let recentImageEntries: [RenameEntry] = [
        RenameEntry(
            "lfm3_vl_vision", ["lfm3_vl", "lfm3_vl_vision"],
            lines: """
                patch_embed > patchifier
                """),
        RenameEntry(
            "pixio", ["pixio"],
            lines: """
                ^layers.*.attention.k_proj > ^encoder.layer.*.attention.attention.key
                ^layers.*.attention.o_proj > ^encoder.layer.*.attention.output.dense
                ^layers.*.attention.q_proj > ^encoder.layer.*.attention.attention.query
                ^layers.*.attention.v_proj > ^encoder.layer.*.attention.attention.value
                ^layers.*.mlp.fc1 > ^encoder.layer.*.intermediate.dense
                ^layers.*.mlp.fc2 > ^encoder.layer.*.output.dense
                ^layers.*.layernorm_after > ^encoder.layer.*.norm2
                ^layers.*.layernorm_before > ^encoder.layer.*.norm1
                """),
        RenameEntry(
            "radio", ["radio"],
            lines: """
                ^encoder.layer.*.attention.o_proj > ^radio_model.model.blocks.*.attn.proj
                ^embeddings.cls_register_token$ > ^radio_model.model.patch_generator.cls_token.token$
                ^embeddings.patch_projection > ^radio_model.model.patch_generator.embedder
                ^embeddings.position_embedding$ > ^radio_model.model.patch_generator.pos_embed$
                ^encoder.layer > ^radio_model.model.blocks
                ^input_conditioner.norm_mean$ > ^radio_model.input_conditioner.norm_mean$
                ^input_conditioner.norm_std$ > ^radio_model.input_conditioner.norm_std$
                """),
        RenameEntry(
            "RfDetrModel, RfDetrForObjectDetection", ["rf_detr"],
            lines: """
                ^model.backbone.backbone.encoder.layer.*.attention.k_proj > ^backbone.0.encoder.encoder.encoder.layer.*.attention.attention.key
                ^model.backbone.backbone.encoder.layer.*.attention.o_proj > ^backbone.0.encoder.encoder.encoder.layer.*.attention.output.dense
                ^model.backbone.backbone.encoder.layer.*.attention.q_proj > ^backbone.0.encoder.encoder.encoder.layer.*.attention.attention.query
                ^model.backbone.backbone.encoder.layer.*.attention.v_proj > ^backbone.0.encoder.encoder.encoder.layer.*.attention.attention.value
                ^model.backbone.projector.projector_layer.bottlenecks.*.conv1.norm > ^backbone.0.projector.stages.0.0.m.*.cv1.bn
                ^model.backbone.projector.projector_layer.bottlenecks.*.conv2.norm > ^backbone.0.projector.stages.0.0.m.*.cv2.bn
                ^model.backbone.projector.projector_layer.bottlenecks.*.conv1 > ^backbone.0.projector.stages.0.0.m.*.cv1
                ^model.backbone.projector.projector_layer.bottlenecks.*.conv2 > ^backbone.0.projector.stages.0.0.m.*.cv2
                ^model.backbone.projector.projector_layer.conv1.norm > ^backbone.0.projector.stages.0.0.cv1.bn
                ^model.backbone.projector.projector_layer.conv2.norm > ^backbone.0.projector.stages.0.0.cv2.bn
                ^model.decoder.layers.*.self_attn.o_proj > ^transformer.decoder.layers.*.self_attn.out_proj
                ^model.decoder.layers.*.mlp.fc1 > ^transformer.decoder.layers.*.linear1
                ^model.decoder.layers.*.mlp.fc2 > ^transformer.decoder.layers.*.linear2
                ^model.backbone.projector.projector_layer.conv1 > ^backbone.0.projector.stages.0.0.cv1
                ^model.backbone.projector.projector_layer.conv2 > ^backbone.0.projector.stages.0.0.cv2
                ^model.decoder.layers.*.cross_attn_layer_norm > ^transformer.decoder.layers.*.norm2
                ^model.decoder.layers.*.layer_norm > ^transformer.decoder.layers.*.norm3
                ^model.decoder.layers.*.self_attn_layer_norm > ^transformer.decoder.layers.*.norm1
                ^model.backbone.projector.layer_norm > ^backbone.0.projector.stages.0.1
                ^model.backbone.backbone > ^backbone.0.encoder.encoder
                ^model.decoder.layernorm > ^transformer.decoder.norm
                ^model.decoder > ^transformer.decoder
                ^model.enc_out_bbox_embed > ^transformer.enc_out_bbox_embed
                ^model.enc_out_class_embed > ^transformer.enc_out_class_embed
                ^model.enc_output > ^transformer.enc_output
                ^model.enc_output_norm > ^transformer.enc_output_norm
                ^model.query_feat > ^query_feat
                ^model.reference_point_embed > ^refpoint_embed
                """),
        RenameEntry(
            "sam3_tracker", ["sam3_tracker", "sam3_tracker_video"],
            lines: """
                ^shared_image_embedding.positional_embedding$ > ^tracker_model.shared_image_embedding.positional_embedding$
                ^vision_encoder.neck > ^tracker_model.tracker_neck
                ^vision_encoder > ^tracker_model.detector_model.vision_encoder
                ^mask_decoder > ^tracker_model.mask_decoder
                ^mask_downsample > ^tracker_model.mask_downsample
                ^memory_attention > ^tracker_model.memory_attention
                ^memory_encoder > ^tracker_model.memory_encoder
                ^memory_temporal_positional_encoding$ > ^tracker_model.memory_temporal_positional_encoding$
                ^no_memory_embedding$ > ^tracker_model.no_memory_embedding$
                ^no_memory_positional_encoding$ > ^tracker_model.no_memory_positional_encoding$
                ^no_object_pointer$ > ^tracker_model.no_object_pointer$
                ^object_pointer_proj > ^tracker_model.object_pointer_proj
                ^occlusion_spatial_embedding_parameter$ > ^tracker_model.occlusion_spatial_embedding_parameter$
                ^prompt_encoder > ^tracker_model.prompt_encoder
                ^temporal_positional_encoding_projection_layer > ^tracker_model.temporal_positional_encoding_projection_layer
                """),
        RenameEntry(
            "sam3_tracker", ["sam3_video"],
            lines: """
                ^tracker_model.shared_image_embedding.positional_embedding$ > ^tracker_model.tracker_model.shared_image_embedding.positional_embedding$
                ^tracker_model.mask_decoder > ^tracker_model.tracker_model.mask_decoder
                ^tracker_model.mask_downsample > ^tracker_model.tracker_model.mask_downsample
                ^tracker_model.memory_attention > ^tracker_model.tracker_model.memory_attention
                ^tracker_model.memory_encoder > ^tracker_model.tracker_model.memory_encoder
                ^tracker_model.memory_temporal_positional_encoding$ > ^tracker_model.tracker_model.memory_temporal_positional_encoding$
                ^tracker_model.no_memory_embedding$ > ^tracker_model.tracker_model.no_memory_embedding$
                ^tracker_model.no_memory_positional_encoding$ > ^tracker_model.tracker_model.no_memory_positional_encoding$
                ^tracker_model.no_object_pointer$ > ^tracker_model.tracker_model.no_object_pointer$
                ^tracker_model.object_pointer_proj > ^tracker_model.tracker_model.object_pointer_proj
                ^tracker_model.occlusion_spatial_embedding_parameter$ > ^tracker_model.tracker_model.occlusion_spatial_embedding_parameter$
                ^tracker_model.prompt_encoder > ^tracker_model.tracker_model.prompt_encoder
                ^tracker_model.temporal_positional_encoding_projection_layer > ^tracker_model.tracker_model.temporal_positional_encoding_projection_layer
                """),
        RenameEntry(
            "tipsv2", ["tipsv2"],
            lines: """
                ^text_model.encoder.layers.*.mlp.fc1 > ^text_encoder.transformer.resblocks.*.mlp.c_fc
                ^text_model.encoder.layers.*.mlp.fc2 > ^text_encoder.transformer.resblocks.*.mlp.c_proj
                ^vision_model.encoder.layer.*.attention.o_proj > ^vision_encoder.blocks.*.attn.proj
                ^vision_model.encoder.layer.*.layer_scale1.lambda1$ > ^vision_encoder.blocks.*.ls1.gamma$
                ^vision_model.encoder.layer.*.layer_scale2.lambda1$ > ^vision_encoder.blocks.*.ls2.gamma$
                ^vision_model.encoder.layer.*.mlp.fc1 > ^vision_encoder.blocks.*.mlp.c_fc
                ^vision_model.encoder.layer.*.mlp.fc2 > ^vision_encoder.blocks.*.mlp.c_proj
                ^text_model.encoder.layers.*.layer_norm1 > ^text_encoder.transformer.resblocks.*.ln_1
                ^text_model.encoder.layers.*.layer_norm2 > ^text_encoder.transformer.resblocks.*.ln_2
                ^text_model.encoder.layers.*.self_attn > ^text_encoder.transformer.resblocks.*.attn
                ^vision_model.embeddings.patch_embeddings.projection > ^vision_encoder.patch_embed.proj
                ^vision_model.embeddings.cls_token$ > ^vision_encoder.cls_token$
                ^vision_model.embeddings.mask_token$ > ^vision_encoder.mask_token$
                ^vision_model.embeddings.position_embeddings$ > ^vision_encoder.pos_embed$
                ^vision_model.embeddings.register_tokens$ > ^vision_encoder.register_tokens$
                ^vision_model.encoder.layer > ^vision_encoder.blocks
                ^text_model.final_layer_norm > ^text_encoder.ln_final
                ^vision_model.layernorm > ^vision_encoder.norm
                ^text_model.embeddings > ^text_encoder
                """),
        RenameEntry(
            "tipsv2_dpt", ["tipsv2_dpt"],
            lines: """
                ^backbone.encoder.layer.*.attention.o_proj > ^vision_encoder.blocks.*.attn.proj
                ^backbone.encoder.layer.*.layer_scale1.lambda1$ > ^vision_encoder.blocks.*.ls1.gamma$
                ^backbone.encoder.layer.*.layer_scale2.lambda1$ > ^vision_encoder.blocks.*.ls2.gamma$
                ^backbone.encoder.layer.*.mlp.fc1 > ^vision_encoder.blocks.*.mlp.c_fc
                ^backbone.encoder.layer.*.mlp.fc2 > ^vision_encoder.blocks.*.mlp.c_proj
                ^neck.fusion_stage.layers.*.residual_layer1.convolution1 > ^segmentation_head.fusion_blocks.*.residual_unit.conv1
                ^neck.fusion_stage.layers.*.residual_layer1.convolution2 > ^segmentation_head.fusion_blocks.*.residual_unit.conv2
                ^neck.fusion_stage.layers.*.residual_layer2.convolution1 > ^segmentation_head.fusion_blocks.*.main_unit.conv1
                ^neck.fusion_stage.layers.*.residual_layer2.convolution2 > ^segmentation_head.fusion_blocks.*.main_unit.conv2
                ^neck.reassemble_stage.readout_projects.1.layers.0 > ^segmentation_head.reassemble.readout_projects.1
                ^neck.reassemble_stage.readout_projects.2.layers.0 > ^segmentation_head.reassemble.readout_projects.2
                ^neck.reassemble_stage.readout_projects.3.layers.0 > ^segmentation_head.reassemble.readout_projects.3
                ^neck.fusion_stage.layers.*.projection > ^segmentation_head.fusion_blocks.*.out_conv
                ^neck.reassemble_stage.layers.*.projection > ^segmentation_head.reassemble.out_projections.*
                ^neck.reassemble_stage.layers.*.resize > ^segmentation_head.reassemble.resize_layers.*
                ^neck.reassemble_stage.readout_projects.0.layers > ^segmentation_head.reassemble.readout_projects
                ^backbone.embeddings.patch_embeddings.projection > ^vision_encoder.patch_embed.proj
                ^backbone.embeddings.cls_token$ > ^vision_encoder.cls_token$
                ^backbone.embeddings.mask_token$ > ^vision_encoder.mask_token$
                ^backbone.embeddings.position_embeddings$ > ^vision_encoder.pos_embed$
                ^backbone.embeddings.register_tokens$ > ^vision_encoder.register_tokens$
                ^backbone.encoder.layer > ^vision_encoder.blocks
                ^backbone.layernorm > ^vision_encoder.norm
                ^decoder.head > ^segmentation_head.segmentation_head
                ^neck > ^segmentation_head
                ^decoder.project > ^segmentation_head.project
                """),
        RenameEntry(
            "Tipsv2TextModel", ["tipsv2_text_model"],
            lines: """
                ^encoder.layers.*.mlp.fc1 > ^transformer.resblocks.*.mlp.c_fc
                ^encoder.layers.*.mlp.fc2 > ^transformer.resblocks.*.mlp.c_proj
                ^encoder.layers.*.layer_norm1 > ^transformer.resblocks.*.ln_1
                ^encoder.layers.*.layer_norm2 > ^transformer.resblocks.*.ln_2
                ^encoder.layers.*.self_attn > ^transformer.resblocks.*.attn
                ^embeddings.token_embedding > ^token_embedding
                ^final_layer_norm > ^ln_final
                """),
        RenameEntry(
            "Tipsv2VisionModel", ["tipsv2_vision_model"],
            lines: """
                ^encoder.layer.*.attention.o_proj > ^blocks.*.attn.proj
                ^encoder.layer.*.layer_scale1.lambda1$ > ^blocks.*.ls1.gamma$
                ^encoder.layer.*.layer_scale2.lambda1$ > ^blocks.*.ls2.gamma$
                ^encoder.layer.*.mlp.fc1 > ^blocks.*.mlp.c_fc
                ^encoder.layer.*.mlp.fc2 > ^blocks.*.mlp.c_proj
                ^embeddings.patch_embeddings.projection > ^patch_embed.proj
                ^embeddings.cls_token$ > ^cls_token$
                ^embeddings.mask_token$ > ^mask_token$
                ^embeddings.position_embeddings$ > ^pos_embed$
                ^embeddings.register_tokens$ > ^register_tokens$
                ^encoder.layer > ^blocks
                ^layernorm > ^norm
                """),
        RenameEntry(
            "SwinBackbone", ["grounding_dino", "mm_grounding_dino", "mask2former", "maskformer", "oneformer"],
            lines: """
                model.swin.encoder > model.encoder
                model.swin.embeddings > model.embeddings
                encoder.swin.encoder > encoder.encoder
                encoder.swin.embeddings > encoder.embeddings
                """),
    ]
}

/// HunyuanVideo.
///
/// | repository | diffusers |
/// |---|---|
/// | `double_blocks.N.img_attn_qkv`, `txt_attn_qkv` | `transformer_blocks.N.attn.to_q`, `to_k`, `to_v`; `add_q_proj`, `add_k_proj`, `add_v_proj` |
/// | `….img_attn_proj`, `txt_attn_proj` | `….attn.to_out.0`, `attn.to_add_out` |
/// | `….img_mlp.fc1`, `img_mlp.fc2`, `img_mod.linear` | `….ff.net.0.proj`, `ff.net.2`, `norm1.linear`; of `txt` `ff_context`, `norm1_context` |
/// | `single_blocks.N.linear1`, `linear2`, `modulation.linear` | as FLUX.1's |
/// | `txt_in.individual_token_refiner.blocks.N.self_attn_qkv` | `context_embedder.token_refiner.refiner_blocks.N.attn.to_q`, `to_k`, `to_v` |
/// | `….self_attn_proj`, `mlp.fc1`, `mlp.fc2`, `adaLN_modulation.1` | `….attn.to_out.0`, `ff.net.0.proj`, `ff.net.2`, `norm_out.linear` |
/// | `txt_in.input_embedder`, `t_embedder.mlp.0`, `mlp.2`, `c_embedder.linear_1`, `linear_2` | `context_embedder.proj_in`, `time_text_embed.timestep_embedder.linear_1`, `linear_2`, `text_embedder.linear_1`, `linear_2` |
/// | `time_in.mlp.0`, `mlp.2`; `guidance_in`; `vector_in.in_layer`, `out_layer` | `time_text_embed.timestep_embedder.linear_1`, `linear_2`; `guidance_embedder`; `text_embedder` |
/// | `img_in.proj`, `final_layer.linear` | `x_embedder.proj`, `proj_out` |
/// | `final_layer.adaLN_modulation.1` | `norm_out.linear`, its halves the other way round |
///
/// diffusers' `_convert_hunyuan_video_lora_to_diffusers` lets the halves of lora_A change places too, which pairs the columns of lora_B with
/// other rows, and cuts lora_A of the refiner's q, k and v in three; here lora_B alone is cut.
///
/// Source: `convert_hunyuan_video_transformer_to_diffusers` in src/diffusers/loaders/single_file_utils.py;
/// `_convert_hunyuan_video_lora_to_diffusers` in loaders/lora_conversion_utils.py.
extension LayerTable {
    static let hunyuanVideo: LayerTable = {
        var double: [Layer] = []
        for (stream, suffix, projections, output) in fluxStreams {
            double += [
                .fused("\(stream)_attn_qkv", projections.map { ("attn.\($0)", 1) }), .one("\(stream)_attn_proj", "attn.\(output)", of: 1),
                .one("\(stream)_mlp.fc1", "ff\(suffix).net.0.proj", 4, of: 1), .one("\(stream)_mlp.fc2", "ff\(suffix).net.2", of: 4),
                .one("\(stream)_mod.linear", "norm1\(suffix).linear", 6, of: 1),
            ]
        }
        let single: [Layer] = [
            .fused("linear1", [("attn.to_q", 1), ("attn.to_k", 1), ("attn.to_v", 1), ("proj_mlp", 4)]), .one("linear2", "proj_out", of: 5),
            .one("modulation.linear", "norm.linear", 3, of: 1),
        ]
        let refiner: [Layer] = [
            .fused("self_attn_qkv", [("attn.to_q", 1), ("attn.to_k", 1), ("attn.to_v", 1)]), .one("self_attn_proj", "attn.to_out.0", of: 1),
            .one("mlp.fc1", "ff.net.0.proj", 4, of: 1), .one("mlp.fc2", "ff.net.2", of: 4), .one("adaLN_modulation.1", "norm_out.linear", 2, of: 1),
        ]
        var others: [Layer] = [
            .one("img_in.proj", "x_embedder.proj"), .one("final_layer.linear", "proj_out"), .one("txt_in.input_embedder", "context_embedder.proj_in"),
            .swapped("final_layer.adaLN_modulation.1", "norm_out.linear"),
        ]
        for (own, first, second, other) in [
            ("txt_in.t_embedder", "mlp.0", "mlp.2", "context_embedder.time_text_embed.timestep_embedder"),
            ("txt_in.c_embedder", "linear_1", "linear_2", "context_embedder.time_text_embed.text_embedder"),
            ("time_in", "mlp.0", "mlp.2", "time_text_embed.timestep_embedder"),
            ("guidance_in", "mlp.0", "mlp.2", "time_text_embed.guidance_embedder"),
            ("vector_in", "in_layer", "out_layer", "time_text_embed.text_embedder"),
        ] {
            others += [.one("\(own).\(first)", "\(other).linear_1"), .one("\(own).\(second)", "\(other).linear_2")]
        }
        return LayerTable(
            "HunyuanVideo", "HunyuanVideoTransformer3DModel", relatives: ["HunyuanVideoFramepackTransformer3DModel"],
            architectures: ["hunyuan-video", "framepack"],
            blocks: [
                Block("double_blocks.", "transformer_blocks.", double), Block("single_blocks.", "single_transformer_blocks.", single),
                Block("txt_in.individual_token_refiner.blocks.", "context_embedder.token_refiner.refiner_blocks.", refiner),
            ], others: others)
    }()
}

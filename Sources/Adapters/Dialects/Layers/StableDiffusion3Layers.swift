/// Stable Diffusion 3.
///
/// | repository | diffusers |
/// |---|---|
/// | `joint_blocks.N.x_block.attn.qkv`, `context_block.attn.qkv` | `transformer_blocks.N.attn.to_q`, `to_k`, `to_v`; `add_q_proj`, `add_k_proj`, `add_v_proj` |
/// | `….x_block.attn.proj`, `context_block.attn.proj` | `….attn.to_out.0`, `attn.to_add_out` |
/// | `….x_block.attn2.qkv`, `attn2.proj` | `….attn2.to_q`, `to_k`, `to_v`, `attn2.to_out.0` |
/// | `….x_block.mlp.fc1`, `mlp.fc2`, `adaLN_modulation.1` | `….ff.net.0.proj`, `ff.net.2`, `norm1.linear`; of `context_block` `ff_context`, `norm1_context` |
/// | `x_embedder.proj`, `final_layer.linear` | `pos_embed.proj`, `proj_out` |
/// | `t_embedder.mlp.0`, `mlp.2`; `y_embedder` | `time_text_embed.timestep_embedder.linear_1`, `linear_2`; `text_embedder` |
/// | `final_layer.adaLN_modulation.1` | `norm_out.linear`, its halves the other way round |
///
/// The last block's context has shift and scale alone, 2h rows of `context_block.adaLN_modulation.1` and not 6h, and these change places too.
///
/// Source: `convert_sd3_transformer_checkpoint_to_diffusers` in src/diffusers/loaders/single_file_utils.py; `mmdit_to_diffusers` in
/// comfy/utils.py of ComfyUI; `LoRANetwork` in networks/lora_sd3.py of sd-scripts for the names that it trains.
extension LayerTable {
    static let stableDiffusion3: LayerTable = {
        var joint: [Layer] = [
            .fused("x_block.attn2.qkv", [("attn2.to_q", 1), ("attn2.to_k", 1), ("attn2.to_v", 1)]),
            .one("x_block.attn2.proj", "attn2.to_out.0", of: 1), .one("x_block.adaLN_modulation.1", "norm1.linear", 6, of: 1),
            // With two attentions.
            .one("x_block.adaLN_modulation.1", "norm1.linear", 9, of: 1),
            .one("context_block.adaLN_modulation.1", "norm1_context.linear", 6, of: 1),
            .swapped("context_block.adaLN_modulation.1", "norm1_context.linear"),
        ]
        for (stream, suffix, projections, output) in fluxStreams {
            let front = stream == "img" ? "x_block" : "context_block"
            joint += [
                .fused("\(front).attn.qkv", projections.map { ("attn.\($0)", 1) }), .one("\(front).attn.proj", "attn.\(output)", of: 1),
                .one("\(front).mlp.fc1", "ff\(suffix).net.0.proj", 4, of: 1), .one("\(front).mlp.fc2", "ff\(suffix).net.2", of: 4),
            ]
        }
        var others: [Layer] = [
            .one("x_embedder.proj", "pos_embed.proj"), .one("context_embedder", "context_embedder"), .one("final_layer.linear", "proj_out"),
            .swapped("final_layer.adaLN_modulation.1", "norm_out.linear"),
        ]
        for (own, other) in [("t_embedder", "timestep_embedder"), ("y_embedder", "text_embedder")] {
            others += [.one("\(own).mlp.0", "time_text_embed.\(other).linear_1"), .one("\(own).mlp.2", "time_text_embed.\(other).linear_2")]
        }
        return LayerTable(
            "Stable Diffusion 3", "SD3Transformer2DModel", relatives: ["SD3ControlNetModel"], architectures: ["stable-diffusion-3"],
            blocks: [Block("joint_blocks.", "transformer_blocks.", joint)], others: others)
    }()
}

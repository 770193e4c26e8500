/// FLUX.1.
///
/// | repository | diffusers |
/// |---|---|
/// | `double_blocks.N.img_attn.qkv`, `txt_attn.qkv` | `transformer_blocks.N.attn.to_q`, `to_k`, `to_v`; `add_q_proj`, `add_k_proj`, `add_v_proj` |
/// | `….img_attn.proj`, `txt_attn.proj` | `….attn.to_out.0`, `attn.to_add_out` |
/// | `….img_mlp.0`, `img_mlp.2`, `img_mod.lin` | `….ff.net.0.proj`, `ff.net.2`, `norm1.linear`; of `txt` `ff_context`, `norm1_context` |
/// | `single_blocks.N.linear1` | `single_transformer_blocks.N.attn.to_q`, `to_k`, `to_v` with h rows each, `proj_mlp` with 4h |
/// | `….linear2`, `modulation.lin` | `….proj_out`, `norm.linear` |
/// | `….img_attn.norm.query_norm.scale`, `key_norm.scale`; of `txt`; `single_blocks.N.norm.…` | `….attn.norm_q.weight`, `norm_k.weight`; `norm_added_q`, `norm_added_k`; as the first |
/// | `img_in`, `txt_in`, `final_layer.linear` | `x_embedder`, `context_embedder`, `proj_out` |
/// | `time_in`, `vector_in`, `guidance_in`, each with `in_layer`, `out_layer` | `time_text_embed.timestep_embedder`, `text_embedder`, `guidance_embedder`, each with `linear_1`, `linear_2` |
/// | `final_layer.adaLN_modulation.1` | `norm_out.linear`, its halves the other way round |
/// | Chroma's `distilled_guidance_layer.layers.N.in_layer`, `out_layer`; `in_proj`, `out_proj` | `….linear_1`, `linear_2`; the same |
///
/// Chroma has FLUX.1's blocks without their modulations, which its guidance layer makes.
///
/// Source: `convert_flux_transformer_checkpoint_to_diffusers`, `convert_chroma_transformer_checkpoint_to_diffusers` in src/diffusers/loaders/single_file_utils.py;
/// `_convert_kohya_flux_lora_to_diffusers`, `_convert_bfl_flux_control_lora_to_diffusers` in loaders/lora_conversion_utils.py;
/// `flux_to_diffusers` in comfy/utils.py of ComfyUI.
extension LayerTable {
    static let flux: LayerTable = {
        var double: [Layer] = []
        for (stream, suffix, projections, output) in fluxStreams {
            double += [
                .fused("\(stream)_attn.qkv", projections.map { ("attn.\($0)", 1) }), .one("\(stream)_attn.proj", "attn.\(output)", of: 1),
                .one("\(stream)_mlp.0", "ff\(suffix).net.0.proj", 4, of: 1), .one("\(stream)_mlp.2", "ff\(suffix).net.2", of: 4),
                .one("\(stream)_mod.lin", "norm1\(suffix).linear", 6, of: 1),
            ] + norms("\(stream)_attn.norm", stream == "img" ? "" : "added_")
        }
        let single: [Layer] = [
            .fused("linear1", [("attn.to_q", 1), ("attn.to_k", 1), ("attn.to_v", 1), ("proj_mlp", 4)]), .one("linear2", "proj_out", of: 5),
            .one("modulation.lin", "norm.linear", 3, of: 1),
        ] + norms("norm", "")
        var others: [Layer] = [
            .one("img_in", "x_embedder"), .one("txt_in", "context_embedder"), .one("final_layer.linear", "proj_out"),
            .swapped("final_layer.adaLN_modulation.1", "norm_out.linear"),
        ]
        let guidance = "distilled_guidance_layer."
        others += ["in_proj", "out_proj"].map { .one(guidance + $0, guidance + $0) }
        for (own, other) in [("time_in", "timestep_embedder"), ("vector_in", "text_embedder"), ("guidance_in", "guidance_embedder")] {
            others += [
                .one("\(own).in_layer", "time_text_embed.\(other).linear_1"), .one("\(own).out_layer", "time_text_embed.\(other).linear_2"),
            ]
        }
        return LayerTable(
            "FLUX.1", "FluxTransformer2DModel",
            relatives: ["FluxControlNetModel", "ChromaTransformer2DModel", "BriaTransformer2DModel", "BriaFiboTransformer2DModel"],
            architectures: ["flux-1", "flux.1", "chroma"],
            blocks: [
                Block("double_blocks.", "transformer_blocks.", double), Block("single_blocks.", "single_transformer_blocks.", single),
                Block(guidance + "layers.", guidance + "layers.", [.one("in_layer", "linear_1"), .one("out_layer", "linear_2")]),
            ], others: others, counts: ["double_blocks.": 19, "single_blocks.": 38])
    }()

    /// The norms of an attention's queries and keys, whose weight the repository calls `scale`.
    private static func norms(_ own: String, _ added: String) -> [Layer] {
        [.one("\(own).query_norm", "attn.norm_\(added)q"), .one("\(own).key_norm", "attn.norm_\(added)k")]
    }

    /// The streams of a double block: in the repository, the end of diffusers' names, the projections, the output.
    static let fluxStreams = [
        ("img", "", ["to_q", "to_k", "to_v"], "to_out.0"), ("txt", "_context", ["add_q_proj", "add_k_proj", "add_v_proj"], "to_add_out"),
    ]
}

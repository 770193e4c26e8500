/// FLUX.2.
///
/// | repository | diffusers |
/// |---|---|
/// | `double_blocks.N.img_attn.qkv`, `.proj`; of `txt_attn` | as FLUX.1's |
/// | `….img_mlp.0`, `img_mlp.2`; of `txt_mlp` | `….ff.linear_in`, `ff.linear_out`; of `ff_context` |
/// | `single_blocks.N.linear1`, `linear2` | `single_transformer_blocks.N.attn.to_qkv_mlp_proj`, `attn.to_out`, both whole |
/// | `double_stream_modulation_img.lin`, `…_txt.lin`, `single_stream_modulation.lin` | the same with `linear` |
/// | `img_in`, `txt_in`, `final_layer.linear` | `x_embedder`, `context_embedder`, `proj_out` |
/// | `time_in`, `guidance_in`, each with `in_layer`, `out_layer` | `time_guidance_embed.timestep_embedder`, `guidance_embedder`, each with `linear_1`, `linear_2` |
/// | `final_layer.adaLN_modulation.1` | `norm_out.linear`, its halves the other way round |
///
/// The feed-forward is gated and three times as wide as the model, so that its first layer has 6h rows and `linear1` 9h. diffusers'
/// `_convert_non_diffusers_flux2_lora_to_diffusers` leaves the halves of the last as they are, and the model that they are loaded into has them
/// changed.
///
/// Source: `convert_flux2_transformer_checkpoint_to_diffusers` in src/diffusers/loaders/single_file_utils.py;
/// `_convert_non_diffusers_flux2_lora_to_diffusers`, `_convert_kohya_flux2_lora_to_diffusers` in loaders/lora_conversion_utils.py.
extension LayerTable {
    static let flux2: LayerTable = {
        var (double, others): ([Layer], [Layer]) = ([], [])
        for (stream, suffix, projections, output) in fluxStreams {
            double += [
                .fused("\(stream)_attn.qkv", projections.map { ("attn.\($0)", 1) }), .one("\(stream)_attn.proj", "attn.\(output)", of: 1),
                .one("\(stream)_mlp.0", "ff\(suffix).linear_in", 6, of: 1), .one("\(stream)_mlp.2", "ff\(suffix).linear_out", of: 3),
            ]
            others.append(.one("double_stream_modulation_\(stream).lin", "double_stream_modulation_\(stream).linear", 6, of: 1))
        }
        let single: [Layer] = [.one("linear1", "attn.to_qkv_mlp_proj", 9, of: 1), .one("linear2", "attn.to_out", of: 4)]
        others += [
            .one("img_in", "x_embedder"), .one("txt_in", "context_embedder"), .one("final_layer.linear", "proj_out"),
            .one("single_stream_modulation.lin", "single_stream_modulation.linear", 3, of: 1),
            .swapped("final_layer.adaLN_modulation.1", "norm_out.linear"),
        ]
        for (own, other) in [("time_in", "timestep_embedder"), ("guidance_in", "guidance_embedder")] {
            others += [
                .one("\(own).in_layer", "time_guidance_embed.\(other).linear_1"), .one("\(own).out_layer", "time_guidance_embed.\(other).linear_2"),
            ]
        }
        return LayerTable(
            "FLUX.2", "Flux2Transformer2DModel", architectures: ["flux-2", "flux.2"],
            blocks: [
                Block("double_blocks.", "transformer_blocks.", double), Block("single_blocks.", "single_transformer_blocks.", single),
            ], others: others)
    }()
}

/// Lumina Image 2.0.
///
/// | repository | diffusers |
/// |---|---|
/// | `layers.N.attention.qkv` | `layers.N.attn.to_q` with 3 of 5 parts of the rows, `to_k`, `to_v` with one each |
/// | `….attention.out` | `….attn.to_out.0` |
/// | `….feed_forward.w1`, `w2`, `w3`, `adaLN_modulation.1` | `….feed_forward.linear_1`, `linear_2`, `linear_3`, `norm1.linear` |
/// | the same below `noise_refiner.N`, `context_refiner.N` (without the last) | the same |
/// | `cap_embedder.1`, `t_embedder.mlp.0`, `mlp.2` | `time_caption_embed.caption_embedder.1`, `timestep_embedder.linear_1`, `linear_2` |
/// | `x_embedder`, `final_layer.adaLN_modulation.1`, `final_layer.linear` | `x_embedder`, `norm_out.linear_1`, `norm_out.linear_2` |
///
/// The model has 24 heads and 8 for keys and values, so that its 3840 rows of q, k and v are 2304, 768 and 768.
///
/// Source: `convert_lumina2_to_diffusers` in src/diffusers/loaders/single_file_utils.py;
/// `_convert_non_diffusers_lumina2_lora_to_diffusers` in loaders/lora_conversion_utils.py.
extension LayerTable {
    static let lumina2: LayerTable = {
        let layers: [Layer] = [
            .fused("attention.qkv", [("attn.to_q", 3), ("attn.to_k", 1), ("attn.to_v", 1)], of: 3),
            .one("attention.out", "attn.to_out.0", of: 1), .one("adaLN_modulation.1", "norm1.linear"),
            .one("feed_forward.w1", "feed_forward.linear_1"), .one("feed_forward.w2", "feed_forward.linear_2"),
            .one("feed_forward.w3", "feed_forward.linear_3"),
        ]
        let others: [Layer] = [
            .one("cap_embedder.1", "time_caption_embed.caption_embedder.1"),
            .one("t_embedder.mlp.0", "time_caption_embed.timestep_embedder.linear_1"),
            .one("t_embedder.mlp.2", "time_caption_embed.timestep_embedder.linear_2"), .one("x_embedder", "x_embedder"),
            .one("final_layer.adaLN_modulation.1", "norm_out.linear_1"), .one("final_layer.linear", "norm_out.linear_2"),
        ]
        return LayerTable(
            "Lumina 2", "Lumina2Transformer2DModel", architectures: ["lumina-2"],
            blocks: ["layers.", "noise_refiner.", "context_refiner."].map { Block($0, $0, layers) }, others: others, widths: [2304])
    }()
}

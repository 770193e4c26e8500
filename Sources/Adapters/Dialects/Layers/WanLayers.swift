/// Wan.
///
/// | repository | diffusers |
/// |---|---|
/// | `blocks.N.self_attn.q`, `k`, `v`, `o`; of `cross_attn` | `blocks.N.attn1.to_q`, `to_k`, `to_v`, `to_out.0`; of `attn2` |
/// | `….cross_attn.k_img`, `v_img`; `ffn.0`, `ffn.2` | `….attn2.add_k_proj`, `add_v_proj`; `ffn.net.0.proj`, `ffn.net.2` |
/// | `….norm3`, `norm_q`, `norm_k`, `norm_k_img` | `….norm2`, `norm_q`, `norm_k`, `norm_added_k` |
/// | VACE's `vace_blocks.N`, and `before_proj`, `after_proj` there | `vace_blocks.N`, `proj_in`, `proj_out` |
/// | `text_embedding.0`, `.2`; `time_embedding`; `time_projection.1` | `condition_embedder.text_embedder.linear_1`, `linear_2`; `time_embedder`; `time_proj` |
/// | `img_emb.proj.0`, `.1`, `.3`, `.4` | `condition_embedder.image_embedder.norm1`, `ff.net.0.proj`, `ff.net.2`, `norm2` |
/// | `patch_embedding`, `head.head` | `patch_embedding`, `proj_out` |
/// | the parameters `blocks.N.modulation`, `head.modulation` | `blocks.N.scale_shift_table`, `scale_shift_table` |
///
/// Source: `convert_wan_transformer_to_diffusers` in src/diffusers/loaders/single_file_utils.py;
/// `_convert_non_diffusers_wan_lora_to_diffusers`, `_convert_musubi_wan_lora_to_diffusers` in loaders/lora_conversion_utils.py.
extension LayerTable {
    static let wan: LayerTable = {
        var layers: [Layer] = [.one("ffn.0", "ffn.net.0.proj"), .one("ffn.2", "ffn.net.2"), .one("norm3", "norm2"), .one("modulation", "scale_shift_table")]
        for (own, other) in [("self_attn", "attn1"), ("cross_attn", "attn2")] {
            for (name, to) in [("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"), ("norm_q", "norm_q"), ("norm_k", "norm_k")] {
                layers.append(.one("\(own).\(name)", "\(other).\(to)"))
            }
        }
        for (name, to) in [("k_img", "add_k_proj"), ("v_img", "add_v_proj"), ("norm_k_img", "norm_added_k")] {
            layers.append(.one("cross_attn.\(name)", "attn2.\(to)"))
        }
        let front = "condition_embedder."
        let others: [Layer] = [
            .one("patch_embedding", "patch_embedding"), .one("head.head", "proj_out"), .one("head.modulation", "scale_shift_table"),
            .one("time_projection.1", "\(front)time_proj"),
            .one("text_embedding.0", "\(front)text_embedder.linear_1"), .one("text_embedding.2", "\(front)text_embedder.linear_2"),
            .one("time_embedding.0", "\(front)time_embedder.linear_1"), .one("time_embedding.2", "\(front)time_embedder.linear_2"),
            .one("img_emb.proj.0", "\(front)image_embedder.norm1"), .one("img_emb.proj.4", "\(front)image_embedder.norm2"),
            .one("img_emb.proj.1", "\(front)image_embedder.ff.net.0.proj"), .one("img_emb.proj.3", "\(front)image_embedder.ff.net.2"),
        ]
        return LayerTable(
            "Wan", "WanTransformer3DModel",
            relatives: [
                "WanVACETransformer3DModel", "WanAnimateTransformer3DModel", "WanAnimate2Transformer3DModel", "SkyReelsV2Transformer3DModel",
                "ChronoEditTransformer3DModel", "AnyFlowTransformer3DModel", "AnyFlowFARTransformer3DModel",
            ], architectures: ["wan2"],
            blocks: [
                Block("blocks.", "blocks.", layers),
                Block("vace_blocks.", "vace_blocks.", layers + [.one("before_proj", "proj_in"), .one("after_proj", "proj_out")]),
            ], others: others)
    }()
}

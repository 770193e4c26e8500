/// Z-Image.
///
/// | repository | diffusers |
/// |---|---|
/// | `layers.N.attention.qkv` | `layers.N.attention.to_q`, `to_k`, `to_v` |
/// | `….attention.out` | `….attention.to_out.0` |
/// | the same below `noise_refiner.N`, `context_refiner.N` | the same |
/// | `x_embedder`, `final_layer.linear`, `final_layer.adaLN_modulation.1` | `all_x_embedder.2-1`, `all_final_layer.2-1.linear`, `all_final_layer.2-1.adaLN_modulation.1` |
///
/// All other layers have the same names in both. diffusers' `_convert_non_diffusers_z_image_lora_to_diffusers` leaves `attention.qkv` as it is,
/// for which its model has no layer; the model's own converter says which they are.
///
/// Source: `convert_z_image_transformer_checkpoint_to_diffusers` in src/diffusers/loaders/single_file_utils.py; `z_image_to_diffusers` in
/// comfy/utils.py of ComfyUI.
extension LayerTable {
    static let zImage: LayerTable = {
        let same = ["feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "adaLN_modulation.0"]
        let layers: [Layer] = [
            .fused("attention.qkv", [("attention.to_q", 1), ("attention.to_k", 1), ("attention.to_v", 1)]),
            .one("attention.out", "attention.to_out.0", of: 1),
        ] + same.map { .one($0, $0) }
        let others: [Layer] = [
            .one("x_embedder", "all_x_embedder.2-1"), .one("final_layer.linear", "all_final_layer.2-1.linear"),
            .one("final_layer.adaLN_modulation.1", "all_final_layer.2-1.adaLN_modulation.1"),
        ] + ["t_embedder.mlp.0", "t_embedder.mlp.2", "cap_embedder.1"].map { .one($0, $0) }
        return LayerTable(
            "Z-Image", "ZImageTransformer2DModel", relatives: ["ZImageControlNetModel"], architectures: ["z-image"],
            blocks: ["layers.", "noise_refiner.", "context_refiner."].map { Block($0, $0, layers) }, others: others, widths: [3840])
    }()
}

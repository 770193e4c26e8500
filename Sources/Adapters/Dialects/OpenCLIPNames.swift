/// OpenCLIP's text encoder, as the files of Stable Diffusion 2 and XL hold it, under the names of transformers' CLIP.
///
/// | OpenCLIP | transformers |
/// |---|---|
/// | `transformer.resblocks.N` | `text_model.encoder.layers.N` |
/// | `ln_1`, `ln_2`, `mlp.c_fc`, `mlp.c_proj`, `attn.out_proj` | `layer_norm1`, `layer_norm2`, `mlp.fc1`, `mlp.fc2`, `self_attn.out_proj` |
/// | the thirds of `attn.in_proj_weight`, `attn.in_proj_bias` | `self_attn.q_proj`, `k_proj`, `v_proj` |
/// | `token_embedding`, `ln_final` | `text_model.embeddings.token_embedding`, `text_model.final_layer_norm` |
///
/// The thirds have no module of their own; here they are called `attn.q_proj` and so on, which ``FusedRows`` finds again.
///
/// Source: `convert_sdxl_text_encoder_2_checkpoint` in library/sdxl_model_util.py, `convert_ldm_clip_checkpoint_v2` in
/// library/model_util.py of sd-scripts.
enum OpenCLIPNames {
    private static let front = "transformer.resblocks."
    private static let inBlock = [
        ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
        ("attn.out_proj", "self_attn.out_proj"), ("attn.q_proj", "self_attn.q_proj"), ("attn.k_proj", "self_attn.k_proj"),
        ("attn.v_proj", "self_attn.v_proj"),
    ]
    private static let fused = "attn.in_proj_weight"
    private static let thirds = ["attn.q_proj", "attn.k_proj", "attn.v_proj"]

    /// What transformers calls a module below the encoder's front; none where it is no module of such an encoder.
    static func aliases(of path: String) -> [String] {
        switch path {
        case "token_embedding": return ["text_model.embeddings.token_embedding"]
        case "ln_final": return ["text_model.final_layer_norm"]
        default: break
        }
        guard path.hasPrefix(front) else { return [] }
        let rest = path.dropFirst(front.count)
        guard let dot = rest.firstIndex(of: "."), Int(rest[..<dot]) != nil,
            let inner = inBlock.first(where: { $0.0 == rest[rest.index(after: dot)...] })?.1
        else { return [] }
        return ["text_model.encoder.layers.\(rest[..<dot]).\(inner)"]
    }

    /// The modules that a stored tensor holds one below the other; none for any other tensor.
    static func thirds(of tensor: String) -> [String] {
        guard tensor.hasSuffix("." + fused), tensor.utf8Contains(front) else { return [] }
        let block = tensor.dropLast(fused.count)
        return thirds.map { block + $0 }
    }

    /// The stored tensor of which a module is a third; nil for any other.
    static func whole(of path: String) -> String? {
        guard path.utf8Contains(front), let third = thirds.first(where: { path.hasSuffix("." + $0) }) else { return nil }
        return path.dropLast(third.count) + fused
    }
}

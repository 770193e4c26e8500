/// The name of the bare model inside a model with a head (`base_model_prefix` of the modeling files).
///
/// A base saved from the bare model lacks it, an adapter trained on the bare model lacks it, and both occur with files
/// that have it: the hub's bloom and gpt2 lack `transformer.`, a sentence embedder's adapter lacks `bert.`.
enum BasePrefixes {
    /// Prefixes that are not the model type itself. `clip_vision_model` and its kin: PrefixChange entries of
    /// conversion_mapping.py (CLIPVisionModel, `clip_text_model`); version 5 holds the tower without, the files with
    /// it.
    private static let byModelType: [String: [String]] = [
        "gpt2": ["transformer"], "bloom": ["transformer"], "falcon": ["transformer"], "mpt": ["transformer"],
        "gptj": ["transformer"], "gpt_neo": ["transformer"], "codegen": ["transformer"], "dbrx": ["transformer"],
        "gpt_bigcode": ["transformer"], "openai_gpt": ["transformer"], "ctrl": ["transformer"],
        "imagegpt": ["transformer"], "decision_transformer": ["encoder"], "xlnet": ["transformer"],
        "mamba": ["backbone"], "mamba2": ["backbone"], "falcon_mamba": ["backbone"],
        "nemotron_h": ["backbone", "model"],
        "xlm_roberta": ["roberta"], "xlm_roberta_xl": ["roberta"], "camembert": ["roberta"],
        "roberta_prelayernorm": ["roberta_prelayernorm"], "data2vec_text": ["data2vec_text"],
        "deberta_v2": ["deberta"], "data2vec_vision": ["data2vec_vision"],
        "vit_mae": ["vit"], "vit_msn": ["vit"], "ijepa": ["ijepa"], "dinov2_with_registers": ["dinov2_with_registers"],
        "ast": ["audio_spectrogram_transformer"],
        "audio_spectrogram_transformer": ["audio_spectrogram_transformer"],
        "timm_wrapper": ["timm_model"], "dinov3_vit": ["model"], "dinov3_convnext": ["model"],
        "clip": towers, "siglip": towers, "siglip2": towers, "clipseg": towers + ["clip", "clip.vision_model", "clip.text_model"], "metaclip_2": towers, "xclip": towers,
        "altclip": towers, "chinese_clip": towers,
        "clip_vision_model": ["vision_model"], "siglip_vision_model": ["vision_model"],
        "siglip2_vision_model": ["vision_model"], "altclip_vision_model": ["vision_model"],
        "chinese_clip_vision_model": ["vision_model"], "clipseg_vision_model": ["vision_model"],
        "metaclip_2_vision_model": ["vision_model"], "xclip_vision_model": ["vision_model"],
        "mlcd": ["vision_model"], "mlcd_vision_model": ["vision_model"],
        "clip_text_model": ["text_model"], "siglip_text_model": ["text_model"], "siglip2_text_model": ["text_model"],
        "clipseg_text_model": ["text_model"], "metaclip_2_text_model": ["text_model"],
        "xclip_text_model": ["text_model"],
        "qwen3_omni_moe": ["thinker"], "qwen2_5_omni": ["thinker"],
    ]
    private static let towers = ["vision_model", "text_model"]

    /// The prefixes without those of the tower that a class is not: version 5 gives `CLIPVisionModel` and `CLIPTextModel` the same names,
    /// those of a tower alone, and PEFT's config has the class (`auto_mapping.base_model_class`).
    ///
    /// Source: `get_peft_model_state_dict` writes no class, `PeftModel.save_pretrained` in peft/peft_model.py does where there is no
    /// `task_type`.
    static func prefixes(_ prefixes: [String], trainedIn modelClass: String?) -> [String] {
        guard let modelClass else { return prefixes }
        let others = [("Vision", "text_model"), ("Text", "vision_model")].filter { word, _ in
            ["Model", "Transformer"].contains { modelClass.utf8Contains(word + $0) }
        }
        guard others.count == 1 else { return prefixes }
        return prefixes.filter { $0 != others[0].1 && !$0.hasSuffix("." + others[0].1) }
    }

    /// Prefixes that a class may have or leave out whatever its name: version 5 has no level for a tower of its own, and an
    /// omni model's `thinker` is a class with a head, alone and inside.
    static let optional: Set<String> = ["vision_model", "text_model", "thinker", "timm_model"]

    /// The prefix that every class with a head of this model type has in memory, although files often lack it: the table's, where
    /// that is one and no name of a tower.
    static func required(by modelTypes: [String]) -> String? {
        guard let type = modelTypes.first, let known = byModelType[type], known.count == 1,
            ["transformer", "backbone", "roberta", "deberta"].contains(known[0])
        else { return nil }
        return known[0]
    }

    /// Those of ``required(by:)`` that are of models which make text, and are adapted under their head.
    static let generators: Set<String> = ["transformer", "backbone"]

    /// The prefixes to try for these model types: the table's, else the commonest (`model`) and the type itself
    /// (`bert.`, `vit.`, `swin.`). Without any model type, every prefix of the table.
    static func prefixes(for modelTypes: [String]) -> [String] {
        var result: [String] = []
        func add(_ prefix: String) { if !result.contains(prefix) { result.append(prefix) } }
        guard let outer = modelTypes.first else {
            ["model", "transformer", "bert", "distilbert", "electra", "albert", "vit", "deit", "dinov2", "swin"]
                .forEach(add)
            byModelType.values.flatMap { $0 }.sorted().forEach(add)
            return result
        }
        if let known = byModelType[outer] {
            known.forEach(add)
        } else {
            add("model")
            add(outer)
        }
        return result
    }
}

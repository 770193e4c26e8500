public import ByteAccess

/// Parameters that a model reads from one and the same memory, so that files store them once.
struct TieRow: Sendable {
    /// Nil: every model type.
    let modelTypes: Set<String>?
    /// The module whose tensor files store by preference, then the modules that share it.
    let members: [String]
    /// How many members from the front are one module in the modeling file, whatever `tie_word_embeddings` says.
    let fixed: Int
    /// Whether the members are an embedding of the vocabulary and what is tied to it.
    let isVocabulary: Bool
    /// Whether a prefix may stand before all members.
    private(set) var isAnywhere = false

    init(_ modelTypes: Set<String>?, _ members: [String], fixed: Int = 1, isVocabulary: Bool = true) {
        self.modelTypes = modelTypes
        self.members = members
        self.fixed = fixed
        self.isVocabulary = isVocabulary
    }

    /// The row of the bare model: the members that are always one, without the prefix of a class with a head.
    var bare: TieRow? {
        guard fixed > 1, let prefix = members[0].dottedComponents.first, members[0].contains("."),
            members[..<fixed].allSatisfy({ $0.hasPrefix(prefix + ".") })
        else { return nil }
        let names = members[..<fixed].map { String($0.dropFirst(prefix.count + 1)) }
        return TieRow(modelTypes, names, fixed: fixed, isVocabulary: isVocabulary)
    }

    /// The row of a model that is a part of another.
    var anywhere: TieRow {
        var copy = self
        copy.isAnywhere = true
        return copy
    }

    /// Which member a module is, and all members beside it under their names there.
    func find(_ module: String) -> (position: Int, modules: [String])? {
        if let position = members.firstIndex(of: module) { return (position, members) }
        guard isAnywhere, let position = members.firstIndex(where: { module.hasSuffix("." + $0) }) else { return nil }
        let prefix = module.dropLast(members[position].utf8.count)
        return (position, members.map { prefix + $0 })
    }
}

/// Which names are absent because the model ties them (`_tied_weights_keys` of the modeling files).
public enum TiedWeights {
    private static let bart: Set<String> = [
        "bart", "mbart", "plbart", "m2m_100", "marian", "pegasus", "pegasus_x", "blenderbot", "blenderbot_small",
        "bigbird_pegasus", "nllb_moe", "mvp",
    ]
    static let t5: Set<String> = [
        "t5", "mt5", "umt5", "longt5", "switch_transformers", "pop2piano", "udop",
    ]
    /// Encoders whose bare model has the type's own name, and whose masked-language head is `cls.predictions`.
    private static let berts = [
        "bert", "ernie", "fnet", "layoutlm", "lxmert", "mobilebert", "mra", "nomic_bert", "nystromformer", "roc_bert", "roformer",
        "tapas", "visual_bert", "yoso",
    ]
    /// The same with the head `lm_head`.
    private static let robertas = [
        "roberta", "roberta_prelayernorm", "data2vec_text", "esm", "gte", "ibert", "longformer", "mpnet",
    ]
    private static let ofRoberta: Set<String> = ["xlm_roberta", "xlm_roberta_xl", "camembert", "jina_embeddings_v3", "xmod"]

    /// Modules that share their `weight`: every literal entry of `_tied_weights_keys` in transformers 5.24.
    static let weights: [TieRow] = [
        // llama family, gemma, cohere2, granite, smollm3, qwen; and the language model of Qwen2-VL files.
        TieRow(nil, ["model.embed_tokens", "lm_head"]),
        // Multimodal models: in memory, in LLaVA files, and the bare model.
        TieRow(nil, ["model.language_model.embed_tokens", "lm_head"]),
        TieRow(nil, ["language_model.model.embed_tokens", "language_model.lm_head"]),
        TieRow(nil, ["model.text_model.embed_tokens", "lm_head"]),
        // gpt2, mpt, gptj; bloom, falcon; mamba, mamba2, nemotron_h.
        TieRow(nil, ["transformer.wte", "lm_head"]),
        TieRow(nil, ["transformer.word_embeddings", "lm_head"]),
        TieRow(nil, ["backbone.embeddings", "lm_head"]),
        TieRow(["nemotron_h"], ["model.embeddings", "lm_head"]),
        TieRow(["gpt_neox"], ["gpt_neox.embed_in", "embed_out"]),
        TieRow(["gpt_neox_japanese"], ["gpt_neox_japanese.embed_in", "embed_out"]),
        TieRow(["openai_gpt"], ["transformer.tokens_embed", "lm_head"]),
        TieRow(["ctrl"], ["transformer.w", "lm_head"]),
        TieRow(["rwkv"], ["rwkv.embeddings", "head"]),
        TieRow(["xlm", "flaubert"], ["transformer.embeddings", "pred_layer.proj"]),
        TieRow(["biogpt"], ["biogpt.embed_tokens", "output_projection"]),
        TieRow(["blt"], ["lm_head", "model.local_encoder.embed_tokens"]),
        TieRow(["git"], ["git.embeddings.word_embeddings", "output"]),
        TieRow(["pix2struct_text_model"], ["embed_tokens", "lm_head"]),
        TieRow(["kosmos_2", "kosmos_2.5"], ["text_model.model.embed_tokens", "text_model.lm_head"]),
        TieRow(["kyutai_speech_to_text"], ["model.embed_tokens.embed_tokens", "lm_head"]),
        TieRow(["neomme"], ["model.embed_tokens.word_embeddings", "lm_head"]),
        TieRow(["neomme"], ["model.embed_tokens.embedding_projection", "unembedding_projection"], isVocabulary: false),
        TieRow(["csm"], ["depth_decoder.model.embed_tokens", "backbone_model.embed_tokens.embed_audio_tokens"]),
        TieRow(["emu3"], ["text_model.model.embed_tokens", "text_model.lm_head"]),
        TieRow(["trocr"], ["model.decoder.embed_tokens", "output_projection"]),
        TieRow(
            ["whisper", "canary", "cohere_asr", "moonshine", "moonshine_streaming"], ["model.decoder.embed_tokens", "proj_out"]),
        TieRow(
            bart, ["model.shared", "model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head"], fixed: 3),
        // The decoder of a pair alone.
        TieRow(
            bart.union(["opt", "diffusion_gemma", "seamless_m4t", "seamless_m4t_v2", "speech_to_text"]),
            ["model.decoder.embed_tokens", "lm_head"]),
        TieRow(["led"], ["led.shared", "led.encoder.embed_tokens", "led.decoder.embed_tokens", "lm_head"], fixed: 3),
        TieRow(t5, ["shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head"], fixed: 3),
        TieRow(["udop"], ["patch_embed.proj", "encoder.embed_patches.proj"], fixed: 2, isVocabulary: false),
        TieRow(
            ["udop"],
            [
                "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
                "encoder.relative_bias.biases.0.relative_attention_bias", "decoder.relative_bias.biases.0.relative_attention_bias",
            ], fixed: 3, isVocabulary: false),
        TieRow(["t5gemma"], ["model.decoder.embed_tokens", "lm_head.out_proj"]),
        TieRow(
            ["t5gemma2"], ["model.encoder.text_model.embed_tokens", "model.decoder.embed_tokens", "lm_head.out_proj"], fixed: 2),
        TieRow(
            ["seamless_m4t", "seamless_m4t_v2"],
            ["shared", "text_encoder.embed_tokens", "text_decoder.embed_tokens", "lm_head"], fixed: 3),
        TieRow(["seamless_m4t", "seamless_m4t_v2"], ["t2u_model.model.decoder.embed_tokens", "t2u_model.lm_head"]),
        TieRow(
            ["florence2"],
            [
                "model.language_model.shared", "model.language_model.encoder.embed_tokens",
                "model.language_model.decoder.embed_tokens", "lm_head",
            ], fixed: 3),
        TieRow(
            ["prophetnet"],
            [
                "prophetnet.word_embeddings", "prophetnet.encoder.word_embeddings", "prophetnet.decoder.word_embeddings", "lm_head",
            ], fixed: 3),
        TieRow(["fsmt"], ["model.decoder.embed_tokens", "model.encoder.embed_tokens", "model.decoder.output_projection"]),
        TieRow(["fsmt"], ["decoder.embed_tokens", "encoder.embed_tokens", "decoder.output_projection"]),
        TieRow(["speecht5"], ["speecht5.decoder.prenet.embed_tokens", "text_decoder_postnet.lm_head"]),
        TieRow(ofRoberta, ["roberta.embeddings.word_embeddings", "lm_head.decoder"]),
        TieRow(["bert_generation"], ["bert.embeddings.word_embeddings", "lm_head.decoder"]),
        TieRow(["xlnet"], ["transformer.word_embedding", "lm_loss"]),
        TieRow(["electra"], ["electra.embeddings.word_embeddings", "generator_lm_head"]),
        TieRow(["convbert"], ["convbert.embeddings.word_embeddings", "generator_lm_head"]),
        TieRow(["funnel"], ["funnel.embeddings.word_embeddings", "lm_head"]),
        TieRow(["modernbert", "modernbert_decoder"], ["model.embeddings.tok_embeddings", "decoder"]),
        TieRow(["modernvbert"], ["model.text_model.embeddings.tok_embeddings", "lm_head"]),
        TieRow(["ultrabert"], ["model.embed_tokens", "head.decoder"]),
        TieRow(["ultrabert"], ["ultrabert.embed_tokens", "cls"]),
        TieRow(["ultravbert"], ["model.text_model.embed_tokens", "head.decoder"]),
        TieRow(["blip", "blip_text_model"], ["text_decoder.bert.embeddings.word_embeddings", "text_decoder.cls.predictions.decoder"]),
        TieRow(["big_bird", "megatron_bert", "blip_text_model"], ["bert.embeddings.word_embeddings", "cls.predictions.decoder"]),
        TieRow(["deberta", "deberta_v2"], ["deberta.embeddings.word_embeddings", "cls.predictions.decoder"]),
        TieRow(["squeezebert"], ["transformer.embeddings.word_embeddings", "cls.predictions.decoder"]),
        TieRow(["distilbert"], ["distilbert.embeddings.word_embeddings", "vocab_projector"]),
        TieRow(["albert"], ["albert.embeddings.word_embeddings", "predictions.decoder"]),
        TieRow(["luke"], ["luke.entity_embeddings.entity_embeddings", "entity_predictions.decoder"]),
        TieRow(["bridgetower"], ["bridgetower.text_model.embeddings.word_embeddings", "mlm_score.decoder"]),
        TieRow(["vilt"], ["vilt.embeddings.text_embeddings.word_embeddings", "mlm_score.decoder"]),
        TieRow(["granite_speech5_ctc"], ["encoder.out", "ctc_head"], isVocabulary: false),
    ]
        // `BarkFineModel.__init__`: each head but the first embeddings' one.
        + (0..<7).map {
            TieRow(["bark"], ["fine_acoustics.input_embeds_layers.\($0 + 1)", "fine_acoustics.lm_heads.\($0)"], isVocabulary: false)
        }
        + detectorHeads
        + berts.map { TieRow([$0], ["\($0).embeddings.word_embeddings", "cls.predictions.decoder"]) }
        + robertas.map { TieRow([$0], ["\($0).embeddings.word_embeddings", "lm_head.decoder"]) }

    /// The heads of PP-DocLayoutV3's queries, which its decoder uses as well.
    private static let detectorHeads = [
        TieRow(["pp_doclayout_v3"], ["model.enc_score_head", "model.decoder.class_embed"], isVocabulary: false)
    ]
        + (0..<3).map {
            TieRow(
                ["pp_doclayout_v3"], ["model.enc_bbox_head.layers.\($0)", "model.decoder.bbox_embed.layers.\($0)"],
                isVocabulary: false)
        }

    /// Modules that share their `bias`; the head module itself holds the stored one.
    static let biases: [TieRow] = [
        TieRow(
            ofRoberta.union(robertas).union(["bert_generation"]).subtracting(["esm", "gte"]), ["lm_head", "lm_head.decoder"], fixed: 2),
        TieRow(
            Set(berts).union(["big_bird", "megatron_bert", "blip_text_model", "deberta", "deberta_v2", "squeezebert"])
                .subtracting(["lxmert"]), ["cls.predictions", "cls.predictions.decoder"], fixed: 2),
        TieRow(["blip"], ["text_decoder.cls.predictions", "text_decoder.cls.predictions.decoder"], fixed: 2),
        TieRow(["albert"], ["predictions", "predictions.decoder"], fixed: 2),
        TieRow(["luke"], ["lm_head.decoder", "lm_head"], fixed: 2),
        TieRow(["udop"], ["patch_embed.proj", "encoder.embed_patches.proj"], fixed: 2, isVocabulary: false),
        TieRow(["granite_speech5_ctc"], ["encoder.out", "ctc_head"], isVocabulary: false),
    ]
        + detectorHeads
        + ["mmm_text_head", "mim_head", "mlm_head", "mmm_image_head"].map { TieRow(["flava"], ["\($0).decoder", $0], fixed: 2) }

    /// The rows that hold for these model types.
    static func rows(for modelTypes: [String], bias: Bool) -> [TieRow] {
        (bias ? biases : weights).filter { $0.modelTypes.map { !$0.isDisjoint(with: modelTypes) } ?? true }
    }

    /// The rows of a base, those of its parts last: the model of a part may lie under any prefix (`decoder.` of an encoder and
    /// decoder pair, `language_model.` of BLIP-2).
    static func rows(for base: BaseDirectory, bias: Bool) -> [TieRow] {
        let parts = Array(base.allModelTypes.dropFirst())
        let own = rows(for: base.modelTypes, bias: bias)
        return own + own.compactMap(\.bare) + rows(for: parts, bias: bias).filter { $0.modelTypes != nil }.map(\.anywhere)
    }

    /// Last names of input embeddings and output heads, without those that other modules have as well.
    static let vocabularyNames = Set(
        weights.filter(\.isVocabulary).flatMap(\.members).compactMap { $0.dottedComponents.last.map { String($0) } }
    ).subtracting(["cls", "head", "out_proj", "output", "proj", "w"])

    /// Whether the config lets word embeddings be tied. An absent key counts as true, transformers' default: a file
    /// without the head could not have been saved otherwise.
    static func mayTieHead(_ base: BaseDirectory) -> Bool {
        let flags = [base.tieWordEmbeddings, base.textTieWordEmbeddings].compactMap { $0 }
        return flags.isEmpty || flags.contains(true)
    }

    /// Whether the class the base was saved from has a language-model head at all; unknown counts as yes.
    static func hasLanguageModelHead(_ base: BaseDirectory) -> Bool {
        let heads = [
            "LMHead", "ForCausalLM", "ForMaskedLM", "ForConditionalGeneration", "ForPreTraining", "MTModel", "DoubleHeads",
            "EncoderDecoderModel", "GenerationDecoder", "ForCausalImageModeling", "ToText", "ToSpeech", "SeamlessM4TModel",
            "SeamlessM4Tv2Model", "ForBlockDiffusion", "BlipForQuestionAnswering", "ForRegionToPhraseAlignment", "ForCTC",
        ]
        return base.architectures.isEmpty
            || base.architectures.contains { name in heads.contains { name.utf8Contains($0) } }
    }
}

extension TiedWeights {
    /// The name under which files store a parameter that has these names: the one that loaders tie the others to, else the
    /// first by the alphabet, as safetensors' writer has it.
    public static func storedName(among names: [ExactString]) -> ExactString {
        let sorted = names.sorted()
        for (suffix, rows) in [(".weight", weights), (".bias", biases)] {
            for row in rows {
                // A wrapper may stand before all of them.
                for name in sorted {
                    let text = name.text
                    guard let first = row.members.first, text == first + suffix || text.hasSuffix("." + first + suffix) else { continue }
                    let prefix = text.dropLast((first + suffix).utf8.count)
                    let partners = row.members.dropFirst().map { ExactString(prefix + $0 + suffix) }
                    if sorted.contains(where: partners.contains) { return name }
                }
            }
        }
        return sorted.first ?? names[0]
    }
}

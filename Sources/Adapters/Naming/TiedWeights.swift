public import ByteAccess

/// Parameters that a model reads from one and the same memory, so that files store them once.
struct TieRow: Sendable {
    /// Nil: every model type.
    let modelTypes: Set<String>?
    /// The module whose tensor files store by preference, then the modules that share it.
    let members: [String]
    /// How many members from the front are one module in the modeling file, whatever `tie_word_embeddings` says.
    let fixed: Int

    init(_ modelTypes: Set<String>?, _ members: [String], fixed: Int = 1) {
        self.modelTypes = modelTypes
        self.members = members
        self.fixed = fixed
    }
}

/// Which names are absent because the model ties them (`_tied_weights_keys` of the modeling files).
public enum TiedWeights {
    private static let bart: Set<String> = [
        "bart", "mbart", "plbart", "m2m_100", "marian", "pegasus", "pegasus_x", "blenderbot", "blenderbot_small", "led",
        "bigbird_pegasus", "nllb_moe", "mvp",
    ]
    static let t5: Set<String> = [
        "t5", "mt5", "umt5", "longt5", "switch_transformers", "pop2piano", "udop",
    ]

    /// Modules that share their `weight`.
    static let weights: [TieRow] = [
        // llama family, gemma, cohere2, granite, smollm3, qwen; and the language model of Qwen2-VL files.
        TieRow(nil, ["model.embed_tokens", "lm_head"]),
        // Multimodal models: in memory, in LLaVA files, and the bare model.
        TieRow(nil, ["model.language_model.embed_tokens", "lm_head"]),
        TieRow(nil, ["language_model.model.embed_tokens", "language_model.lm_head"]),
        // gpt2, mpt, gptj; bloom, falcon; mamba, mamba2, nemotron_h.
        TieRow(nil, ["transformer.wte", "lm_head"]),
        TieRow(nil, ["transformer.word_embeddings", "lm_head"]),
        TieRow(nil, ["backbone.embeddings", "lm_head"]),
        TieRow(["nemotron_h"], ["model.embeddings", "lm_head"]),
        TieRow(["gpt_neox"], ["gpt_neox.embed_in", "embed_out"]),
        TieRow(["whisper"], ["model.decoder.embed_tokens", "proj_out"]),
        TieRow(["opt"], ["model.decoder.embed_tokens", "lm_head"]),
        TieRow(
            bart, ["model.shared", "model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head"], fixed: 3),
        TieRow(t5, ["shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head"], fixed: 3),
        TieRow(
            ["roberta", "xlm_roberta", "xlm_roberta_xl", "camembert"],
            ["roberta.embeddings.word_embeddings", "lm_head.decoder"]),
        TieRow(["roberta_prelayernorm"], ["roberta_prelayernorm.embeddings.word_embeddings", "lm_head.decoder"]),
        TieRow(["data2vec_text"], ["data2vec_text.embeddings.word_embeddings", "lm_head.decoder"]),
        TieRow(["esm"], ["esm.embeddings.word_embeddings", "lm_head.decoder"]),
        TieRow(["mpnet"], ["mpnet.embeddings.word_embeddings", "lm_head.decoder"]),
        TieRow(["xlnet"], ["transformer.word_embedding", "lm_loss"]),
        TieRow(["electra"], ["electra.embeddings.word_embeddings", "generator_lm_head"]),
        TieRow(["modernbert"], ["model.embeddings.tok_embeddings", "decoder"]),
        TieRow(["blip", "blip_text_model"], ["text_decoder.bert.embeddings.word_embeddings", "text_decoder.cls.predictions.decoder"]),
        TieRow(["bert"], ["bert.embeddings.word_embeddings", "cls.predictions.decoder"]),
        TieRow(["deberta", "deberta_v2"], ["deberta.embeddings.word_embeddings", "cls.predictions.decoder"]),
        TieRow(["distilbert"], ["distilbert.embeddings.word_embeddings", "vocab_projector"]),
        TieRow(["albert"], ["albert.embeddings.word_embeddings", "predictions.decoder"]),
    ]

    /// Modules that share their `bias`; the head module itself holds the stored one.
    static let biases: [TieRow] = [
        TieRow(
            [
                "roberta", "xlm_roberta", "xlm_roberta_xl", "camembert", "roberta_prelayernorm", "data2vec_text",
                "mpnet",
            ],
            ["lm_head", "lm_head.decoder"], fixed: 2),
        TieRow(["bert", "deberta", "deberta_v2"], ["cls.predictions", "cls.predictions.decoder"], fixed: 2),
        TieRow(["albert"], ["predictions", "predictions.decoder"], fixed: 2),
    ]

    /// The rows that hold for these model types.
    static func rows(for modelTypes: [String], bias: Bool) -> [TieRow] {
        (bias ? biases : weights).filter { $0.modelTypes.map { !$0.isDisjoint(with: modelTypes) } ?? true }
    }

    /// Whether the config lets word embeddings be tied. An absent key counts as true, transformers' default: a file
    /// without the head could not have been saved otherwise.
    static func mayTieHead(_ base: BaseDirectory) -> Bool {
        let flags = [base.tieWordEmbeddings, base.textTieWordEmbeddings].compactMap { $0 }
        return flags.isEmpty || flags.contains(true)
    }

    /// Whether the class the base was saved from has a language-model head at all; unknown counts as yes.
    static func hasLanguageModelHead(_ base: BaseDirectory) -> Bool {
        let heads = [
            "LMHead", "ForCausalLM", "ForMaskedLM", "ForConditionalGeneration", "ForPreTraining", "MTModel",
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

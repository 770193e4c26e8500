extension GGUFArchitecture {
    /// What Gemma 4 has of each layer for each token, and around it.
    private static let layerInputs: Lines = [
        ("model.embed_tokens_per_layer", "per_layer_token_embd"), ("model.per_layer_model_projection", "per_layer_model_proj"),
        ("model.per_layer_projection_norm", "per_layer_proj_norm"),
    ]

    /// Gemma's newer models: norms without an offset, and the head is the embedding, always.
    static let gemmaFamily: [GGUFArchitecture] = [
        GGUFArchitecture(
            "gemma4", ["gemma4_text", "gemma4"],
            rules(
                attention, headNorms, feedForward, sandwichNorms,
                [
                    ("per_layer_input_gate", "inp_gate"), ("per_layer_projection", "proj"), ("post_per_layer_input_norm", "post_norm"),
                    ("router.proj", "ffn_gate_inp"), ("pre_feedforward_layernorm_2", "pre_ffw_norm_2"),
                    ("post_feedforward_layernorm_1", "post_ffw_norm_1"), ("post_feedforward_layernorm_2", "post_ffw_norm_2"),
                ], outside: tied + layerInputs,
                parameters: [
                    ("layer_scalar", "layer_output_scale.weight"), ("router.scale", "ffn_gate_inp.scale"), ("router.per_expert_scale", "ffn_down_exps.scale"),
                ]) + wholeExperts("experts"), tellsModelType: true),
        GGUFArchitecture(
            "gemma3n", ["gemma3n_text", "gemma3n"],
            rules(
                attention, headNorms, feedForward, sandwichNorms,
                [
                    ("per_layer_input_gate", "inp_gate"), ("per_layer_projection", "proj"), ("post_per_layer_input_norm", "post_norm"),
                    ("altup.correction_coefs", "altup_correct_coef"), ("altup.prediction_coefs", "altup_predict_coef"),
                    ("altup.modality_router", "altup_router"), ("altup.router_norm", "altup_router_norm"), ("laurel.linear_left", "laurel_l"),
                    ("laurel.linear_right", "laurel_r"), ("laurel.post_laurel_norm", "laurel_post_norm"),
                ], outside: tied + layerInputs.dropFirst(), parameters: [("altup.correct_output_scale", "altup_correct_scale.weight")])
                + [
                    Rule("model.embed_tokens_per_layer", "per_layer_token_embd", form: .lengthened),
                    Rule("model.altup_projections.{e}", "altup_proj"), Rule("model.altup_unembed_projections.{e}", "altup_unembd_proj"),
                ]),
        // The names of the file, whose class has no head.
        GGUFArchitecture(
            "gemma-embedding", [],
            rules(
                attention, headNorms, feedForward, sandwichNorms, outside: [("embed_tokens", "token_embd"), ("norm", "output_norm")],
                front: "layers.{n}."), normOffset: 1, bareClass: "Gemma3TextModel"),
    ]
}

extension GGUFArchitecture {
    /// Those whose queries and keys the converter reorders: `undo_permute` of `LlamaModel` in conversion/llama.py.
    static let rotaryFamily: [GGUFArchitecture] = [
        GGUFArchitecture("llama", ["llama", "mistral", "mixtral", "internlm3"], sparse, rowOrders: rotary),
        GGUFArchitecture("mistral3", ["ministral3"], sparse, rowOrders: rotary),
        GGUFArchitecture("granite", ["granite"], dense, rowOrders: rotary),
        GGUFArchitecture("smollm3", ["smollm3"], dense, rowOrders: rotary),
        GGUFArchitecture("minicpm", ["minicpm"], dense, rowOrders: rotary),
        GGUFArchitecture("xverse", ["xverse"], dense, rowOrders: rotary),
        GGUFArchitecture("deepseek", ["deepseek"], rules(attention, feedForward, preNorms, experts, sharedExperts), rowOrders: rotary),
        GGUFArchitecture("arcee", ["arcee"], dense, rowOrders: rotary),
        GGUFArchitecture(
            "olmo", ["olmo"],
            rules(attention, feedForward, outside: [("model.embed_tokens", "token_embd"), ("lm_head", "output")]),
            rowOrders: rotary),
    ]
}

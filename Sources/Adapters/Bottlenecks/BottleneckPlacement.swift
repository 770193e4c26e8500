import ByteAccess

/// Which linear layer's output a bottleneck adapter reads, and nothing else: between the two lies dropout at most.
///
/// | library, path of the adapter | layer | models |
/// |---|---|---|
/// | adapters, `P.adapters.<name>` | `P.dense` | BERT and kin: `attention.output`, `output` |
/// | | `P.SelfAttention.o`, `P.EncDecAttention.o`, `P.DenseReluDense.wo` | T5 |
/// | adapters, `Q.attention_adapters.adapters.<name>` | `Q.attention.out_lin` | DistilBERT |
/// | | `Q.attn.c_proj`, `Q.attn.out_proj` | GPT-2, GPT-J |
/// | | `Q.self_attn.o_proj`, `Q.self_attn.out_proj` | Llama, Mistral; BART, CLIP, Whisper |
/// | | `Q.attention.output.dense`, `Q.dense` | ViT, ALBERT |
/// | adapters, `Q.output_adapters.adapters.<name>` | `Q.dense` | ViT |
/// | | `Q.ffn.lin2`, `Q.ffn_output` | DistilBERT, ALBERT |
/// | | `Q.mlp.c_proj`, `Q.mlp.fc_out`, `Q.mlp.down_proj`, `Q.mlp.fc2`, `Q.fc2` | GPT-2, GPT-J, Llama, CLIP, BART |
/// | adapters, `Q.cross_attention_adapters.adapters.<name>` | `Q.encoder_attn.out_proj` | BART, Whisper |
/// | OpenDelta, `M.adapter` | `M` | all: `post_forward` gets what M gives |
///
/// BEiT's learnt scales (`lambda_1`) lie between the two; a layer with one is not folded into. OpenDelta's
/// `parallel_adapter` reads the input. Sources: adapters/models/*/modeling_*.py and mixin_*.py, adapters/methods/bottleneck.py
/// (`init_bottleneck`); opendelta/delta_models/adapter.py, parallel_adapter.py, `insert_module` in opendelta/basemodel.py.
enum BottleneckPlacement {
    /// The layers that the adapter may stand behind; the base has one of them.
    static func layers(of module: BottleneckModule) -> [ExactString] {
        var path = components(module)
        func below(_ leaves: [String]) -> [ExactString] { leaves.map { ExactString((path + [$0]).joined(separator: ".")) } }
        switch module.library {
        case .openDelta:
            guard path.count > 1, path.removeLast() == "adapter" else { return [] }
            return [ExactString(path.joined(separator: "."))]
        case .adapterHub:
            guard path.count > 2 else { return [] }
            path.removeLast(2)
            switch path[path.count - 1] {
            case "attention_adapters":
                path.removeLast()
                return below([
                    "attention.out_lin", "attn.c_proj", "attn.out_proj", "self_attn.o_proj", "self_attn.out_proj",
                    "attention.output.dense", "dense",
                ])
            case "output_adapters":
                path.removeLast()
                return below([
                    "dense", "ffn.lin2", "ffn_output", "mlp.c_proj", "mlp.fc_out", "mlp.down_proj", "mlp.fc2", "fc2",
                ])
            case "cross_attention_adapters":
                path.removeLast()
                return below(["encoder_attn.out_proj"])
            default: return below(["dense", "SelfAttention.o", "EncDecAttention.o", "DenseReluDense.wo"])
            }
        }
    }

    /// The block that may scale what a layer gives before the adapter reads it.
    static func block(of module: BottleneckModule) -> ExactString? {
        let path = components(module)
        guard path.count > 3, path[path.count - 3] == "attention_adapters" else { return nil }
        return ExactString(path.dropLast(3).joined(separator: "."))
    }

    private static func components(_ module: BottleneckModule) -> [String] {
        module.root.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).map { String(Substring($0)) }
    }
}

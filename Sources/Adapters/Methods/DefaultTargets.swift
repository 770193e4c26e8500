import ByteAccess

/// The modules that PEFT takes where a config has no `target_modules`: a list for the model's type, in each method's own table.
///
/// Source: `BaseTuner._prepare_adapter_config` in peft/tuners/tuners_utils.py and the `target_module_mapping` of each model class, tables in
/// peft/utils/constants.py, PEFT 0.21.2.
public struct DefaultTargets: Sendable {
    /// What `target_modules` then is: a list of names, or an expression.
    private var types: [String: JSONValue]
    /// What it is for a model of any other type; nil where PEFT raises.
    private var others: JSONValue?

    /// What PEFT puts in the place of `target_modules`; nil where it has nothing for the type and raises "Please specify `target_modules`".
    func targets(of modelType: String) -> JSONValue? { types[modelType] ?? others }

    /// The same table with other names for some types.
    private func with(_ changed: [String: [String]]) -> DefaultTargets {
        DefaultTargets(types: types.merging(changed.mapValues(DefaultTargets.list)) { $1 }, others: others)
    }

    private static func list(_ names: [String]) -> JSONValue { .array(names.map { .string($0) }) }

    /// Lines of types and their names, `~` before an expression.
    private static func parse(_ text: String) -> [String: JSONValue] {
        var types: [String: JSONValue] = [:]
        for line in text.split(separator: "\n") {
            let sides = line.split(separator: "=").map { $0.split(separator: " ").map(String.init) }
            guard sides.count == 2, let first = sides[1].first else { continue }
            let value: JSONValue = first.hasPrefix("~") ? .string(String(first.dropFirst())) : list(sides[1])
            for type in sides[0] { types[type] = value }
        }
        return types
    }

    /// The table of LoRA, and of all methods that copy it.
    static let lora = DefaultTargets(types: loraTypes)
    static let adamss = lora.with(["vit": ["query", "value"]])
    /// FourierFT and C3A.
    static let spectral = lora.with(["gpt2": ["mlp.c_proj"], "gpt_bigcode": ["mlp.c_proj"]])
    /// VeRA and SHiRA.
    static let vera = lora.with(["phi": ["q_proj", "v_proj"]])
    static let frod = vera.with(["vit": ["query", "value"]])
    static let pvera = vera.with(["dinov2": ["query", "value"]])
    static let adalora = DefaultTargets(types: adaloraTypes)
    static let vblora = DefaultTargets(types: vbloraTypes)
    static let waveft = DefaultTargets(types: spectral.types.filter { !["btlm", "rwkv", "rwkv7"].contains($0.key) })
    static let ia3 = DefaultTargets(types: ia3Types)
    static let beft = DefaultTargets(types: beftTypes)
    static let lnTuning = DefaultTargets(types: lnTuningTypes)
    /// `OSFModel._prepare_adapter_config` takes all linear layers of any other model.
    static let osf = DefaultTargets(types: osfTypes, others: .string("all-linear"))

    private static let loraTypes = parse(
        #"""
        t5 mt5 = q v
        bart opt gptj gpt_neo llama llama4 mistral mixtral stablelm gemma gemma2 gemma3_text qwen2 = q_proj v_proj
        qwen3 = q_proj v_proj
        gpt2 gpt_bigcode = c_attn
        bloom gpt_neox chatglm RefinedWebModel RefinedWeb falcon = query_key_value
        blip-2 = q v q_proj v_proj
        bert roberta xlm-roberta electra layoutlm = query value
        deberta-v2 = query_proj value_proj
        deberta = in_proj
        mpt = Wqkv
        btlm = c_proj c_attn
        codegen = qkv_proj
        phi = q_proj v_proj fc1 fc2
        gemma4 = ~.*language_model\..*\.(q_proj|v_proj)
        nemotron_h = q_proj k_proj v_proj o_proj
        rwkv = key value receptance output
        rwkv7 = r_proj k_proj v_proj o_proj key value
        """#)

    private static let adaloraTypes = parse(
        #"""
        t5 = q k v o wi wo
        mt5 = q k v o wi_0 wi_1 wo
        bart opt = q_proj k_proj v_proj out_proj fc1 fc2
        gpt2 gpt_bigcode = c_attn
        bloom gpt_neox = query_key_value
        gptj gpt_neo llama llama4 gemma gemma2 gemma3_text qwen2 qwen3 = q_proj v_proj
        bert = query value
        roberta = query key value dense
        deberta-v2 = query_proj key_proj value_proj dense
        deberta = in_proj
        gemma4 = ~.*language_model\..*\.(q_proj|v_proj)
        nemotron_h = q_proj k_proj v_proj o_proj
        """#)

    private static let vbloraTypes = parse(
        #"""
        t5 = q k v o wi wo
        mt5 = q k v o wi_0 wi_1 wo
        bart opt = q_proj k_proj v_proj out_proj fc1 fc2
        gpt2 gpt_bigcode = c_attn
        bloom gpt_neox = query_key_value
        gptj gpt_neo llama llama4 gemma gemma2 gemma3_text qwen2 qwen3 = q_proj v_proj
        bert roberta = query value
        deberta-v2 = query_proj key_proj value_proj dense
        deberta = in_proj
        gemma4 = ~.*language_model\..*\.(q_proj|v_proj)
        nemotron_h = q_proj k_proj v_proj o_proj
        """#)

    private static let ia3Types = parse(
        #"""
        t5 = k v wo
        mt5 = k v wi_1
        gpt2 gpt_bigcode = c_attn mlp.c_proj
        bloom = query_key_value mlp.dense_4h_to_h
        roberta bert = key value output.dense
        opt = q_proj k_proj fc2
        gptj = q_proj v_proj fc_out
        gpt_neox RefinedWebModel RefinedWeb falcon = query_key_value dense_4h_to_h
        gpt_neo = q_proj v_proj c_proj
        bart phi = q_proj v_proj fc2
        llama mistral = k_proj v_proj down_proj
        llama4 gemma gemma2 gemma3_text qwen2 qwen3 = q_proj v_proj down_proj
        mixtral = k_proj v_proj w2
        deberta-v2 = key_proj value_proj output.dense
        deberta = in_proj output.dense
        """#)

    private static let beftTypes = parse(
        #"""
        t5 mt5 = v
        roberta bert = value
        opt gptj gpt_neo bart llama llama4 mistral mixtral phi gemma gemma2 gemma3_text qwen2 qwen3 = v_proj
        deberta-v2 = value_proj
        """#)

    private static let lnTuningTypes = parse(
        #"""
        llama mistral gemma = input_layernorm post_attention_layernorm norm
        bloom falcon = input_layernorm post_attention_layernorm ln_f
        llava = multi_modal_projector input_layernorm post_attention_layernorm norm embed_tokens lm_head
        t5 mt5 = layer_norm final_layer_norm
        bart = self_attn_layer_norm encoder_attn_layer_norm final_layer_norm
        gpt2 = ln_1 ln_2 ln_f
        blip-2 = layernorm LayerNorm final_layer_norm self_attn_layer_norm
        gptj = ln_1 ln_f
        phi = input_layernorm final_layernorm
        gemma2 = input_layernorm post_attention_layernorm pre_feedforward_layernorm post_feedforward_layernorm norm
        gemma3_text = input_layernorm post_attention_layernorm pre_feedforward_layernorm post_feedforward_layernorm norm
        qwen2 qwen3 = post_attention_layernorm
        """#)

    private static let osfTypes = parse(
        #"""
        llama llama4 mistral mixtral gemma gemma2 = q_proj k_proj v_proj o_proj gate_proj down_proj up_proj
        gemma3_text qwen2 qwen3 phi = q_proj k_proj v_proj o_proj gate_proj down_proj up_proj
        gpt2 gpt_bigcode = c_attn c_proj
        bloom gpt_neox falcon = query_key_value dense_4h_to_h
        opt = q_proj k_proj v_proj out_proj fc1 fc2
        gptj = q_proj k_proj v_proj out_proj fc_in fc_out
        """#)
}

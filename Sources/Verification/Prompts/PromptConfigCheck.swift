import Adapters
import ByteAccess
import Checkpoints

/// Whether the config beside a stripped prompt says of it what its tensors are.
enum PromptConfigCheck {
    /// PEFT's config: the method, inference mode, and the numbers whose product is the prompt's shape.
    static func peft(
        _ config: AdapterConfig?, _ module: PromptModule, task: Int?, _ result: Checkpoint
    ) throws -> [EquivalenceReport.ConfigMismatch] {
        guard let config, let shape = result["prompt_embeddings"]?.shape, shape.count == 2 else { return [] }
        var mismatches: [EquivalenceReport.ConfigMismatch] = []
        func expect(_ key: ExactString, _ wanted: JSONValue) {
            if config.json[key] != wanted { mismatches.append(.init(path: [key], expected: wanted, found: config.json[key])) }
        }
        func expect(_ key: ExactString, _ wanted: Int) { expect(key, .number(JSONNumber(wanted))) }
        let saysMethod = module.config != nil || !module.isPEFT
        if saysMethod { expect("peft_type", .string((task == nil ? module.kind : .prompt).peftType)) }
        expect("inference_mode", true)
        guard module.kind.isKeyValue else {
            let submodules = max(1, config.json["num_transformer_submodules"]?.intValue ?? 1)
            expect("num_virtual_tokens", shape[0] / submodules)
            expect("token_dim", shape[1])
            return mismatches
        }
        expect("num_virtual_tokens", shape[0])
        guard let layers = config.json["num_layers"]?.intValue, layers > 0, shape[1] % 2 == 0, shape[1] / 2 % layers == 0 else {
            let width = config.json["token_dim"]?.intValue ?? 1
            expect("num_layers", shape[1] / 2 / max(1, width))
            return mismatches
        }
        expect("token_dim", shape[1] / 2 / layers)
        if let heads = config.json["num_attention_heads"]?.intValue, heads > 0, shape[1] / 2 / layers % heads == 0 {
            return mismatches
        }
        // Which divisor of the width it is, --num-heads and --base may have told.
        expect("num_attention_heads", module.config?.json["num_attention_heads"]?.intValue ?? 1)
        return mismatches
    }

    /// The source's config must no longer announce a reparametrization.
    static func source(_ config: AdapterConfig?) -> [EquivalenceReport.ConfigMismatch] {
        guard let config else { return [] }
        var mismatches: [EquivalenceReport.ConfigMismatch] = []
        for key: ExactString in ["prefix_projection", "reparameterize"] where config.json[key]?.boolValue == true {
            mismatches.append(.init(path: [key], expected: false, found: true))
        }
        if config.json["config"]?["flat"]?.boolValue == false {
            mismatches.append(.init(path: ["config", "flat"], expected: true, found: false))
        }
        return mismatches
    }
}

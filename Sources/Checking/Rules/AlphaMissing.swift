import Adapters
import ByteAccess

/// A LoRA config without lora_alpha.
struct AlphaMissing: CheckRule {
    let id = "alpha-missing"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "The config has no lora_alpha, or a module an alpha of 0, so the scale of the update is a guess."
    let protectsFrom = """
        PEFT silently takes its default of 8 (LoraConfig in peft/tuners/lora/config.py), whatever the adapter was trained \
        with; vLLM requires the key (PEFTHelper in vllm/lora/peft_helper.py). An alpha of 0 in a file of sd-scripts or LyCORIS is no \
        update for one loader and the rank for another.
        """
    let needs: [RuleNeed] = [.tensors, .config]
    let refusals: Set<String> = [
        "AlphaMissing", "AlphaValue",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let config = subject.config.config, config.peftType != nil, config["lora_alpha"] == nil,
            subject.factors.pairs.contains(where: { $0.stem == "lora" || $0.stem == "lora_embedding" }),
            subject.methodReads("lora_alpha"), !subject.typeIsContradicted
        else { return [] }
        return [
            finding(
                "the config has no lora_alpha, and the scale of the update depends on it", file: config.path,
                help: "add the lora_alpha of the training run to adapter_config.json")
        ]
    }
}

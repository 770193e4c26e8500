import ByteAccess
import Tensors

/// LoRA of AdapterHub's adapters library: `<module>.loras.<name>.lora_A` beside a config of `architecture` lora.
///
///     W' = W + (alpha / r)·lora_B·lora_A            lora_A (r, in), lora_B (out, r)
///
/// A fused attention layer (GPT-2's `c_attn`) has one LoRA for those of q, k and v that `attn_matrices` lists, as
/// loralib's ``MergedLinear``. Gated ones (`use_gating`), `composition_mode` scale (its (IA)³), DoRA and Vera have other
/// formulas and are refused. Source: `LoRA.com`, `LoRALinear`, `LoRAMergedLinear` in adapters/methods/lora.py.
struct AdapterHubLoRA: Dialect {
    let name = "adapterhub"
    let stacksFactors = true

    func recognises(_ file: DialectFile) -> Bool {
        !file.tensors.isEmpty && file.tensors.allSatisfy { AdapterHubLoRA.parts($0.name) != nil }
    }

    /// Module, name of the adapter, and tensor.
    private static func parts(_ name: ExactString) -> (module: String, adapter: String, tensor: String)? {
        let parts = name.text.dottedComponents.map(String.init)
        guard let place = parts.lastIndex(of: "loras"), place > 0, place + 2 < parts.count else { return nil }
        return (
            parts[..<place].joined(separator: "."), parts[place + 1], parts[(place + 2)...].joined(separator: ".")
        )
    }

    func read(_ file: DialectFile, context: DialectContext) throws -> DialectReading {
        guard let config = try AdapterHubConfig.section(file.config) ?? file.config else {
            throw file.refusal(
                "has no adapter_config.json, and alpha and r stand there", nil, rule: "ConfigMissing",
                help: "save the adapter again with save_adapter")
        }
        for (key, plain) in [("use_gating", false), ("use_dora", false)] where try config.flag(ExactString(key)) != plain {
            throw file.refusal("its \(key) is on, and such a LoRA has no merged form here", nil, rule: "MethodUnsupported")
        }
        let mode = config["composition_mode"]?.stringValue ?? "add"
        guard mode == "add", config["vera_d"] == nil, config["vera_b"] == nil else {
            throw file.refusal(
                "its composition_mode is \(mode.printable), or it is Vera, and neither is LoRA", nil, rule: "MethodUnsupported")
        }
        guard let alpha = try config.number("alpha") else {
            throw file.refusal("has no alpha, and the scale of the update depends on it", nil, rule: "AlphaMissing")
        }
        let matrices = try config.strings("attn_matrices")
        let enabled = ["q", "k", "v"].map(matrices.contains)
        let names = Set(file.tensors.compactMap { AdapterHubLoRA.parts($0.name)?.adapter })
        guard names.count == 1, let name = names.first else {
            throw file.refusal(
                "holds \(names.count) adapters: \(names.sorted().map(\.printable).joined(separator: ", "))", nil,
                rule: "SeveralAdapters", help: "save one of them alone")
        }
        guard let pairs = MergedLinear.pairs(in: file.tensors, a: ".loras.\(name).lora_A", b: ".loras.\(name).lora_B") else {
            throw file.refusal("a lora_A has no lora_B that fits", nil, rule: "MissingPair")
        }
        var reading = DialectReading()
        let rank = try config.count("r")
        for pair in pairs {
            let stored = pair.b.shape[1]
            guard rank == nil || rank == stored else {
                throw file.refusal(
                    "has rank \(stored), and the config says \(rank ?? 0): the scale would be wrong", pair.b.name,
                    rule: "RankMismatch")
            }
            reading.modules.append(
                try MergedLinear.module(pair, enabled: enabled, component: nil, file) { ModuleScale(rank: $0, alpha: alpha) })
        }
        return reading
    }
}

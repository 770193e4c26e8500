import ByteAccess
import Tensors

/// LoRA of AdapterHub's adapters library: `<module>.loras.<name>.lora_A` beside a config of `architecture` lora.
///
///     W' = W + (alpha / r)·lora_B·lora_A            lora_A (r, in), lora_B (out, r)
///
/// A fused attention layer (GPT-2's `c_attn`) has one LoRA for those of q, k and v that `attn_matrices` lists, as
/// loralib's ``MergedLinear``. Gated ones (`use_gating`), `composition_mode` scale (its (IA)³), DoRA and Vera have other
/// formulas and are refused. What a version of the library before 1.1.0 saved was trained with the scale 1, whatever alpha its
/// config has.
///
/// Source: `LoRA.com`, `LoRALinear`, `LoRAMergedLinear` in adapters/methods/lora.py; `_fix_backward_compat` in adapters/loading.py,
/// which sets alpha to r there (adapter-hub/adapters, pull request 770).
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
        let isFaulty = try hasFaultyScale(file)
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
        if isFaulty, rank.map({ Double($0) }) != alpha {
            reading.warnings.append(
                "alpha / r is taken as 1: it was saved by a version of adapters before 1.1.0, which did not scale by it, as the library itself reads it")
        }
        for pair in pairs {
            let stored = pair.b.shape[1]
            guard rank == nil || rank == stored else {
                throw file.refusal(
                    "has rank \(stored), and the config says \(rank ?? 0): the scale would be wrong", pair.b.name,
                    rule: "RankMismatch")
            }
            reading.modules.append(
                try MergedLinear.module(
                    pair, enabled: enabled, component: nil, file, weight: context.weightShape(ExactString(pair.module))
                ) { ModuleScale(rank: $0, alpha: isFaulty ? Double($0) : alpha) })
        }
        return reading
    }

    /// Whether the config's `version` is one of adapters before 1.1.0. Versions without that word in front are of its predecessor,
    /// adapter-transformers, and scaled rightly.
    private func hasFaultyScale(_ file: DialectFile) throws -> Bool {
        let prefix = "adapters."
        guard let version = file.config?["version"]?.stringValue, version.hasPrefix(prefix) else { return false }
        // Numbers, then what PEP 440 puts behind them: `1.1.0.dev0` and `1.1.0rc1` come before 1.1.0.
        let text = version.dropFirst(prefix.count)
        var numbers: [Int] = []
        var rest = text[...]
        while let end = rest.firstIndex(where: { !("0"..."9").contains($0) }) ?? (rest.isEmpty ? nil : rest.endIndex),
            let number = Int(rest[..<end])
        {
            numbers.append(number)
            rest = rest[end...]
            guard rest.first == ".", rest.dropFirst().first.map({ ("0"..."9").contains($0) }) == true else { break }
            rest = rest.dropFirst()
        }
        guard !numbers.isEmpty else {
            throw file.refusal(
                "its version is \(version.printable), and from 1.1.0 on alpha means something else than before", nil, rule: "AlphaMissing",
                help: "correct version in adapter_config.json")
        }
        while numbers.last == 0 { numbers.removeLast() }
        if numbers == [1, 1] { return ["dev", "a", "b", "rc"].contains { rest.drop { $0 == "." || $0 == "-" || $0 == "_" }.hasPrefix($0) } }
        return numbers.lexicographicallyPrecedes([1, 1])
    }
}

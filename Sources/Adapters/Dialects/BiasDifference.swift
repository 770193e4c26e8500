import ByteAccess
import Tensors

/// A difference of the bias beside low-rank factors of the weight: `diff_b` beside `lora_down` and `lora_up`, as extraction scripts write it (the
/// distilled Wan models of lightx2v, CausVid, AccVideo).
///
///     W' = W + (alpha / r)·B·A,   bias' = bias + diff_b
///
/// No scale is on it. Where the factors' scale is 1, PEFT's `lora_B.bias` is the same and is what diffusers makes of it; else it is a module of its own.
///
/// Source: `_convert_non_diffusers_wan_lora_to_diffusers` in src/diffusers/loaders/lora_conversion_utils.py of diffusers, which folds alpha into
/// the factors first; `load_lora` in comfy/lora.py of ComfyUI.
extension LycorisModule {
    /// `diff_b`, taken out of a module's tensors where they hold more than a difference.
    static func separateBias(_ tensors: inout [String: TensorInfo]) -> TensorInfo? {
        let alone: Set<String> = ["diff", "diff_b", "w_norm", "b_norm", "alpha"]
        guard tensors.keys.contains(where: { !alone.contains($0) }) else { return nil }
        return tensors.removeValue(forKey: "diff_b")
    }
}

extension DialectReading {
    /// Adds a difference of the bias to the module that was read last.
    mutating func addBias(_ info: TensorInfo?) {
        guard let info, let last = modules.indices.last else { return }
        let hasBias = modules[last].tensors.contains { $0.component == "lora_B" && $0.leaf == "bias" }
        if modules[last].form.name == DialectForm.lora.name, modules[last].scale?.value == 1, !hasBias {
            modules[last].add("lora_B", "bias", TensorView(info))
            return
        }
        var module = modules[last]
        (module.form, module.tensors, module.scale) = (DialectForm(name: "difference", method: FullDifference()), [], nil)
        module.add("diff_b", "", TensorView(info))
        modules.append(module)
    }
}

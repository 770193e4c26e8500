public import ByteAccess

/// PEFT's names for the tensors of a raw training state: wrappers, doubled and foreign prefixes and adapter names taken
/// off, the prefix that PEFT looks for put in front.
///
/// | found | becomes |
/// |---|---|
/// | `model.base_model.model.X`, `base_model.model.base_model.model.X` | `base_model.model.X` |
/// | `module.X`, `_orig_mod.X`, `…._fsdp_wrapped_module.…`, `…._checkpoint_wrapped_module.…` | without the wrapper |
/// | `X.lora_A.default.weight`, `X.lora_A.default.default.weight` | `X.lora_A.weight` |
/// | `X.modules_to_save.default.weight` | `X.weight` |
/// | `X.original_module.weight` | nothing: a copy of the base's own parameter |
/// | `optimizer.X`, `lr_scheduler.X` and the like | nothing: the state of a trainer |
///
/// Source: `_remove_adapter_name_from_state_dict_key` in peft/tuners/tuners_utils.py, `set_peft_model_state_dict` in
/// peft/utils/save_and_load.py.
public enum KeyRepair {
    private static let wrappers: Set<String> = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]

    /// What trainers keep beside the adapter in one state, by the first word of its names.
    private static let trainerStates: Set<String> = [
        "optimizer", "optimizers", "optimizer_state", "optimizer_states", "lr_scheduler", "lr_schedulers", "scheduler", "grad_scaler", "rng_state",
        "random_states",
    ]

    /// Whether a tensor is the state of a trainer, and no part of the adapter beside it.
    static func isTrainerState(_ key: AdapterKey) -> Bool {
        guard !key.hadPrefix, key.component == nil, !key.isPrompt, let first = key.stored.text.dottedComponents.first else { return false }
        return trainerStates.contains(String(first))
    }

    /// The name under which PEFT loads a tensor; nil where it has no part in an adapter.
    public static func name(of key: AdapterKey) -> ExactString? {
        if key.isPrompt { return key.stored }
        if key.component == "original_module" { return nil }
        var parts = key.stored.text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
            .map { String(Substring($0)) }
        parts.removeAll { wrappers.contains($0) }
        while parts.count > 1, parts[0] == "module" { parts.removeFirst() }
        let pairs = parts.indices.dropLast().filter { parts[$0] == "base_model" && parts[$0 + 1] == "model" }
        var isCommon = false
        if let last = pairs.last, last + 2 < parts.count {
            parts.removeFirst(last + 2)
        } else if let front = parts.lastIndex(of: "base_model"), front + 1 < parts.count {
            // A tensor of the whole adapter: `base_model.vera_A`, with a trainer's word before it or without.
            isCommon = true
            parts.removeFirst(front + 1)
        }
        if let component = key.component, let index = parts.lastIndex(of: component) {
            parts = Array(parts[...index]) + (key.leaf.isEmpty ? [] : key.leaf.split(separator: ".").map(String.init))
        } else if let saved = parts.lastIndex(of: "modules_to_save"), saved + 1 < parts.count {
            parts.removeSubrange(saved..<(saved + (saved + 2 < parts.count ? 2 : 1)))
        }
        return ExactString((isCommon ? "base_model." : "base_model.model.") + parts.joined(separator: "."))
    }
}

public import ByteAccess
public import Checkpoints

extension PromptSource {
    /// A tensor of a module that was trained whole beside the prompt, such as the head of a classifier.
    public struct SavedModule: Sendable {
        /// The tensor that was saved.
        public let tensor: StoredTensor
        /// PEFT's name on disk: `base_model.classifier.weight`.
        public let name: ExactString
        /// The module's own name, as `modules_to_save` has it: `classifier`.
        public let module: String
    }

    /// What PEFT keeps in the adapter's file beside the prompt, and asks for when it loads it.
    ///
    /// | source | key | on disk |
    /// |---|---|---|
    /// | training state | `<path>.modules_to_save.<adapter>.weight` | `<path>.weight` |
    /// | saved adapter | `<path>.weight`, `<path>` ending in a name of `modules_to_save` | the same |
    ///
    /// `<path>.original_module.weight` is the base's own and no part of the adapter. Source: `ModulesToSaveWrapper` in
    /// peft/utils/other.py; `set_peft_model_state_dict` in peft/utils/save_and_load.py, which fails where one is missing.
    ///
    /// - Throws: `.malformed` where `modules_to_save` is no list of names.
    public func savedModules() throws -> [SavedModule] {
        guard let prompt = modules.first, prompt.isPEFT else { return [] }
        let adapter = prompt.root.dottedComponents.last.map { String($0) }
        let names = try prompt.config?.strings("modules_to_save") ?? []
        return others.compactMap { tensor in
            let parts = PromptTensor(tensor).parts
            if let start = parts.lastIndex(of: "modules_to_save") {
                let isOwn = prompt.root.isEmpty || start + 1 < parts.count && parts[start + 1] == adapter
                guard isOwn, start > 0, start + 2 < parts.count else { return nil }
                let path = parts[..<start] + parts[(start + 2)...]
                return SavedModule(tensor: tensor, name: ExactString(path.joined(separator: ".")), module: parts[start - 1])
            }
            guard prompt.root.isEmpty else { return nil }
            let path = parts.dropLast()
            guard let name = names.first(where: { PromptSource.holds(Array(path), $0) }) else { return nil }
            return SavedModule(tensor: tensor, name: ExactString(parts.joined(separator: ".")), module: name)
        }
    }

    /// Whether a module is the named one or lies in it.
    private static func holds(_ path: [String], _ name: String) -> Bool {
        let wanted = name.dottedComponents.map { String($0) }
        guard !wanted.isEmpty, wanted.count <= path.count else { return false }
        return (0...(path.count - wanted.count)).contains { Array(path[$0..<($0 + wanted.count)]) == wanted }
    }
}

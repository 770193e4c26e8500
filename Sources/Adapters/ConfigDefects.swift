public import ByteAccess

/// A key of `adapter_config.json` with a value that PEFT cannot load, or that the method does not have.
public struct ConfigDefect: Sendable, Hashable {
    /// The key.
    public let key: ExactString
    /// What is wrong with it, in words.
    public let reason: String
    /// Whether the method reads the key: what else is said of the adapter may follow from it.
    public let isOfMethod: Bool
}

extension AdapterMethod {
    /// The keys of a config whose values are of another kind than the method's config class has them, a `task_type` that is none, a
    /// `bias` that no method takes, and values at which PEFT raises; in file order, behind what a prompt's config lacks.
    ///
    /// Source: the field annotations in peft/tuners, `PeftConfigMixin.__post_init__` in peft/config.py, `TaskType` in peft/utils/peft_types.py.
    public func configDefects(of config: AdapterConfig) -> [ConfigDefect] {
        let loading = LoadingValues(method: self, config: config)
        let prompt = loading.promptDefects.map { ConfigDefect(key: $0.key, reason: $0.reason, isOfMethod: false) }
        return prompt + config.json.members.compactMap { member in
            let key = member.key.text
            if case .null = member.value {
                return loading.defect(of: key, member.value).map { ConfigDefect(key: member.key, reason: $0, isOfMethod: true) }
            }
            let kinds = configKeys.contains(key) ? ConfigKind.kinds(of: key) : configKeys.isEmpty ? ConfigKind.unmerged[key] : ConfigKind.common[key]
            // What takes modules out, or in, decides which tensors are expected.
            let isOfMethod = configKeys.contains(key) || key.hasSuffix("_modules") || key == "modules_to_save" || key.hasPrefix("layers_")
            func defect(_ reason: String) -> ConfigDefect { ConfigDefect(key: member.key, reason: reason, isOfMethod: isOfMethod) }
            if let wanted = ConfigKind.misfit(member.value, kinds) { return defect("\"\(key.printable)\" must be \(wanted)") }
            if let reason = loading.defect(of: key, member.value) { return defect(reason) }
            if key == "task_type", let type = member.value.stringValue, !TaskTypes.known.contains(type) {
                let nearest = Spelling.nearest(to: type, among: TaskTypes.known).map { ", the nearest is \($0)" } ?? ""
                return defect("task_type is \"\(type.printable)\", for which PEFT raises \"Invalid task type\"\(nearest)")
            }
            if key == "bias", configKeys.contains(key) {
                do { _ = try SavedParameters.storesBiases(config) } catch let error as PeftfileError { return defect(error.message) } catch {}
            }
            return nil
        }
    }
}

/// The values of `task_type`.
private enum TaskTypes {
    static let known = ["CAUSAL_LM", "FEATURE_EXTRACTION", "QUESTION_ANS", "SEQ_2_SEQ_LM", "SEQ_CLS", "TOKEN_CLS"]
}

import Adapters
import ByteAccess
import Checkpoints

/// Another base than the config names.
struct BaseMismatch: CheckRule {
    let id = "base-mismatch"
    let family = RuleFamily.base
    let severity = Severity.warning
    let summary = "The config names another base than the one given, or a class of another model."
    let protectsFrom = """
        An adapter on a base of the same shapes that it was not trained on: everything loads, and the answers are worse than \
        without it (a QLoRA adapter on another quantisation, an instruct adapter on a base model: huggingface/peft issues 2184 and 2186).
        """
    let needs: [RuleNeed] = [.config, .base]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        if let family = family(of: subject) { return [family] }
        guard let config = subject.config.config, let named = config.baseModel, let base = subject.options.base,
            let own = base.config?["_name_or_path"]?.stringValue, !own.isEmpty, !named.isEmpty
        else { return [] }
        // A path of the training machine says nothing about what was there.
        guard !BaseName.isLocalPath(named), !BaseName.isLocalPath(own) else { return [] }
        let place = (try? FileSystem.resolved(base.path)) ?? base.path
        let isSame = BaseName.last(named) == BaseName.last(own)
            || place.split(separator: "/").contains { part in
                let directory = part.lowercased()
                return directory == BaseName.last(named) || directory.hasSuffix("--" + BaseName.last(named))
            }
        guard !isSame else { return [] }
        return [
            finding(
                "base_model_name_or_path is \"\(named.printable)\", and the base calls itself \"\(own.printable)\"",
                file: config.path, help: "give the base that it was trained on, or correct base_model_name_or_path")
        ]
    }

    /// The class that the adapter was trained in is of another model: PEFT writes its module for models without a task
    /// (`auto_mapping`, `transformers.models.gemma2.modeling_gemma2`), which is named as the config's `model_type` but for what
    /// tells a part of the model (`clip_vision_model`, `gemma3_text`).
    private func family(of subject: CheckSubject) -> Finding? {
        guard let config = subject.config.config, let mapping = config["auto_mapping"],
            let parts = mapping["parent_library"]?.stringValue?.split(separator: ".").map(String.init), parts.count > 3,
            parts[0] == "transformers", parts[1] == "models", parts[2] != "deprecated", parts[2] != "auto",
            let base = subject.options.base?.config
        else { return nil }
        let types = BaseMismatch.modelTypes(base)
        func bare(_ name: String) -> String { name.filter { $0 != "_" && $0 != "-" } }
        guard let own = types.first, !types.contains(where: { type in
            bare(type) == bare(parts[2]) || String(type.map { $0 == "-" ? "_" : $0 }).hasPrefix(parts[2] + "_")
        }) else { return nil }
        return finding(
            "the adapter was trained in \(mapping["base_model_class"]?.stringValue?.printable ?? "a class") of \(parts[2].printable), and the base is "
                + "of model_type \(own.printable)", file: config.path, help: "give the base that it was trained on")
    }

    /// The model type of a config and those of its parts.
    private static func modelTypes(_ config: JSONObject) -> [String] {
        (config["model_type"]?.stringValue.map { [$0] } ?? []) + config.members.compactMap(\.value.objectValue).flatMap(modelTypes)
    }
}

/// The names of base models.
enum BaseName {
    /// The last component in lower case: `llama-2-7b` of `meta-llama/Llama-2-7b`.
    static func last(_ name: String) -> String { name.split(separator: "/").last.map { $0.lowercased() } ?? "" }

    /// Whether the name is a place on the training machine and no Hub id.
    static func isLocalPath(_ name: String) -> Bool {
        name.hasPrefix("/") || name.hasPrefix(".") || name.hasPrefix("~") || name.contains("\\")
            || name.dropFirst().hasPrefix(":") || name.split(separator: "/").count > 2
    }
}

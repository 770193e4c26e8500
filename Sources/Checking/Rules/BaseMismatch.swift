import Adapters
import ByteAccess
import Checkpoints

/// Another base than the config names.
struct BaseMismatch: CheckRule {
    let id = "base-mismatch"
    let family = RuleFamily.base
    let severity = Severity.warning
    let summary = "The config names another base than the one given."
    let protectsFrom = """
        An adapter on a base of the same shapes that it was not trained on: everything loads, and the answers are worse than \
        without it (a QLoRA adapter on another quantisation, an instruct adapter on a base model: huggingface/peft issues 2184 and 2186).
        """
    let needs: [RuleNeed] = [.config, .base]

    func findings(in subject: CheckSubject) throws -> [Finding] {
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

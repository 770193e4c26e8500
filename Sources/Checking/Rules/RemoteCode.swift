import Adapters
import ByteAccess

/// Code in an adapter's repository.
struct RemoteCode: CheckRule {
    let id = "remote-code"
    let family = RuleFamily.security
    let severity = Severity.warning
    let summary = "The directory holds code, or the config names code to be loaded."
    let protectsFrom = """
        trust_remote_code=True runs the Python files of a repository that a config's auto_map names; an adapter needs none \
        (get_class_from_dynamic_module in transformers/dynamic_module_utils.py).
        """

    func findings(in subject: CheckSubject) throws -> [Finding] {
        var result: [Finding] = []
        // DeepSpeed's own script is among the leftovers of training.
        for entry in try subject.entries() where entry.kind != .directory && entry.fileName != "zero_to_fp32.py" {
            guard [".py", ".pyc", ".so", ".dylib", ".dll"].contains(where: entry.fileName.hasSuffix) else { continue }
            result.append(
                finding(
                    "is code, and an adapter needs none", file: entry.path,
                    help: "remove it before publishing: rm \(entry.path.shellQuoted)"))
        }
        if let config = subject.config.config {
            let parent = config["auto_mapping"]?.objectValue?["parent_library"]?.stringValue ?? ""
            if config["auto_map"] != nil || parent.hasPrefix("transformers_modules") {
                result.append(
                    finding(
                        "the config names code of a repository to be loaded", file: config.path,
                        help: "say in the model card that the base needs trust_remote_code"))
            }
        }
        return result
    }
}

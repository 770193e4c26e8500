import Adapters
import ByteAccess

/// A base that only the training machine has.
struct LocalBasePath: CheckRule {
    let id = "local-base-path"
    let family = RuleFamily.directory
    let severity = Severity.warning
    let summary = "base_model_name_or_path is a path on the machine that trained, which nobody else has."
    let protectsFrom = """
        Loaders that fetch the base by this name (AutoPeftModel.from_pretrained in peft/auto.py) fail, and a reader cannot tell \
        which base was meant. The path shows user and directory names of the training machine.
        """
    let needs: [RuleNeed] = [.config]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let config = subject.config.config, let name = config.baseModel, BaseName.isLocalPath(name) else { return [] }
        return [
            finding(
                "base_model_name_or_path is \"\(name.printable)\", a path of the training machine", file: config.path,
                help: "write the base's Hub id there")
        ]
    }
}

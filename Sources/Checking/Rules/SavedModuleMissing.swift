import Adapters
import ByteAccess
import Checkpoints

/// Modules that were trained whole and whose values are lost.
struct SavedModuleMissing: CheckRule {
    let id = "saved-module-missing"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = """
        A module that modules_to_save names has no tensors: although the base has it (error), or it may exist nowhere \
        (warning).
        """
    let protectsFrom = """
        A head or an embedding that was trained and lost: a loader keeps the base's values, or PEFT 0.21 fails with a KeyError. \
        For classification PEFT writes both "classifier" and "score", of which a model has one; so one of the two is enough.
        """
    let needs: [RuleNeed] = [.tensors, .config]
    let refusals: Set<String> = ["SavedModuleMissing"]

    /// What PEFT adds by itself for tasks of classification (`PeftModelForSequenceClassification`).
    private static let automatic: Set<String> = ["classifier", "score"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let adapter = try? subject.adapter(), let config = adapter.config,
            config.peftType != nil, let names = try? config.strings("modules_to_save")
        else { return [] }
        let modules = adapter.keys.filter { $0.component == nil }.map(\.module.text)
        let lost = names.filter { name in !modules.contains { SavedModuleMissing.isPart($0, of: name) } }
        let isAutomatic = Set(names).isSuperset(of: SavedModuleMissing.automatic)
            && !SavedModuleMissing.automatic.isSubset(of: lost)
        return lost.compactMap { name in
            if let tensor = tensor(of: subject, in: name) {
                return finding(
                    "modules_to_save names \"\(name.printable)\", the base has \"\(tensor.text.printable)\", and no tensor is of such a module",
                    file: config.path, tensor: tensor,
                    help: "save the adapter again, or take \"\(name.printable)\" out of modules_to_save")
            }
            if isAutomatic, SavedModuleMissing.automatic.contains(name) { return nil }
            return finding(
                "modules_to_save names \"\(name.printable)\", and no tensor is of such a module", severity: .warning,
                file: config.path,
                help: "save the adapter again, or take \"\(name.printable)\" out of modules_to_save; with --base it is told whether the base has it")
        }
    }

    /// The first weight or bias of the base that lies in a module of this name.
    private func tensor(of subject: CheckSubject, in name: String) -> ExactString? {
        subject.options.base?.tensors.map(\.name).first { tensor in
            guard let leaf = [".weight", ".bias"].first(where: { tensor.text.hasSuffix($0) }) else { return false }
            return SavedModuleMissing.isPart(String(tensor.text.dropLast(leaf.count)), of: name)
        }
    }

    /// Whether a module is named, or lies in one that is: PEFT compares ends of paths.
    private static func isPart(_ module: String, of name: String) -> Bool {
        var path = module[...]
        while true {
            if path.hasSuffix(name) { return true }
            guard let dot = path.lastIndex(of: ".") else { return false }
            path = path[..<dot]
        }
    }
}

import Adapters
import ByteAccess
import Checkpoints

/// Target modules without tensors.
struct MissingModule: CheckRule {
    let id = "missing-module"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = """
        A module that target_modules names has no tensors: although the base has it (error), or it may exist nowhere \
        (warning).
        """
    let protectsFrom = """
        Tensors that were lost on the way: PEFT makes the module with an update of zero, warns of missing keys, and that part \
        of the training is gone. A misspelt target trained nothing.
        """
    let needs: [RuleNeed] = [.tensors, .config]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard !subject.typeIsContradicted, !subject.holdsNoAdapter, let adapter = try? subject.adapter(), let coverage = ConfigCoverage(of: adapter),
            let config = adapter.config,
            // Names of other forms are reported by the rules of the prefix.
            adapter.keys.contains(where: \.hadPrefix), (try? config.flag("ensure_weight_tying")) == false
        else { return [] }
        return holes(subject, coverage) + coverage.unmetTargets.map { target in
            if let module = module(of: subject, meeting: target) {
                let component = adapter.keys.lazy.compactMap(\.component).first ?? "lora_A"
                return finding(
                    "is missing, and so are all tensors of \"\(target.printable)\": target_modules names it and the base has it",
                    file: subject.weights.file, tensor: ExactString("base_model.model.\(module).\(component).weight"),
                    help: "save the adapter again, or take \"\(target.printable)\" out of target_modules; what is there: "
                        + "peftfile inspect --tensors \(subject.path.shellQuoted)")
            }
            return finding(
                "target_modules names \"\(target.printable)\", and no tensor is of such a module", severity: .warning,
                file: config.path,
                help: "correct target_modules; what is there: peftfile inspect --tensors \(subject.path.shellQuoted)")
        }
    }

    /// The first module of the base that the target means and that could have an update.
    private func module(of subject: CheckSubject, meeting target: String) -> String? {
        guard let base = subject.options.base else { return nil }
        for tensor in base.tensors where tensor.shape.count >= 2 && tensor.name.text.hasSuffix(".weight") {
            let module = String(tensor.name.text.dropLast(".weight".count))
            if ConfigCoverage.meets(module, target), !module.contains("experts") { return module }
        }
        return nil
    }

    /// Modules of single layers: the base has the module in more layers than the adapter, and target_modules means all.
    private func holes(_ subject: CheckSubject, _ coverage: ConfigCoverage) -> [Finding] {
        guard let binding = subject.binding.binding else { return [] }
        let known = Set(binding.targets.map(\.target.module.text))
        var missing: Set<String> = []
        for target in binding.targets where target.tensors.count == 1 {
            let (path, stored) = (target.target.module.text.split(separator: "."), target.tensors[0].text.split(separator: "."))
            guard let position = path.firstIndex(where: { Int($0) != nil }), let place = stored.firstIndex(of: path[position]),
                stored.count(where: { Int($0) != nil }) == 1
            else { continue }
            for layer in 0... {
                guard String(layer) != path[position] else { continue }
                var (other, name) = (path, stored)
                other[position] = "\(layer)"
                name[place] = "\(layer)"
                guard binding.base[ExactString(name.joined(separator: "."))] != nil else { break }
                let module = other.joined(separator: ".")
                if !known.contains(module), coverage.isNamed(module) == true { missing.insert(module) }
            }
        }
        guard let first = missing.sorted().first else { return [] }
        return [
            finding(
                "\(missing.count) modules that target_modules names and the base has are without tensors, the first is "
                    + "\"\(first.printable)\"", severity: .warning, file: subject.weights.file,
                help: "save the adapter again, or say layers_to_transform; what is there: peftfile inspect \(subject.path.shellQuoted)")
        ]
    }
}

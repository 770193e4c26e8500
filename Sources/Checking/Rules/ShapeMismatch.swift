import Adapters
import ByteAccess
import Tensors

/// Tensors that do not fit.
struct ShapeMismatch: CheckRule {
    let id = "shape-mismatch"
    let family = RuleFamily.base
    let severity = Severity.error
    let summary = """
        A tensor does not fit the base's module or the config, or is no matrix where one is needed. Without a base a factor that is shorter \
        than those of at least seven other layers is a warning.
        """
    let protectsFrom = """
        An adapter of another size of the same model. PEFT raises "size mismatch"; flat factors come from shards of FSDP or \
        ZeRO that were saved without gathering.
        """
    let needs: [RuleNeed] = [.tensors]
    let refusals: Set<String> = [
        "ShapeMismatch", "FactorShape", "ParameterShape", "SavedShape", "TokenIndexRange", "BlockSize", "ConfigMismatch", "ExpertShapes", "UnequalExperts", "GroupSize", "IndexRange", "ScalarShape", "GateLayout", "ProjectionSize", "VariantLayout", "ClusterMismatch",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let shapes = ((try? subject.adapter())?.formDefects()?.misshapen ?? []).map { entry in
            finding(
                "has shape \(entry.tensor.shape), and the config asks for \(entry.wanted)", file: subject.weights.file,
                tensor: entry.tensor.name,
                help: "copy the config that PEFT wrote with these tensors; all shapes: peftfile inspect --tensors \(subject.path.shellQuoted)")
        }
        let flat = shapes + subject.factors.pairs.compactMap { pair -> Finding? in
            guard case .flat(let info) = pair.defect else { return nil }
            return finding(
                "has shape \(info.shape), and a factor is a matrix", file: subject.weights.file, tensor: info.name,
                help: "gather the shards before saving (ZeRO-3, FSDP)")
        }
        if subject.options.base == nil { return flat + cut(subject) }
        guard let placement = subject.binding.placement else { return flat }
        let misfits = placement.misfits.map { entry in
            finding(
                entry.reason, file: subject.weights.file, tensor: entry.tensor,
                help: "give the base model that the adapter was trained on")
        }
        guard let first = placement.unchecked.first else { return flat + misfits }
        throw NotChecked(
            "what sizes the base asks of \(placement.unchecked.count) tensors is not known to this version, the first is "
                + "\"\(first.text.printable)\"", findings: flat + misfits)
    }

    /// Factors that were cut, as far as their like in other layers tells.
    private func cut(_ subject: CheckSubject) -> [Finding] {
        SiblingShapes(subject.factors.pairs).cut.map { entry in
            finding(
                "has shape \(entry.tensor.shape), and that of the same module in each of the \(entry.layers - 1) other layers is \(entry.usual) long there",
                severity: .warning, file: subject.weights.file, tensor: entry.tensor.name,
                help: "give the base model, which decides: peftfile check --base BASE \(subject.path.shellQuoted)")
        }
    }
}

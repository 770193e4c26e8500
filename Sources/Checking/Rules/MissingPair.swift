import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// Half of a pair.
struct MissingPair: CheckRule {
    let id = "missing-pair"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "A module has one factor and lacks the other, or lacks another tensor of its method."
    let protectsFrom = """
        PEFT warns of "missing adapter keys" and goes on with the factor as it was initialised: without lora_B the module does \
        nothing, without lora_A it does something random. A module of sd-scripts or LyCORIS without the alpha that all others have gets the \
        scale 1 in silence.
        """
    let needs: [RuleNeed] = [.tensors]
    let refusals: Set<String> = [
        "MissingPair", "MagnitudeMissing", "LoRABiasMissing", "DiagonalMissing", "TokenIndicesMissing", "MissingTensor", "TensorMissing", "PromptTensorMissing", "BottleneckIncomplete", "IncompleteExpert", "WrappedParameters",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let pairs = subject.factors.pairs.compactMap { pair -> Finding? in
            guard case .alone(let missing, let present) = pair.defect else { return nil }
            return finding(
                "is missing, and its partner \(present.name.text) is there", file: subject.weights.file, tensor: missing,
                help: "save the adapter again; what is there: peftfile inspect --tensors \(subject.path.shellQuoted)")
        }
        guard pairs.isEmpty else { return pairs }
        return companions(of: subject, "lora_magnitude_vector", by: "use_dora") { $0.component == "lora_magnitude_vector" }
            + companions(of: subject, "lora_B.bias", by: "lora_bias") { $0.component == "lora_B" && $0.leaf == "bias" }
            + forms(of: subject) + trainingState(of: subject) + (try neighbours(of: subject))
    }

    /// State that PEFT stores beside the factors of every module and uses in training alone: without one it warns of missing adapter keys
    /// and answers the same; a training that goes on begins anew there. Source: `MonteCloraSampler` in peft/tuners/lora/monteclora.py,
    /// `VeloraLinearVariant` in peft/tuners/lora/variants.py.
    private func trainingState(of subject: CheckSubject) -> [Finding] {
        var modules: [ExactString: Set<String>] = [:]
        for key in subject.keys {
            guard let component = key.component, component == "lora_monteclora_sampler" || component == "lora_velora_embed" else { continue }
            modules[key.module, default: []].insert(key.leaf.isEmpty ? component : "\(component).\(key.leaf)")
        }
        guard !modules.isEmpty, subject.methodReads("lora_alpha") else { return [] }
        let count = subject.factors.pairs.count
        let usual = Set(modules.values.joined()).filter { name in 2 * modules.values.count { $0.contains(name) } >= count }
        return subject.factors.pairs.flatMap { pair in
            usual.subtracting(modules[pair.module] ?? []).sorted().map { name in
                finding(
                    "is missing, and other modules have theirs: inference does not need it, and training cannot go on from it", severity: .warning,
                    file: subject.weights.file, tensor: ExactString("base_model.model.\(pair.module).\(name)"),
                    help: "save the adapter again; what is there: peftfile inspect --tensors \(subject.path.shellQuoted)")
            }
        }
    }

    /// What all modules of a trainer of images have or none: an alpha, without which the scale is 1, and the magnitude of a weight
    /// decomposition. Each module of sd-scripts and LyCORIS registers an alpha, and one switch decomposes all (`LoRAModule.__init__` in
    /// networks/lora.py, `LycorisBaseModule` in lycoris/modules/base.py).
    private func neighbours(of subject: CheckSubject) throws -> [Finding] {
        guard subject.config.config?.peftType == nil, let checkpoint = subject.weights.checkpoint else { return [] }
        var result: [Finding] = []
        for (companion, effect) in [("alpha", "the scale becomes 1"), ("dora_scale", "the module is no longer decomposed")] {
            let modules = NeighbourModules(checkpoint, companion: companion)
            guard let first = modules.lacking.first else { continue }
            // Where alpha is the rank throughout, nothing is lost with one.
            if companion == "alpha" {
                let values = try subject.values()
                let isScale = modules.having.contains { module in
                    checkpoint.position(of: ExactString("\(module.name).alpha")).flatMap { values.statistics[$0] }
                        .map { $0.count == 1 && $0.minimum != Double(module.rank) } ?? false
                }
                guard isScale else { continue }
            }
            result.append(
                finding(
                    "is missing, in \(modules.lacking.count) of \(modules.lacking.count + modules.having.count) modules, so that \(effect)"
                        + (modules.lacking.count > 1 ? "; this is the first" : ""), file: subject.weights.file,
                    tensor: ExactString("\(first.name).\(companion)"),
                    help: "save the adapter again; what is there: peftfile inspect --tensors \(subject.path.shellQuoted)"))
        }
        return result
    }

    /// Tensors that every module of the method has.
    private func forms(of subject: CheckSubject) -> [Finding] {
        guard !subject.typeIsContradicted, let defects = (try? subject.adapter())?.formDefects(beside: subject.options.base) else { return [] }
        let inspect = "what is there: peftfile inspect --tensors \(subject.path.shellQuoted)"
        var result = defects.missing.map { entry in
            finding(
                "is missing, and \(entry.beside.text) is there, with which it is stored", file: subject.weights.file, tensor: entry.tensor,
                help: "save the adapter again; \(inspect)")
        }
        if let modules = defects.modules {
            result.append(
                finding(
                    "the file has \(modules.found) module\(modules.found == 1 ? "" : "s"), and the config says \(modules.wanted)",
                    file: subject.weights.file, help: "save the adapter again; \(inspect)"))
        }
        return result
    }

    /// A tensor that the flag `key` of the config gives to every pair: DoRA's magnitude, the bias of lora_B. An embedding has none.
    private func companions(
        of subject: CheckSubject, _ tensor: String, by key: ExactString, _ isCompanion: (AdapterKey) -> Bool
    ) -> [Finding] {
        guard subject.methodReads(key.text), subject.config.config?[key]?.boolValue == true else { return [] }
        let known = Set(subject.keys.filter(isCompanion).map(\.module))
        let alone = subject.factors.pairs.filter { $0.stem == "lora" && !known.contains($0.module) }
        guard let first = alone.first else { return [] }
        return [
            finding(
                "is missing, in \(alone.count) of \(subject.factors.pairs.count) modules, and the config says \(key); this is the first",
                file: subject.weights.file, tensor: ExactString("base_model.model.\(first.module).\(tensor)"),
                help: "save the adapter again, or correct \(key); what is there: peftfile inspect --tensors " + subject.path.shellQuoted)
        ]
    }
}

/// The modules of a file by whether they have one tensor, in the parts of a pipeline of which most have it.
private struct NeighbourModules {
    struct Module {
        var name: String
        var rank: Int
    }

    private(set) var having: [Module] = []
    private(set) var lacking: [Module] = []

    /// The first factors of the methods that divide an alpha by the rank, which is their first dimension.
    private static let factors = [".lora_down.weight", ".lora_A.weight", ".hada_w1_b", ".lokr_w1_b", ".lokr_w2_b"]

    init(_ checkpoint: Checkpoint, companion: String) {
        var parts: [String: (having: [Module], lacking: [Module])] = [:]
        var seen: Set<String> = []
        for tensor in checkpoint.tensors {
            guard let factor = NeighbourModules.factors.first(where: { tensor.name.text.hasSuffix($0) }) else { continue }
            let name = String(tensor.name.text.dropLast(factor.count))
            guard seen.insert(name).inserted else { continue }
            let part = name.contains(".") ? String(name.prefix { $0 != "." }) : name.split(separator: "_").prefix(2).joined(separator: "_")
            let module = Module(name: name, rank: tensor.shape.first ?? 0)
            if checkpoint[ExactString("\(name).\(companion)")] == nil { parts[part, default: ([], [])].lacking.append(module) }
            else { parts[part, default: ([], [])].having.append(module) }
        }
        for (_, part) in parts.sorted(by: { $0.key < $1.key }) where part.having.count > part.lacking.count {
            having += part.having
            lacking += part.lacking
        }
    }
}

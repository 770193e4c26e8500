import Adapters
import ByteAccess
import Checkpoints

/// Target modules without tensors.
struct MissingModule: CheckRule {
    let id = "missing-module"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = """
        A module or bias that the config names has no tensors: although the base has it (error), or, without a base, although \
        the layers beside have it, or it may exist nowhere (warning).
        """
    let protectsFrom = """
        Tensors that were lost on the way: PEFT makes the module with an update of zero, warns of missing keys, and that part \
        of the training is gone. A misspelt target trained nothing.
        """
    let needs: [RuleNeed] = [.tensors, .config]
    let refusals: Set<String> = ["BiasesLost"]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard !subject.typeIsContradicted, !subject.holdsNoAdapter, let adapter = try? subject.adapter(), let config = adapter.config,
            // Names of other forms are reported by the rules of the prefix.
            config.peftType != nil, adapter.keys.contains(where: \.hadPrefix), (try? config.flag("ensure_weight_tying")) == false
        else { return [] }
        let lost = lost(subject, config)
        let targets = unmetTargets(subject, adapter, config)
        // A target without any module is one finding, and not one for each layer.
        // What was trained to change nothing has tensors all the same.
        let own = Set(adapter.keys.filter { $0.component != nil }.map(\.module.text))
        let modules = (lost?.modules ?? []).filter { module in !own.contains(module) && !targets.names.contains { ConfigCoverage.meets(module, $0) } }
        let inspect = "what is there: peftfile inspect \(subject.path.shellQuoted)"
        let names = config["target_parameters"]?.arrayValue?.isEmpty == false ? "target_modules or target_parameters" : "target_modules"
        var result: [Finding] = []
        if let first = modules.first {
            result.append(
                finding(
                    "\(modules.count) module\(modules.count == 1 ? "" : "s") that \(names) names and the base has "
                        + "\(modules.count == 1 ? "is" : "are") without tensors\(modules.count == 1 ? "" : ", the first is") "
                        + "\"\(first.printable)\"", file: subject.weights.file,
                    help: "save the adapter again, or say layers_to_transform or exclude_modules; \(inspect)"))
        }
        let biases = (lost?.biases ?? []).filter { bias in !targets.names.contains { ConfigCoverage.meets(String(bias.text.dropLast(".bias".count)), $0) } }
        if let first = biases.first, case let count = biases.count {
            result.append(
                finding(
                    "\(count) bias\(count == 1 ? "" : "es") that the config's bias \"\(config["bias"]?.stringValue?.printable ?? "")\" means and "
                        + "the base has \(count == 1 ? "is" : "are") not stored\(count == 1 ? "" : ", the first is") "
                        + "\"\(first.text.printable)\"", file: subject.weights.file, help: "save the adapter again; \(inspect)"))
        }
        if lost == nil, case let gaps = LayerGaps(adapter).modules, let first = gaps.first {
            result.append(
                finding(
                    "\(gaps.count) module\(gaps.count == 1 ? "" : "s") of single layers \(gaps.count == 1 ? "is" : "are") without tensors, "
                        + "and the layers beside have them\(gaps.count == 1 ? "" : ", the first is") \"\(first.printable)\"", severity: .warning,
                    file: subject.weights.file, help: "save the adapter again; with --base it is told whether the base has them; \(inspect)"))
        }
        return result + targets.findings + unmetParameters(subject, adapter, config)
    }

    /// Modules of which `target_parameters` names more parameters than there are wrappers in the file: PEFT wraps a module once for
    /// each, and the wrappers' keys do not say whose they are (`ParamWrapper` in peft/tuners/lora/layer.py).
    private func unmetParameters(_ subject: CheckSubject, _ adapter: Adapter, _ config: AdapterConfig) -> [Finding] {
        guard let names = try? config.strings("target_parameters"), !names.isEmpty else { return [] }
        var wrappers: [ExactString: Set<Int>] = [:]
        for key in adapter.keys where key.component != nil { wrappers[key.module, default: []].insert(key.depth) }
        // Parameters that a bare name means are those of stacked experts.
        let stacked: Set<String> = ["gate_up_proj", "up_proj", "down_proj"]
        func owner(_ name: String) -> String {
            name.lastIndex(of: ".").map { String(name[..<$0]) } ?? (stacked.contains(name) ? "experts" : name)
        }
        let isKnown = { (name: String) in name.contains(".") || stacked.contains(name) }
        let unmet = names.filter { name in
            isKnown(name) && !wrappers.keys.contains { ConfigCoverage.meets($0.text, owner(name)) }
        }.map { name in
            let isInBase = MissingModule.base(subject.options.base, has: owner(name))
            return finding(
                "target_parameters names \"\(name.printable)\", and no tensor is of \"\(owner(name).printable)\""
                    + (isInBase ? ", which the base has" : ""), severity: isInBase ? .error : .warning, file: subject.weights.file,
                help: "save the adapter again, or correct target_parameters; what is there: peftfile inspect \(subject.path.shellQuoted)")
        }
        let lacking = wrappers.compactMap { module, depths -> (module: String, wanted: Int, found: Int)? in
            // A parameter can be named twice, in full and bare.
            let wanted = Set(names.filter { ConfigCoverage.meets(module.text, owner($0)) }.compactMap { $0.split(separator: ".").last })
                .count
            return depths.count < wanted ? (module.text, wanted, depths.count) : nil
        }.sorted { $0.module < $1.module }
        // Any module may own a parameter of another bare name; here each wrapper is another's.
        let isTaken = { (module: ExactString, depths: Set<Int>) in
            let own = Set(names.filter { isKnown($0) && ConfigCoverage.meets(module.text, owner($0)) }.compactMap { $0.split(separator: ".").last })
            let isTarget = config["target_modules"]?.arrayValue?.contains { ConfigCoverage.meets(module.text, $0.stringValue ?? "") }
            return depths.count <= own.count + (isTarget ?? (config["target_modules"] != nil) ? 1 : 0)
        }
        let strange = wrappers.allSatisfy(isTaken) ? names.filter { !isKnown($0) && $0 != "weight" } : []
        let unused = strange.map { name in
            finding(
                "target_parameters names \"\(name.printable)\", and no tensor is of such a parameter", severity: .warning, file: config.path,
                help: "correct target_parameters; what is there: peftfile inspect --tensors \(subject.path.shellQuoted)")
        }
        guard let first = lacking.first else { return unmet + unused }
        return unmet + unused + [
            finding(
                "target_parameters names \(first.wanted) parameters of \"\(first.module.printable)\", and the file has tensors for "
                    + "\(first.found)\(lacking.count > 1 ? "; so it is with \(lacking.count - 1) more" : "")",
                severity: subject.options.base == nil ? .warning : .error, file: subject.weights.file,
                help: "save the adapter again; what is there: peftfile inspect \(subject.path.shellQuoted)")
        ]
    }

    /// Whether the base has tensors in a module of this name; experts lie in one of theirs, whatever it is called on disk.
    private static func base(_ base: Checkpoint?, has module: String) -> Bool {
        let last = module.split(separator: ".").last.map(String.init) ?? module
        let parts = [".\(module).", last == "experts" ? ".experts." : ".\(module)."]
        return base?.tensors.contains { tensor in parts.contains { ".\(tensor.name.text)".contains($0) } } ?? false
    }

    /// What the base has and the adapter lacks; nil without a base that the adapter could be held against.
    private func lost(_ subject: CheckSubject, _ config: AdapterConfig) -> LostModules? {
        guard let base = subject.options.base else { return nil }
        let keys = subject.keys
        let storesBiases = subject.methodReads("lora_bias") || keys.contains { $0.component == nil && $0.leaf == "bias" }
        if let binding = subject.binding.binding {
            let found = LostModules.found(in: binding.changes[0], config)
            let stored = Set(binding.changes[0].flatMap { $0.place.pieces.map(\.tensor) })
            return LostModules(config, found: found, stored: stored, base: base, storesBiases: storesBiases)
        }
        guard let placement = subject.binding.placement, !placement.found.isEmpty else { return nil }
        let found = placement.found.map { LostModules.Found(module: $0.module.text, tensors: [$0.tensor]) }
        return LostModules(config, found: found, stored: [], base: base, storesBiases: false)
    }

    /// Entries of the list that no module with tensors meets.
    private func unmetTargets(
        _ subject: CheckSubject, _ adapter: Adapter, _ config: AdapterConfig
    ) -> (names: [String], findings: [Finding]) {
        guard let coverage = ConfigCoverage(of: adapter) else { return ([], []) }
        let component = adapter.keys.lazy.compactMap(\.component).first ?? "lora_A"
        let inspect = "what is there: peftfile inspect --tensors \(subject.path.shellQuoted)"
        return (coverage.unmetTargets, coverage.unmetTargets.map { target in
            guard let module = module(of: subject, meeting: target) else {
                return finding(
                    "target_modules names \"\(target.printable)\", and no tensor is of such a module", severity: .warning,
                    file: config.path, help: "correct target_modules; \(inspect)")
            }
            return finding(
                "is missing, and so are all tensors of \"\(target.printable)\": target_modules names it and the base has it",
                file: subject.weights.file, tensor: ExactString("base_model.model.\(module).\(component).weight"),
                help: "save the adapter again, or take \"\(target.printable)\" out of target_modules; \(inspect)")
        })
    }

    /// The first module of the base that the target means and that could have an update.
    private func module(of subject: CheckSubject, meeting target: String) -> String? {
        guard let base = subject.options.base, let adapter = try? subject.adapter() else { return nil }
        let skipsKernels = (try? MethodRegistry.method(of: adapter))?.skipsKernels == true
        for tensor in base.tensors where tensor.shape.count >= 2 && !(skipsKernels && tensor.shape.count > 2) && tensor.name.text.hasSuffix(".weight") {
            let module = String(tensor.name.text.dropLast(".weight".count))
            if ConfigCoverage.meets(module, target), !module.contains("experts") { return module }
        }
        return nil
    }
}

import ByteAccess
import Tensors

/// The modules that a config means, for adapters whose files do not name them.
///
/// A list names modules, or the ends of their paths after a dot; a string is a regular expression for the whole path.
/// `exclude_modules` takes out by the same rule, and so does `modules_to_save`; `layers_to_transform` leaves the layers
/// with these numbers, the number being the first in the path, or the one after a name of `layers_pattern`.
///
/// Source: `check_target_module_exists` in peft/tuners/tuners_utils.py. Names on disk stand for names in memory, so
/// stacked experts, which are no modules there, are refused.
struct TargetModules {
    private let config: AdapterConfig
    /// nil where every module is meant that is not taken out.
    private let targets: PathEnds?
    private let excluded: PathEnds
    private let saved: [String]
    private let layers: Set<Int>?
    /// What ends in a name of `layers_pattern`.
    private let patterns: [RegularExpression]

    init(_ config: AdapterConfig) throws {
        guard let value = config["target_modules"] else {
            throw PeftfileError(
                .refused, "names no target_modules, and the file does not tell the modules either", file: config.path,
                rule: "ConfigKeyMissing", help: "write the target modules of the training into adapter_config.json")
        }
        if value.stringValue?.lowercased() == "all-linear" {
            throw PeftfileError(
                .refused, "says \"all-linear\", and which layers are linear is in no file", file: config.path,
                rule: "TargetModules", help: "write the names of the modules into target_modules")
        }
        try self.init(config, targets: PathEnds(config, "target_modules"))
    }

    /// Every module, but for what `exclude_modules`, `modules_to_save` and `layers_to_transform` take out.
    init(anyOf config: AdapterConfig) throws { try self.init(config, targets: nil) }

    private init(_ config: AdapterConfig, targets: PathEnds?) throws {
        self.config = config
        self.targets = targets
        excluded = try PathEnds(config, "exclude_modules")
        saved = try config.strings("modules_to_save")
        if let number = config["layers_to_transform"]?.intValue {
            layers = [number]
        } else if let value = config["layers_to_transform"] {
            let list = try config.indices(value, key: "layers_to_transform")
            layers = list.isEmpty ? nil : Set(list)
        } else {
            layers = nil
        }
        if LayersPattern.needsLayers.contains(config.peftType ?? ""), config["layers_to_transform"] == nil,
            try config.strings("layers_pattern").contains(where: { !$0.isEmpty })
        {
            throw config.wrong("layers_pattern", "absent without layers_to_transform: PEFT refuses to load it")
        }
        patterns = layers == nil ? [] : try config.strings("layers_pattern").filter { !$0.isEmpty }.map {
            try RegularExpression(wholePattern: "(?:.*\\.)?(?:\($0))")
        }
        if targets?.isExpression == true, layers != nil {
            throw config.wrong("layers_to_transform", "absent beside a target_modules that is a string")
        }
    }

    /// The modules of the base that are meant, sorted by name: those with a matrix under their own name, under the name that
    /// they have in memory, or tied to one that has.
    ///
    /// - Throws: `.refused` where there is none, and for stacked experts.
    func paths(in base: BaseDirectory) throws -> [ExactString] {
        let modules = try modules(in: base)
        var result: [ExactString] = []
        for (path, name) in modules {
            guard contains(path) else { continue }
            guard !path.dottedComponents.contains("experts") else {
                throw PeftfileError(
                    .refused, "may be a module or a part of a stacked parameter, by the version of transformers that trained",
                    tensor: name, rule: "ExpertTargets", help: "save the adapter again with its indices in the file")
            }
            result.append(ExactString(path))
        }
        guard !result.isEmpty else {
            throw PeftfileError(
                .refused, "target_modules matches no module of the base", file: config.path, rule: "MissingTarget",
                help: "merge onto the base that the adapter was trained on")
        }
        return result.sorted { $0.text < $1.text }
    }

    private typealias Module = (path: String, tensor: ExactString)

    /// Every matrix of the base as a module. The set of those that are meant decides what each is dealt, and one that is not seen
    /// on disk would give all others wrong numbers: so the names of the list must all be met, under the names on disk or under
    /// those that transformers 5 has in memory, and expressions for whole paths are not read where a model may have another front.
    private func modules(in base: BaseDirectory) throws -> [Module] {
        func refuse(_ what: String) -> PeftfileError {
            PeftfileError(
                .refused, "\(what), and which modules target_modules means in memory is not told by the base's files", file: config.path,
                rule: "TargetModules", help: "save the adapter again with its indices in the file (save_indices)")
        }
        guard base.modelType != nil else { throw refuse("the base has no config.json that says its model_type") }
        if let unknown = PlainNames.unknown(among: base.allModelTypes) {
            throw refuse("whether model_type \(unknown) has the same names in memory as on disk is not known")
        }
        let stored: [Module] = base.names.filter { $0.text.hasSuffix(".weight") && base.shapes[$0]?.count == 2 }.map {
            (String($0.text.dropLast(".weight".count)), $0)
        }
        let onDisk = stored + tiedModules(in: base)
        let types = base.allModelTypes
        let isRenamed = RenameTable.entries.contains { !$0.modelTypes.isDisjoint(with: types) && !$0.rules.isEmpty }
        guard let targets else {
            guard !isRenamed else { throw refuse("model_type \(base.modelType ?? "") has other names on disk than in memory") }
            return onDisk
        }
        if targets.isExpression, base.textModelType != nil || base.visionModelType != nil {
            throw refuse("target_modules is an expression, and the model has parts")
        }
        let isFused = FusedRows.rules(for: types).contains { $0.isUsed(by: base) }
        guard !isRenamed || !isFused && !targets.isExpression else {
            throw refuse("model_type \(base.modelType ?? "") has other names on disk than in memory")
        }
        if targets.isExpression { return onDisk }
        func unmet(_ modules: [Module]) -> [String] {
            targets.names.sorted().filter { name in !modules.contains { $0.path == name || $0.path.hasSuffix("." + name) } }
        }
        let lost = unmet(onDisk)
        guard isRenamed else {
            guard let first = lost.first else { return onDisk }
            throw PeftfileError(
                .refused, "target_modules names \"\(first.printable)\", and the base has no such module", file: config.path,
                rule: "MissingTarget", help: "correct target_modules, or merge onto the base that the adapter was trained on")
        }
        let rules = RenameTable.rules(for: types)
        let inMemory: [Module] = onDisk.map { (RenameRule.inMemory($0.path, rules), $0.tensor) }
        switch (lost.isEmpty, unmet(inMemory).isEmpty) {
        case (true, false): return onDisk
        case (false, true): return inMemory
        case (true, true):
            let (one, other) = (onDisk.filter { contains($0.path) }, inMemory.filter { contains($0.path) })
            if one.map(\.tensor) == other.map(\.tensor) { return onDisk }
            throw refuse("model_type \(base.modelType ?? "") has other names on disk than in memory, and target_modules fits both")
        case (false, false):
            throw refuse("model_type \(base.modelType ?? "") has other names on disk than in memory, and target_modules fits neither")
        }
    }

    /// Modules without a tensor of their own that share another's: an output head beside its embedding.
    private func tiedModules(in base: BaseDirectory) -> [Module] {
        guard TiedWeights.mayTieHead(base), TiedWeights.hasLanguageModelHead(base) else { return [] }
        let prefixes = BasePrefixes.prefixes(for: base.modelTypes)
        return TiedWeights.rows(for: base.modelTypes, bias: false).flatMap { row -> [Module] in
            guard let first = row.members.first else { return [] }
            // Files of the bare model lack its prefix.
            let names = [first] + prefixes.filter { first.hasPrefix($0 + ".") }.map { String(first.dropFirst($0.count + 1)) }
            guard let stored = names.map({ ExactString($0 + ".weight") }).first(where: { base.shapes[$0] != nil }) else { return [] }
            // An embedding that is one module with another is registered once, and is no layer.
            return row.members.dropFirst(row.fixed).filter { base.shape($0 + ".weight") == nil }.map { ($0, stored) }
        }
    }

    func contains(_ path: String) -> Bool { exclusion(of: path) == nil }

    /// The key by which the config makes no update for the module; nil where it makes one.
    func exclusion(of path: String) -> ExactString? {
        if excluded.contains(path) { return "exclude_modules" }
        if saved.contains(where: { isPart(path, of: $0) }) { return "modules_to_save" }
        guard targets?.contains(path) != false else { return "target_modules" }
        guard let layers, targets?.isExpression != true, targets?.names.contains(path) != true else { return nil }
        guard let number = layerNumber(path.dottedComponents.map { String($0) }) else {
            return patterns.isEmpty ? "layers_to_transform" : "layers_pattern"
        }
        return layers.contains(number) ? nil : "layers_to_transform"
    }

    private func isPart(_ path: String, of module: String) -> Bool {
        let (path, module) = (path.dottedComponents, module.dottedComponents)
        return path.indices.contains { path[$0...].starts(with: module) }
    }

    /// The first number behind a list that is inside something else, or the first behind the first pattern that has one:
    /// `re.match(r".*?\.[^.]*\.(\d+)\.", path)` and `re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", path)` of PEFT 0.21.
    private func layerNumber(_ parts: [String]) -> Int? {
        func first(from start: Int, after isList: (Int) -> Bool) -> Int? {
            let places = parts.indices.dropFirst(start).dropLast()
            return places.first { parts[$0].utf8.allSatisfy { (0x30...0x39).contains($0) } && Int(parts[$0]) != nil && isList($0) }
                .flatMap { Int(parts[$0]) }
        }
        if patterns.isEmpty { return first(from: 2) { _ in true } }
        for pattern in patterns {
            let found = first(from: 1) { pattern.matchesWhole(parts[..<$0].joined(separator: ".")) }
            if let found { return found }
        }
        return nil
    }
}

/// A list of ends of paths, or one regular expression for whole paths.
struct PathEnds {
    let names: Set<String>
    private let expression: RegularExpression?

    init(_ config: AdapterConfig, _ key: ExactString) throws {
        if let pattern = config[key]?.stringValue {
            (names, expression) = ([], try RegularExpression(wholePattern: pattern))
        } else {
            (names, expression) = (Set(try config.strings(key)), nil)
        }
    }

    var isExpression: Bool { expression != nil }

    func contains(_ path: String) -> Bool {
        if let expression { return expression.matchesWhole(path) }
        let parts = path.dottedComponents
        return parts.indices.contains { names.contains(parts[$0...].joined(separator: ".")) }
    }
}

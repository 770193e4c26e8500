public import ByteAccess
public import Checkpoints

/// An adapter of PEFT's own dialect under the names that PEFT loads (``KeyRepair``), and with a base under names that the
/// base has. An adapter in another dialect is as it was.
public struct RepairedAdapter: Sendable {
    /// The adapter with its keys taken apart under the new names; its tensors are as stored.
    public private(set) var adapter: Adapter
    /// PEFT's name of each stored tensor, in file order; nil where it has no part in an adapter.
    public private(set) var names: [(stored: ExactString, name: ExactString?)] = []
    /// Tensors of a trainer's state, which have no part in it.
    public private(set) var debris: [ExactString] = []
    /// What was changed in the config, in words.
    public private(set) var configNotes: [String] = []
    /// The adapter held against the base that it is of.
    private(set) var held: AdapterOnBase?

    /// - Parameters:
    ///   - bases: the models of which one is the adapter's; without one names are repaired as far as they tell alone.
    ///   - isRepair: whether names get the base's fronts (`PrefixRepair`), and an adapter without a merged form is held against
    ///     names and sizes; else what a merge refuses is refused.
    /// - Throws: the merge's refusal where no base has the adapter's modules.
    public init(
        _ adapter: Adapter, bases: [PipelineBase] = [], options: BindingOptions = BindingOptions(), isRepair: Bool = false
    ) throws {
        self.adapter = adapter
        guard adapter.dialect == nil else { return }
        try takeNames(isRepair, hasBase: !bases.isEmpty)
        guard let first = bases.first else { return }
        let plain = self
        var found: [RepairedAdapter] = []
        var refusal: PeftfileError?
        for base in bases {
            do {
                var settled = plain
                if adapter.wholeState != nil {
                    let view = try BaseView(base: base.checkpoint, adapters: [adapter])
                    settled = RepairedAdapter(settled: try FrozenComparison.settled(adapter, base: base.checkpoint, view: view, work: options.comparison))
                    try settled.takeNames(isRepair, hasBase: true)
                }
                found.append(try settled.on(base, options, isRepair))
            } catch let error as PeftfileError {
                refusal = refusal ?? error
            }
        }
        guard found.count <= 1 else {
            throw PeftfileError(
                .refused, "fits \(found.count) of the bases, and is of one model", file: adapter.path, rule: "AmbiguousComponent",
                help: "name one: --base \(first.checkpoint.path.shellQuoted)")
        }
        guard let only = found.first else {
            throw (refusal ?? PeftfileError(.refused, "has no place in the base", rule: "MissingTarget")).inFile(adapter.path)
        }
        self = only
    }

    private init(settled adapter: Adapter) { self.adapter = adapter }

    private mutating func takeNames(_ isRepair: Bool, hasBase: Bool) throws {
        guard adapter.config == nil || adapter.config?.peftType != nil else { return }
        if isRepair, adapter.config != nil {
            debris = adapter.keys.filter(KeyRepair.isTrainerState).map(\.stored)
            adapter.keys.removeAll(where: KeyRepair.isTrainerState)
            if !hasBase { try requirePrefixes() }
        }
        names = adapter.keys.map { ($0.stored, KeyRepair.name(of: $0)) }
        try renameKeys()
        if isRepair, adapter.config != nil, !hasBase { try requireClaimed() }
    }

    /// What was done to the names, in words: for files in which they are other names anyway.
    var notes: [String] {
        let renamed = names.compactMap { pair -> String? in
            guard let name = pair.name, AdapterKey(pair.stored).module != AdapterKey(name).module else { return nil }
            return "\(pair.stored.text.printable) read as \(name.text.printable)"
        }
        guard let first = renamed.first else { return [] }
        return [first + (renamed.count > 1 ? ", and \(renamed.count - 1) more names in the same way" : "")]
    }

    /// What a refusal of names should say: the command that repairs them, where there is one.
    static func advice(
        _ error: PeftfileError, _ adapter: Adapter, base: Checkpoint, options: BindingOptions
    ) -> PeftfileError? {
        guard error.rule == "MissingTarget", adapter.dialect == nil, adapter.config?.peftType != nil,
            (try? RepairedAdapter(adapter, bases: [PipelineBase(base)], options: options, isRepair: true)) != nil
        else { return nil }
        var copy = error
        copy.help = "the fronts of its names are not the base's, which is repaired with "
            + "peftfile convert \(adapter.path.shellQuoted) --to peft --base \(base.path.shellQuoted) -o adapter-repaired"
        return copy
    }

    // MARK: Names

    /// The adapter on a base, its names repaired where the base lacks them as they are.
    private func on(_ base: PipelineBase, _ options: BindingOptions, _ isRepair: Bool) throws -> RepairedAdapter {
        func held(_ repaired: RepairedAdapter) throws -> RepairedAdapter {
            var result = repaired
            result.held = try AdapterOnBase(
                repaired.adapter, base: base, options: options, acceptsUnmergeable: isRepair)
            return result
        }
        var refusal: PeftfileError?
        var whole: RepairedAdapter?
        do { whole = try held(self) } catch let error as PeftfileError where error.rule == "MissingTarget" {
            refusal = error
            // Another model's names are taken for this one's where that was asked for.
            guard isRepair else { throw RepairedAdapter.advice(error, adapter, base: base.checkpoint, options: options) ?? error }
        }
        let paths = names.isEmpty ? [] : PrefixRepair.paths(of: base.checkpoint.tensors.map(\.name))
        let modules = names.isEmpty ? [] : adapter.keys.filter { $0.component != nil && !$0.module.text.isEmpty }.map(\.module.text)
        let candidates = PrefixRepair.candidates(for: Array(Set(modules)).sorted(), among: paths, isComplete: whole != nil)
            .filter { whole == nil || !PrefixRepair.isOfVersion($0.to) }
        var attempts = try candidates.prefix(8).map { try renamed($0, paths) }
        // Where the merge finds what was meant and PEFT does not, the names are those of PEFT's place.
        if isRepair, attempts.isEmpty, whole != nil, let moved = try movedToPlaces(base.checkpoint) { attempts = [moved] }
        var found: [RepairedAdapter] = []
        for repaired in attempts {
            // Two fronts may say the same, one with more of what is common.
            if found.contains(where: { $0.adapter.keys == repaired.adapter.keys }) { continue }
            // A pattern of the config that held a name by its old front would give the module another scale.
            guard RepairedAdapter.scales(of: repaired.adapter) == RepairedAdapter.scales(of: adapter) else { continue }
            if let repaired = try? held(repaired) { found.append(repaired) }
        }
        guard found.count == 1, let only = found.first else {
            if let whole { return whole }
            throw refusal ?? PeftfileError(.refused, "has no place in the base", rule: "MissingTarget")
        }
        return only
    }

    /// Rank, alpha and scale of each module, in file order; nil where the adapter alone does not tell.
    private static func scales(of adapter: Adapter) -> [[Double?]]? {
        try? adapter.targets().map { [$0.rank.map(Double.init), $0.alpha, $0.scale] }
    }

    private static let front = "base_model.model."

    /// The adapter under the names that its modules have in memory, where it names them a level too deep, too high, or in another
    /// family's place; nil where it does not, or where another model may be meant.
    private func movedToPlaces(_ base: Checkpoint) throws -> RepairedAdapter? {
        guard let misplaced = MisplacedNames(adapter, base: base), !misplaced.entries.isEmpty, misplaced.entries.allSatisfy(\.isCertain) else {
            return nil
        }
        let places = Dictionary(misplaced.entries.map { ($0.tensor, $0.place.text) }) { first, _ in first }
        var copy = self
        for (index, key) in adapter.keys.enumerated() {
            let old = Self.front + key.module.text
            guard let place = places[key.stored], let name = names[index].name?.text, name.hasPrefix(old + ".") else { continue }
            copy.names[index].name = ExactString(Self.front + place + name.dropFirst(old.count))
        }
        try copy.renameKeys()
        return copy
    }

    /// Refuses a plain name beside PEFT's: nothing in it says that it is of the adapter, and PEFT loads it under no name.
    private func requirePrefixes() throws {
        guard adapter.keys.contains(where: { $0.stored.text.utf8Contains("base_model.") }) else { return }
        let stray = adapter.keys.first { key in
            key.component == nil && !key.isPrompt && !key.stored.text.utf8Contains("base_model.") && !key.stored.text.utf8Contains("modules_to_save")
        }
        guard let stray else { return }
        throw PeftfileError(
            .refused, "is no part of an adapter by its name, and the names beside it begin with base_model.", file: adapter.path,
            tensor: stray.stored, rule: "UnclaimedTensor", help: "name the base, which tells whether it is a module's: --base BASE; or remove it")
    }

    /// What a merge refuses of the file alone: parts without which a module is no update.
    private static let lacks: Set<String> = [
        "MissingPair", "MagnitudeMissing", "LoRABiasMissing", "DiagonalMissing", "MissingTensor", "UnclaimedTensor",
    ]

    /// Refuses what no base could make a part of the adapter: tensors that its method does not know, and halves of pairs.
    private func requireClaimed() throws {
        // The file of a mixture has the weights of its base as well.
        guard let method = try? MethodRegistry.method(of: adapter), !method.hasInnerAdapters else { return }
        do { _ = try method.targets(of: adapter) } catch let error as PeftfileError where error.rule.map(Self.lacks.contains) == true {
            throw error.inFile(adapter.path)
        } catch is PeftfileError {}
        let left = adapter.keys.filter { !$0.isPrompt && !adapter.copies.contains($0.stored) && !method.claims($0, of: adapter) }
        guard let first = left.first else { return }
        throw Binding.unclaimed(first.stored, left.count, of: adapter).inFile(adapter.path)
    }

    private func renamed(_ repair: PrefixRepair, _ paths: Set<String>) throws -> RepairedAdapter {
        var copy = self
        let front = Self.front
        for (index, key) in adapter.keys.enumerated() {
            guard let name = names[index].name?.text, name.hasPrefix(front), !key.module.text.isEmpty, !key.isPrompt else { continue }
            let rest = name.dropFirst(front.count)
            guard repair.name(of: key.module.text, in: paths) != key.module.text, rest.hasPrefix(repair.from) else { continue }
            copy.names[index].name = ExactString(front + repair.to + rest.dropFirst(repair.from.count))
        }
        try copy.renameKeys()
        return copy
    }

    private mutating func renameKeys() throws {
        let old = adapter.keys
        for (index, name) in names.enumerated() {
            guard let name = name.name, name != adapter.keys[index].stored else { continue }
            adapter.keys[index] = AdapterKey(name, stored: adapter.keys[index].stored)
        }
        guard let config = adapter.config, config.peftType != nil else { return }
        let modules = zip(old, adapter.keys).filter { $0.0.component != nil && !$0.0.module.text.isEmpty }
        let renamed = try RenamedConfig(config, modules.map { (old: $0.0.module.text, new: $0.1.module.text) })
        adapter.config = renamed.config
        configNotes += renamed.notes
    }
}

extension PrefixRepair {
    /// Fronts that versions of transformers add and leave out of one model's names: to lack them is no mistake.
    fileprivate static func isOfVersion(_ front: String) -> Bool {
        ["vision_model.", "text_model.", "language_model.", "model.language_model."].contains(front)
    }
}

public import ByteAccess
public import Checkpoints

/// An adapter of PEFT's own dialect under the names that PEFT loads (``KeyRepair``), and with a base under names that the
/// base has. An adapter in another dialect is as it was.
public struct RepairedAdapter: Sendable {
    /// The adapter with its keys taken apart under the new names; its tensors are as stored.
    public private(set) var adapter: Adapter
    /// PEFT's name of each stored tensor, in file order; nil where it has no part in an adapter.
    public private(set) var names: [(stored: ExactString, name: ExactString?)] = []
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
        if adapter.config == nil || adapter.config?.peftType != nil {
            names = adapter.keys.map { ($0.stored, KeyRepair.name(of: $0)) }
            renameKeys()
        }
        guard let first = bases.first else { return }
        let plain = self
        var found: [RepairedAdapter] = []
        var refusal: PeftfileError?
        for base in bases {
            do { found.append(try plain.on(base, options, isRepair)) } catch let error as PeftfileError {
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
        var found: [RepairedAdapter] = []
        for candidate in candidates.prefix(8) {
            let repaired = renamed(candidate, paths)
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

    private func renamed(_ repair: PrefixRepair, _ paths: Set<String>) -> RepairedAdapter {
        var copy = self
        let front = "base_model.model."
        for (index, key) in adapter.keys.enumerated() {
            guard let name = names[index].name?.text, name.hasPrefix(front), !key.module.text.isEmpty, !key.isPrompt else { continue }
            let rest = name.dropFirst(front.count)
            guard repair.name(of: key.module.text, in: paths) != key.module.text, rest.hasPrefix(repair.from) else { continue }
            copy.names[index].name = ExactString(front + repair.to + rest.dropFirst(repair.from.count))
        }
        copy.renameKeys()
        return copy
    }

    private mutating func renameKeys() {
        for (index, name) in names.enumerated() {
            guard let name = name.name, name != adapter.keys[index].stored else { continue }
            adapter.keys[index] = AdapterKey(name, stored: adapter.keys[index].stored)
        }
    }
}

extension PrefixRepair {
    /// Fronts that versions of transformers add and leave out of one model's names: to lack them is no mistake.
    fileprivate static func isOfVersion(_ front: String) -> Bool {
        ["vision_model.", "text_model.", "language_model.", "model.language_model."].contains(front)
    }
}

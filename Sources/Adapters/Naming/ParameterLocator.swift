import ByteAccess
import Tensors

/// Finds one in-memory parameter in the files, under one prefix form.
struct ParameterLocator: Sendable {
    let base: BaseDirectory
    let modelTypes: [String]
    let renames: [RenameRule]
    private let fusedRows: [FusedRows]
    private let originalRows: OriginalRows
    private let tiedWeights: [TieRow]
    private let tiedBiases: [TieRow]
    private let sharedBlocks: SharedBlocks
    private let mayTieHead: Bool
    private let transposesOnDisk: Bool
    private let layout: ExpertLayouts.Layout

    init(base: BaseDirectory) {
        self.base = base
        modelTypes = base.modelTypes
        renames = RenameTable.rules(for: base.allModelTypes)
        fusedRows = FusedRows.rules(for: base.allModelTypes) + FusedRows.openCLIP
        originalRows = OriginalRows(base: base)
        sharedBlocks = SharedBlocks(base.sharedLayers, modelTypes: modelTypes)
        tiedWeights = TiedWeights.rows(for: base, bias: false)
        tiedBiases = TiedWeights.rows(for: base, bias: true)
        mayTieHead = TiedWeights.mayTieHead(base)
        transposesOnDisk = DiskTransposition.concerns(modelTypes)
        layout = ExpertLayouts.Layout(modelTypes)
    }

    /// The spellings of a tensor name, for `locate`.
    func spellings(_ name: String) -> TensorSpellings { TensorSpellings(name, rules: renames) }

    /// The parameter, or nil. In order: the name as it stands; its spellings under `form`; rows of a fused matrix, in a model's own repository too;
    /// experts gathered or cut out; a tensor that the model ties it to.
    func locate(_ spellings: TensorSpellings, form: PrefixForm) throws(PeftfileError) -> StoredParameter? {
        if let stored = try stored(spellings, form: form) { return stored }
        return try tied(spellings, form: form)
    }

    private func stored(_ spellings: TensorSpellings, form: PrefixForm) throws(PeftfileError) -> StoredParameter? {
        let name = spellings.names[0]
        if let whole = try direct(name, named: name) { return whole }
        let formed = spellings.names.map(form.apply)
        for spelled in formed {
            if let whole = try direct(spelled, named: name) { return whole }
        }
        for rows in fusedRows {
            if let part = rows.locate(name, in: base, spell: form.apply) { return part }
        }
        if let part = originalRows.locate(name, in: base, spell: form.apply) { return part }
        for spelled in formed {
            if let stack = try ExpertLayouts.gathered(spelled, in: base, takesStacks: layout == .rows) { return stack }
            if let slice = ExpertLayouts.slice(spelled, in: base, layout: layout) { return slice }
        }
        return OriginalRows.bare([name] + formed, in: base)
    }

    /// The tensor `tensor`, if it is stored, as the parameter that memory calls `name`.
    private func direct(_ tensor: String, named name: String) throws(PeftfileError) -> StoredParameter? {
        // The base's own text of the name: one that was put together lives as long as the place, and there are tens of thousands.
        guard let index = base.shapes.index(forKey: ExactString(tensor)) else { return nil }
        let (key, shape) = base.shapes[index]
        let whole = StoredParameter(whole: key, shape: shape)
        guard shape.count == 3, let leaf = name.dottedComponents.last.map(String.init),
            ExpertLayouts.stackedParameters.contains(leaf)
        else { return whole }
        let stack = whole.splitByExpert
        guard transposesOnDisk else { return stack }
        let container = tensor.dottedComponents.dropLast().joined(separator: ".")
        guard let gateUp = base.shape(container + ".gate_up_proj"), let down = base.shape(container + ".down_proj"),
            gateUp.count == 3, down.count == 3
        else {
            throw PeftfileError(
                .refused,
                "of the experts' gate_up_proj and down_proj one is missing, and only the pair tells their layout",
                tensor: key, rule: "ExpertShapes", help: "check the base checkpoint")
        }
        return try DiskTransposition.applied(to: stack, gateUp: gateUp, down: down)
    }

    private func tied(_ spellings: TensorSpellings, form: PrefixForm) throws(PeftfileError) -> StoredParameter? {
        for spelling in spellings.names {
            for member in sharedBlocks.partners(of: spelling) {
                guard var partner = try stored(self.spellings(member), form: form) else { continue }
                partner.untiedName = ExactString(form.apply(spelling))
                return partner
            }
        }
        for (suffix, rows) in [(".weight", tiedWeights), (".bias", tiedBiases)] {
            for spelling in spellings.names where spelling.hasSuffix(suffix) {
                let module = String(spelling.dropLast(suffix.count))
                for row in rows {
                    guard let (position, members) = row.find(module) else { continue }
                    for (index, member) in members.enumerated() where index != position {
                        guard mayTieHead || max(index, position) < row.fixed else { continue }
                        if var partner = try stored(self.spellings(member + suffix), form: form) {
                            partner.untiedName = ExactString(form.apply(spelling))
                            return partner
                        }
                    }
                }
            }
        }
        return nil
    }

    /// The names under which parameters tied to the stored tensor `name` would be stored on their own.
    func tiedPartners(of name: String, basePrefixes: [String], fixedOnly: Bool = false) -> [ExactString] {
        guard base.shape(name) != nil else { return [] }
        var partners = sharedBlocks.partners(of: name).map { ExactString($0) }.filter { base.shapes[$0] == nil }
        let forms = [PrefixForm.identity] + basePrefixes.map { PrefixForm([FrontRewrite($0 + ".", "")]) }
        for (suffix, rows) in [(".weight", tiedWeights), (".bias", tiedBiases)] where name.hasSuffix(suffix) {
            for row in rows {
                let alone = forms.map { form in row.members.map { form.apply($0 + suffix) } }
                let inside = row.find(String(name.dropLast(suffix.utf8.count))).map { [$0.modules.map { $0 + suffix }] } ?? []
                for stored in alone + inside {
                    guard let position = stored.firstIndex(of: name) else { continue }
                    // Many models have an `lm_head`: it tells a row only together with the row's embedding.
                    if position > 0 && row.modelTypes == nil && base.shape(stored[0]) == nil { continue }
                    for (index, partner) in stored.enumerated() where index != position {
                        let isFixed = max(index, position) < row.fixed
                        if fixedOnly && !isFixed { continue }
                        guard isFixed || (mayTieHead && TiedWeights.hasLanguageModelHead(base)) else { continue }
                        let key = ExactString(partner)
                        // Stored apart and not declared tied: two tensors.
                        let declared =
                            isFixed || base.tieWordEmbeddings == true || base.textTieWordEmbeddings == true
                        if base.shapes[key] != nil && !declared { continue }
                        if !partners.contains(key) { partners.append(key) }
                    }
                    break
                }
            }
        }
        return partners
    }
}

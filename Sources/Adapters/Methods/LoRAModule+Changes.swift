import ByteAccess
import Tensors

extension LoRAModule {
    /// The module's changes to the base, with scale, variant and shapes decided.
    func changes(
        at place: ParameterPlace, biasAt: ParameterPlace?, config: LoRAConfig, context: BindingContext
    ) throws -> [ParameterUpdate] {
        let isStack = place.shape.count == 3 && !isConvolution
        // PEFT looks up rank and alpha of a target parameter under module and parameter name.
        let key = depth > 0 || isStack || isTargetParameter(config.targetParameters)
            ? "\(path).\(place.parameter)" : path.text
        let rank = rank(config.rank(for: key), in: config)
        let experts = isStack ? place.shape[0] : 1
        try checkRank(rank, experts: experts, hasConfiguredRank: config.hasConfiguredRank)
        if let blocks = config.blockDiagonal, try isBlockDiagonal(blocks) != .neither {
            let shape = try updateShape(config)
            let wanted = place.updateTransposed ? [shape.columns, shape.rows] : [shape.rows, shape.columns]
            guard place.shape == wanted else {
                throw PeftfileError(
                    .refused, "has shape \(a.shape), which makes an update of \(shape.rows) × \(shape.columns) in "
                        + "\(blocks.blocks) blocks, and the base's is \(place.shape)", tensor: a.name, rule: "ShapeMismatch",
                    help: "merge onto the base that the adapter was trained on")
            }
        }
        if !config.hasOwnScale(path.text), isConvolution, a.shape.count != place.shape.count {
            throw PeftfileError(
                .refused, "has shape \(a.shape), and the base's layer has \(place.shape.count) dimensions", tensor: a.name, rule: "ShapeMismatch",
                help: "merge onto the base that the adapter was trained on")
        }
        let adapter = context.adapterIndex
        let scale = config.scale(for: key)
        let factor = scale * context.weight * Double(place.multiplicity)
        let target = AdapterTarget(
            module: path, method: config.name, rank: rank, alpha: config.alpha(for: key), scale: scale)

        var changes: [ParameterUpdate] = []
        func add(_ change: ParameterUpdate.Change) {
            changes.append(ParameterUpdate(place: place, change: change, target: target))
        }

        // PEFT leaves an embedding's base as it is, whatever init_lora_weights says (`Embedding.update_layer`), and cannot
        // initialise other layers than Linear in these ways.
        let initialisation = isEmbedding ? .none : config.initialisation
        if initialisation != .none, isConvolution || isStack || place.parameter != "weight" {
            throw unsupportedLayout(config.name)
        }
        switch initialisation {
        case .none: break
        case .principalComponents:
            add(.decomposition(.principalComponents(rank: rank), scale: context.weight))
        case .orthonormalFactors:
            guard !place.updateTransposed else { throw unsupportedLayout("OLoRA") }
            add(.decomposition(.orthonormalFactors(rank: rank, scale: scale), scale: context.weight))
        }
        if config.usesKaSA {
            guard !place.updateTransposed, !isEmbedding, !isConvolution, !isStack else { throw unsupportedLayout("KaSA") }
            add(.decomposition(.minorComponents(rank: rank), scale: context.weight))
        }
        let width = place.shape.count == 2 ? place.shape[1] : nil
        for term in try lowRankTerms(rank: rank, experts: experts, width: width, adapter: adapter, config: config) {
            add(
                .lowRank(
                    expert: isStack ? term.expert : nil, left: term.left, right: term.right,
                    scale: factor * term.scale, region: term.region))
        }
        if config.usesDoRA {
            guard let magnitude else {
                throw PeftfileError(
                    .refused, "module \"\(path)\" has no lora_magnitude_vector, and the config says use_dora",
                    tensor: a.name, rule: "MagnitudeMissing", help: "save the adapter again")
            }
            guard !isStack else { throw unsupportedLayout("DoRA") }
            guard context.weight == 1 else {
                throw PeftfileError(
                    .refused, "DoRA's update is not additive and cannot be weighted", tensor: magnitude.name,
                    rule: "WeightedDoRA", help: "merge this adapter alone, with weight 1")
            }
            var values = Factor(adapter: adapter, info: magnitude)
            values.columns = magnitude.elementCount
            values.rows = 1
            values.rowStride = magnitude.elementCount
            add(.magnitude(values: values, perColumn: isEmbedding))
        } else if let magnitude {
            throw PeftfileError(
                .refused, "is a DoRA magnitude, and the config does not say use_dora", tensor: magnitude.name,
                rule: "MagnitudeUnexpected", help: "set use_dora in adapter_config.json if it was trained with DoRA")
        }
        if let bias, let biasAt {
            changes.append(
                ParameterUpdate(
                    place: biasAt, change: .add(values: Factor(adapter: adapter, info: bias), scale: factor)))
        }
        return changes
    }

    /// The rank that the factors have where the config says `configured`: initialisations that cut them out of the base's own
    /// decomposition have no more than the matrix has rows or columns, and PEFT keeps the scale of the config's r
    /// (`LoraLayer.pissa_init`, `olora_init`).
    func rank(_ configured: Int, in config: LoRAConfig) -> Int {
        guard config.isCutOutOfBase, !isEmbedding, a.shape.count == 2, b.shape.count == 2 else { return configured }
        return min(configured, b.shape[0], a.shape[1])
    }

    /// Refuses a stack of experts where one matrix is asked for: a dialect that says each module's rank has them under one name, and what
    /// they are called elsewhere, and how they lie, is told by the base alone.
    func requireOneMatrix(_ rank: Int, _ config: LoRAConfig) throws {
        guard config.hasOwnScale(path.text), rank > 0, storedRank > rank, storedRank.isMultiple(of: rank), b.columnCount == storedRank else { return }
        throw PeftfileError(
            .refused, "holds \(storedRank / rank) experts of rank \(rank) in one tensor, and stacks of experts are not converted from this dialect", tensor: a.name,
            rule: "NotConvertible", help: "merge it onto its base instead")
    }

    /// Holds the stored rank against the config's.
    func checkRank(_ rank: Int, experts: Int, hasConfiguredRank: Bool) throws {
        if rank > 0, storedRank != rank, a.shape.count == 2, a.shape[1] == rank, b.shape.first == rank, !isEmbedding {
            throw PeftfileError(
                .refused, "has shape \(a.shape), and lora_B \(b.shape): both are stored transposed", tensor: a.name,
                rule: "TransposedFactors", help: "transpose them: lora_A is (r, in) and lora_B (out, r)")
        }
        guard rank > 0, storedRank == rank * experts else {
            if rank > 0, experts > 1, !storedRank.isMultiple(of: experts) {
                throw PeftfileError(
                    .refused, "has \(storedRank) rows, which do not divide among the \(experts) experts of the base", tensor: a.name,
                    rule: "RankMismatch", help: "merge onto the base that the adapter was trained on")
            }
            let says = hasConfiguredRank ? "the config says \(rank)" : "the config has no r, for which PEFT takes \(rank)"
            throw PeftfileError(
                .refused,
                "has rank \(storedRank)\(experts > 1 ? " for \(experts) experts" : ""), and \(says): the scale would be wrong",
                tensor: a.name, rule: "RankMismatch", help: "correct r or rank_pattern in adapter_config.json")
        }
    }

    /// A part of the module's low-rank update.
    struct Term {
        var expert: Int?
        var left: Factor
        var right: Factor
        /// What multiplies the scaling: QALoRA's group factor, 1 for all else.
        var scale = 1.0
        /// The rectangle of B·A that the term covers; nil for all of it.
        var region: Region?
    }

    /// The parts of B·A, by expert or by block.
    ///
    /// - Parameter width: the columns of the base's matrix; nil where it is none, or not known.
    func lowRankTerms(rank: Int, experts: Int, width: Int?, adapter: Int, config: LoRAConfig) throws -> [Term] {
        let aFactor = Factor(adapter: adapter, info: a)
        let bFactor = Factor(adapter: adapter, info: b)
        if isEmbedding {
            try requireRank(of: b, columns: rank)
            return [Term(left: aFactor.transposed, right: bFactor.transposed)]
        }
        if config.usesKaSA, diagonal?.elementCount != rank {
            throw PeftfileError(
                .refused, "module \"\(path)\" has no lora_diag of \(rank) elements, and the config says kasa_config",
                tensor: a.name, rule: "DiagonalMissing",
                help: "save the adapter again, or take kasa_config out of adapter_config.json if it was trained without")
        }
        if let blocks = config.blockDiagonal {
            return try blockTerms(blocks, rank: rank, a: aFactor, b: bFactor)
        }
        if experts > 1 {
            try requireRank(of: b, columns: rank * experts)
            guard let order = config.expertOrder else {
                throw UnslothExperts.undecided(b.name, experts: experts)
            }
            return (0..<experts).map { expert in
                // A's rows are expert-major, (E, r, in); B's columns rank-major, (out, r, E), or (out, E, r).
                var left = bFactor
                left.columns = rank
                left.offset = order == .rankMajor ? expert : expert * rank
                left.columnStride = order == .rankMajor ? experts : 1
                return Term(
                    expert: expert, left: left, right: aFactor.rows((expert * rank)..<((expert + 1) * rank)))
            }
        }
        try requireRank(of: b, columns: rank)
        var term = Term(expert: 0, left: bFactor, right: aFactor)
        // PEFT builds QALoRA's pooled factor for GPTQ layers only; on any other layer `use_qalora` trains plain LoRA. The
        // width of A tells which it was.
        if let group = config.groupSize, let width, width == aFactor.columns * group, group > 1 {
            // A sees the mean of each input group times the number of groups: A_full[k, j] = A[k, j / g]·(in / g) / g.
            term.right.columnRepeat = group
            term.right.columns = aFactor.columns * group
            term.scale = Double(aFactor.columns) / Double(group)
        }
        if config.usesKaSA {
            term.left.diagonal = diagonal?.name
        } else if let diagonal {
            throw PeftfileError(
                .refused, "is KaSA's diagonal, and the config has no kasa_config", tensor: diagonal.name,
                rule: "DiagonalUnexpected", help: "restore kasa_config in adapter_config.json")
        }
        return [term]
    }

    /// BD-LoRA: block b of a block-diagonal A meets only its own input columns, block b of a block-diagonal B only its
    /// own output rows. Source: `BlockDiagonalLinear.weight_as_blockdiagonal_matrix` in peft.
    private func blockTerms(_ config: LoRAConfig.BlockDiagonal, rank: Int, a: Factor, b: Factor) throws -> [Term] {
        let blocks = config.blocks
        let part = rank / blocks
        func indivisible(_ info: TensorInfo) -> PeftfileError {
            PeftfileError(
                .refused, "shape \(info.shape) does not divide into \(blocks) blocks", tensor: info.name,
                rule: "BlockDiagonal")
        }
        switch try isBlockDiagonal(config) {
        case .neither:
            try requireRank(of: self.b, columns: rank)
            return [Term(left: b, right: a)]
        case .inA:
            guard rank % blocks == 0 else { throw indivisible(self.a) }
            try requireRank(of: self.b, columns: rank)
            return (0..<blocks).map { block in
                let ranks = (block * part)..<((block + 1) * part)
                return Term(
                    left: b.columns(ranks), right: a.rows(ranks),
                    region: Region(rows: 0..<b.rows, columns: (block * a.columns)..<((block + 1) * a.columns)))
            }
        case .inB:
            guard rank % blocks == 0, b.rows % blocks == 0 else { throw indivisible(self.b) }
            try requireRank(of: self.b, columns: part)
            let height = b.rows / blocks
            return (0..<blocks).map { block in
                let rows = (block * height)..<((block + 1) * height)
                return Term(
                    left: b.rows(rows), right: a.rows((block * part)..<((block + 1) * part)),
                    region: Region(rows: rows, columns: 0..<a.columns))
            }
        }
    }

    private func requireRank(of info: TensorInfo, columns: Int) throws {
        guard info.columnCount == columns else {
            throw PeftfileError(
                .refused, "has shape \(info.shape), which does not fit lora_A's \(a.shape)", tensor: info.name,
                rule: "RankMismatch", help: "save the adapter again; the two factors of a module share their rank")
        }
    }

    private func unsupportedLayout(_ variant: String) -> PeftfileError {
        PeftfileError(
            .refused, "\(variant) is not defined for this kind of layer, and PEFT does not train it", tensor: a.name,
            rule: "VariantLayout")
    }
}

import ByteAccess
import Checkpoints
import Tensors

/// Turns changes to in-memory parameters into recipes for stored tensors.
struct RecipeAssembly {
    let base: Checkpoint
    let view: BaseView
    let adapters: [Adapter]
    /// Recipes by output name; a tied side that the file does not hold has the name it would be stored under.
    var recipes: [ExactString: TensorRecipe] = [:]
    /// The stored tensor behind a tied side.
    var tiedSource: [ExactString: ExactString] = [:]
    /// Changes to the tied parameter itself, by stored tensor: every side sees them.
    var sharedReplacement: [ExactString: (adapter: Int, tensor: ExactString)] = [:]
    var sharedRows: [ExactString: [TensorRecipe.RowReplacement]] = [:]
    /// Which adapter replaced the source of a recipe.
    private var replacedBy: [ExactString: Int] = [:]
    /// Which adapters changed a recipe in a way that is not a sum.
    private var nonAdditiveBy: [ExactString: Int] = [:]
    private var changedBy: [Int: Set<ExactString>] = [:]
    /// Vocabulary sizes of the base that an adapter changed, with the new ones.
    private var resized: [Int: Int] = [:]
    private var additions: [(name: ExactString, recipe: TensorRecipe)] = []
    var configChanges: [Binding.ConfigChange] = []
    var warnings: [String] = []

    init(base: Checkpoint, view: BaseView, adapters: [Adapter]) {
        self.base = base
        self.view = view
        self.adapters = adapters
    }

    mutating func add(_ bound: consuming MethodUpdates, adapter: Int) throws {
        // Replacements first: an update of a resized embedding fits the adapter's copy and not the base's.
        try requireOneModulePerPiece(bound)
        for change in bound.changes where change.isReplacement { try applyPieces(of: change, adapter: adapter) }
        // Each goes once its recipe has it: there may be tens of thousands.
        bound.changes.reverse()
        while let change = bound.changes.popLast() {
            if !change.isReplacement { try applyPieces(of: change, adapter: adapter) }
        }
        for addition in bound.additions {
            guard let info = adapters[adapter].tensor(addition.tensor) else { continue }
            if additions.contains(where: { $0.name == addition.name }) || view[addition.name] != nil {
                throw twice(addition.name)
            }
            let dtype = base.mainDType ?? info.dtype
            additions.append(
                (
                    addition.name,
                    TensorRecipe(
                        name: addition.name, source: .adapter(adapter, addition.tensor), sourceDType: info.dtype,
                        dtype: dtype, shape: info.shape)
                ))
        }
    }

    /// An input embedding and an output head must have the same number of rows, or no loader takes the model.
    func requireOneVocabulary() throws {
        guard !resized.isEmpty else { return }
        for output in outputs() {
            let recipe = output.recipe
            guard recipe.shape.count == 2, let new = resized[recipe.shape[0]], new != recipe.shape[0],
                SavedParameters.isEmbedding(recipe.name)
            else { continue }
            throw PeftfileError(
                .refused, "has \(recipe.shape[0]) rows, and the adapter gives the vocabulary \(new)", file: base.path,
                tensor: recipe.name, rule: "VocabularySize",
                help: "save the adapter with save_embedding_layers=True, so that it holds both embeddings")
        }
    }

    /// All outputs: the base's tensors in their order, then what was added.
    func outputs() -> [Binding.Output] {
        var result: [Binding.Output] = []
        result.reserveCapacity(view.count)
        var added: [Binding.Output] = []
        for entry in view.entries {
            let recipe = recipes[entry.name] ?? untouched(entry)
            let output = Binding.Output(recipe: recipe, shard: entry.stored.shard, isAdded: entry.isAdded)
            if entry.isAdded { added.append(output) } else { result.append(output) }
        }
        for (name, recipe) in recipes where view[name] == nil {
            let shard = tiedSource[name].flatMap { view[$0]?.stored.shard } ?? max(0, base.shards.count - 1)
            added.append(.init(recipe: recipe, shard: shard, isAdded: true))
        }
        for addition in additions {
            added.append(.init(recipe: addition.recipe, shard: max(0, base.shards.count - 1), isAdded: true))
        }
        result += added.sorted { $0.recipe.name < $1.recipe.name }
        return result
    }

    /// A tensor that no adapter changes. Three dimensions are cut into rows of the last one: a stack of experts is not taken whole.
    private func untouched(_ entry: BaseView.Entry) -> TensorRecipe {
        var recipe = copy(of: entry, as: entry.name)
        recipe.isExpertStack = recipe.shape.count == 3
        return recipe
    }

    func copy(of entry: BaseView.Entry, as name: ExactString) -> TensorRecipe {
        var recipe = TensorRecipe(
            name: name, source: .base(entry.stored.info.name), sourceDType: entry.stored.info.dtype,
            dtype: base.plainDType(of: entry.stored), shape: entry.stored.info.shape)
        recipe.isDequantised = entry.stored.quantised != nil
        return recipe
    }

    private mutating func applyPieces(of change: ParameterUpdate, adapter: Int) throws {
        for piece in change.place.pieces { try apply(change, piece, adapter: adapter) }
    }

    /// Two modules of one adapter that lead to the same stored piece would be added up, which no model does.
    private func requireOneModulePerPiece(_ bound: MethodUpdates) throws {
        struct Slot: Hashable {
            let name: ExactString
            let piece: ParameterPiece
        }
        var owners: [Slot: ExactString] = [:]
        for change in bound.changes {
            guard change.change.isUpdate, let module = change.target?.module else { continue }
            for piece in change.place.pieces {
                let slot = Slot(name: change.place.untiedName ?? piece.tensor, piece: piece)
                guard let owner = owners.updateValue(module, forKey: slot), owner != module else { continue }
                throw PeftfileError(
                    .refused, "modules \"\(owner)\" and \"\(module)\" of one adapter both lead to it", tensor: slot.name,
                    rule: "SameTarget", help: "remove the tensors of one of the two")
            }
        }
    }

    // MARK: One change on one piece

    private mutating func apply(_ update: ParameterUpdate, _ piece: ParameterPiece, adapter: Int) throws {
        guard let entry = view[piece.tensor] else {
            throw PeftfileError(.refused, "is not in the base", tensor: piece.tensor, rule: "MissingTarget")
        }
        let name = update.place.untiedName ?? piece.tensor
        if update.place.untiedName != nil { tiedSource[name] = piece.tensor }
        var recipe = recipes[name] ?? copy(of: entry, as: name)
        if piece.storedExpert != nil { recipe.isExpertStack = true }
        let place = PiecePlacement(place: update.place, piece: piece, recipe: recipe)

        switch update.change {
        case .lowRank(let expert, let left, let right, let scale, let region):
            if let expert, let own = piece.expert, own != expert { return }
            try requireMergeable(recipe)
            guard let placed = try place.lowRank(left: left, right: right, region: region) else { return }
            recipe.updates.append(
                .init(region: placed.region, update: .lowRank(left: placed.left, right: placed.right, scale: scale)))
        case .add(let values, let scale):
            try requireMergeable(recipe)
            let (region, part) = try place.vector(values)
            recipe.updates.append(.init(region: region, update: .dense(values: part, scale: scale)))
        case .decomposition(let decomposition, let scale):
            try requireMergeable(recipe)
            try place.requireWhole("a part of the base that is decomposed")
            recipe.updates.append(
                .init(
                    region: Region(rows: 0..<recipe.rows, columns: 0..<recipe.columns),
                    update: .decomposed(
                        decomposition, transposed: update.place.updateTransposed != piece.transposed, scale: scale)))
        case .bottleneck(let bottleneck, let scale):
            try requireMergeable(recipe)
            try RecipeAssembly.fold(bottleneck, scale: scale, into: &recipe, at: place)
            try noteNotAdditive(name, adapter: adapter)
        case .term(let expression, let scale):
            try requireMergeable(recipe)
            let placed = try place.expression(expression)
            recipe.updates.append(.init(region: placed.region, update: .term(placed.expression, scale: scale)))
        case .transform(let expression):
            try requireMergeable(recipe)
            let placed = try place.expression(expression)
            recipe.transforms.append(.init(region: placed.region, expression: placed.expression))
            try noteNotAdditive(name, adapter: adapter)
        case .magnitude(let values, let perColumn):
            recipe.magnitudes.append(try place.magnitude(values, perColumn: perColumn))
            try noteNotAdditive(name, adapter: adapter)
        case .replace(let tensor, let shared):
            if let other = replacedBy.updateValue(adapter, forKey: name), other != adapter { throw twice(name) }
            try replace(&recipe, with: tensor, adapter: adapter, place: place, entry: entry)
            if shared, place.isWhole { sharedReplacement[piece.tensor] = (adapter, tensor) }
        case .replaceRows(let indices, let values):
            let replacement = try place.rowReplacement(indices: indices, values: values)
            if let earlier = recipe.rowReplacements.first(where: { $0.values.adapter != adapter }),
                !Set(earlier.rows).isDisjoint(with: replacement.rows)
            {
                throw twice(name)
            }
            recipe.rowReplacements.append(replacement)
            // The embedding's token adapter serves the modules tied to it; one on the head serves the head alone.
            if update.place.untiedName == nil { sharedRows[piece.tensor, default: []].append(replacement) }
        }
        if let other = nonAdditiveBy[name], other != adapter { throw notAdditive(name) }
        changedBy[adapter, default: []].insert(name)
        recipes[name] = recipe
    }

    private mutating func noteNotAdditive(_ name: ExactString, adapter: Int) throws {
        guard !changedBy.contains(where: { $0.key != adapter && $0.value.contains(name) }) else { throw notAdditive(name) }
        nonAdditiveBy[name] = adapter
    }

    private func requireMergeable(_ recipe: TensorRecipe) throws {
        guard recipe.sourceDType.isMergeable else {
            throw PeftfileError(
                .unsupported, "has dtype \(recipe.sourceDType.rawValue), and an update needs F64, F32, F16 or BF16",
                file: base.path, tensor: recipe.name, rule: "BaseDType",
                help: "dequantise the base first; adding an update to raw codes would be wrong")
        }
    }

    private mutating func replace(
        _ recipe: inout TensorRecipe, with tensor: ExactString, adapter: Int, place: PiecePlacement, entry: BaseView.Entry
    ) throws {
        guard let info = adapters[adapter].tensor(tensor) else { return }
        // Counters and masks come through as they are; a number is converted only between floating-point dtypes.
        guard info.dtype == recipe.sourceDType || info.dtype.isMergeable && recipe.sourceDType.isMergeable else {
            throw PeftfileError(
                .refused, "has dtype \(info.dtype.rawValue), and the base's \(recipe.name) is \(recipe.sourceDType.rawValue)",
                tensor: tensor, rule: "SavedDType")
        }
        guard place.isWhole else {
            recipe.rowReplacements.append(try place.partReplacement(Factor(adapter: adapter, info: info), shape: info.shape))
            return
        }
        let stored = entry.stored.info
        let isResized = info.shape != stored.shape
        if isResized {
            guard info.shape.count == 2, stored.shape.count == 2, info.shape[1] == stored.shape[1] else {
                throw PeftfileError(
                    .refused, "has shape \(info.shape), and the base's \(stored.name) has \(stored.shape)", tensor: tensor,
                    rule: "ShapeMismatch", help: "merge onto the base that the adapter was trained on")
            }
            try noteVocabulary(old: stored.shape[0], new: info.shape[0], tensor: tensor)
        }
        recipe.source = .adapter(adapter, tensor)
        recipe.sourceDType = info.dtype
        recipe.isDequantised = false
        recipe.shape = info.shape
    }

    /// A tensor with another number of rows is an embedding whose vocabulary was resized; the config must follow.
    private mutating func noteVocabulary(old: Int, new: Int, tensor: ExactString) throws {
        resized[old] = new
        guard let config = base.config else { return }
        var isKnown = false
        for parent: ExactString? in [nil, "text_config"] {
            guard let object = parent.map({ config[$0]?.objectValue }) ?? config, object["vocab_size"]?.intValue == old
            else { continue }
            let path = (parent.map { [$0] } ?? []) + ["vocab_size"]
            configChanges.removeAll { $0.path == path }
            configChanges.append(.init(path: path, value: .number(JSONNumber(new))))
            isKnown = true
        }
        if isKnown { return }
        throw PeftfileError(
            .refused, "has \(new) rows where the base has \(old), and that is not the config's vocab_size", tensor: tensor,
            rule: "ShapeMismatch", help: "merge onto the base that the adapter was trained on")
    }

    private func twice(_ name: ExactString) -> PeftfileError {
        PeftfileError(
            .refused, "two adapters replace it", tensor: name, rule: "ReplacedTwice", help: "merge one of them alone")
    }

    private func notAdditive(_ name: ExactString) -> PeftfileError {
        PeftfileError(
            .refused, "two adapters change it, and one of them multiplies it: their changes are no sum of updates", tensor: name,
            rule: "NotAdditive", help: "merge one adapter, then merge the other onto the result")
    }
}

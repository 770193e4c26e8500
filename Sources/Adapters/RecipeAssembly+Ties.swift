import ByteAccess
import Checkpoints
import Tensors

extension RecipeAssembly {
    /// Decides, for every tied tensor that an adapter touches, whether one tensor still stands for all sides.
    ///
    /// The file of a tied model holds one tensor for the embedding and the output head. The sides stay tied where all
    /// come out equal. Where they differ, `.break` writes each side on its own and sets `tie_word_embeddings` to false,
    /// so that the merged model answers as the unmerged one; `.keep` applies every side's update to the one tensor, as
    /// PEFT's in-place merge does.
    mutating func resolveTies(names: NameResolver, tie: BindingOptions.Tie) throws {
        var touched: [ExactString] = []
        for name in recipes.keys.sorted() {
            let stored = tiedSource[name] ?? name
            if !touched.contains(stored), tiedSource[name] != nil || !names.tiedPartners(of: stored).isEmpty {
                touched.append(stored)
            }
        }
        for stored in touched { try resolveTie(of: stored, names: names, tie: tie) }
        if isUntied, names.headScale == nil { writeOtherSides(names: names) }
    }

    /// Whether a tie was broken.
    private var isUntied: Bool { configChanges.contains { $0.path.last == "tie_word_embeddings" && $0.value == .bool(false) } }

    /// Gives every other tied parameter a tensor of its own: with `tie_word_embeddings` false transformers 5 ties none of
    /// `_tied_weights_keys`, and what no file has is made new: the bias of a head, the embeddings of BART's encoder and decoder. Up to
    /// version 4 these were one module whatever the config said, and loads the same values twice.
    ///
    /// Source: `get_expanded_tied_weights_keys` in modeling_utils.py.
    private mutating func writeOtherSides(names: NameResolver) {
        var written: [String] = []
        for stored in view.directory.names {
            guard let entry = view[stored] else { continue }
            for partner in names.tiedPartners(of: stored) where view[partner] == nil && recipes[partner] == nil && mayHold(partner) {
                recipes[partner] = named(side(stored, of: stored, entry: entry), partner)
                tiedSource[partner] = stored
                written.append(partner.text)
            }
        }
        guard !written.isEmpty else { return }
        warnings.append("\(written.joined(separator: ", ")): written too, since with tie_word_embeddings false transformers 5 ties nothing")
    }

    /// Whether the class that was saved has what the parameter's module is in: a speech model without a text encoder has none of its
    /// embeddings.
    private func mayHold(_ name: ExactString) -> Bool {
        let front = name.text.dottedComponents.dropLast(2).joined(separator: ".") + "."
        return front == "." || view.directory.names.contains { $0.text.hasPrefix(front) }
    }

    private mutating func resolveTie(of stored: ExactString, names: NameResolver, tie: BindingOptions.Tie) throws {
        guard let entry = view[stored] else { return }
        // Both sides in the file with different values: the loader cannot tie them, whatever the config says.
        var partners = try names.tiedPartners(of: stored).filter { try view[$0] == nil || holdsSameBytes($0, stored) }
        for (name, source) in tiedSource where source == stored && !partners.contains(name) { partners.append(name) }
        partners.sort()
        let first = side(stored, of: stored, entry: entry)
        let isEnsured = adapters.contains(where: \.movesTiedHead)
        let sides = [first] + partners.map { partner in
            isEnsured && recipes[partner] == nil && recipes[stored] != nil
                ? named(first, partner) : side(partner, of: stored, entry: entry)
        }
        let comparison = RecipeComparison(base: base, adapters: adapters)
        let allEqual = try sides.dropFirst().allSatisfy { try comparison.areEqual(first, $0) }
        if allEqual {
            let result = first.isCopy && !isReplaced(first) ? nil : first
            recipes[stored] = result
            for partner in partners {
                // A file may hold both sides although the config ties them: then both get the same values.
                recipes[partner] = view[partner] == nil ? nil : result.map { named($0, partner) }
            }
            return
        }
        do {
            try apply(tie, stored, partners, sides, names)
        } catch var error as PeftfileError {
            if error.help == nil {
                var other = self
                let isOpen = (try? other.apply(tie == .break ? .keep : .break, stored, partners, sides, names)) != nil
                error.help = switch (isOpen, tie) {
                case (true, .break): "merge with --tie keep, which moves both sides"
                case (true, .keep): "merge with --tie break, which writes both"
                case (false, _): "no tensor of this model stands for what the adapter has: load it beside the base"
                }
            }
            throw error
        }
    }

    private mutating func apply(
        _ tie: BindingOptions.Tie, _ stored: ExactString, _ partners: [ExactString], _ sides: [TensorRecipe], _ names: NameResolver
    ) throws {
        switch tie {
        case .break: try breakTie(stored, sides, names: names)
        case .keep: try keepTie(stored, partners, sides, names: names)
        }
    }

    /// The recipe of one side, with what was done to the tied parameter itself.
    private func side(_ name: ExactString, of stored: ExactString, entry: BaseView.Entry) -> TensorRecipe {
        var recipe = recipes[name] ?? copy(of: entry, as: name)
        if !isReplaced(recipe), let shared = sharedReplacement[stored], let info = adapters[shared.adapter].tensor(shared.tensor) {
            recipe.source = .adapter(shared.adapter, shared.tensor)
            recipe.sourceDType = info.dtype
            recipe.shape = info.shape
        }
        if recipe.rowReplacements.isEmpty, !isReplaced(recipe) || sharedReplacement[stored] != nil {
            recipe.rowReplacements = sharedRows[stored] ?? []
        }
        return recipe
    }

    private func isReplaced(_ recipe: TensorRecipe) -> Bool {
        if case .adapter = recipe.source { return true }
        return false
    }

    private func holdsSameBytes(_ left: ExactString, _ right: ExactString) throws -> Bool {
        guard let a = view[left]?.stored, let b = view[right]?.stored else { return false }
        return try a.dtype == b.dtype && a.shape == b.shape && base.read(a) == base.read(b)
    }

    private mutating func breakTie(_ stored: ExactString, _ sides: [TensorRecipe], names: NameResolver) throws {
        let shared = Set(names.sharedModules(of: stored))
        let comparison = RecipeComparison(base: base, adapters: adapters)
        let (module, moved) = try oneModule(sides, shared: shared, comparison)
        let sides = [module] + sides.dropFirst().filter { !shared.contains($0.name) }
        let isApart = try sides.dropFirst().contains { try !comparison.areEqual(module, $0) }
        if moved != nil || isApart && names.headScale == .tied {
            throw PeftfileError(
                .refused, moved.map { "is one module with \($0.name) in this model, and the two do not get the same update" }
                    ?? "is tied to the head, and in this model untying them also changes how the head's input is scaled",
                file: base.path, tensor: stored, rule: "TiedEmbeddings")
        }
        for recipe in sides {
            recipes[recipe.name] = isApart || recipe.name == stored || view[recipe.name] != nil ? recipe : nil
            if recipe.name != stored { tiedSource[recipe.name] = stored }
        }
        // What the file holds of the same module changes with it; what it lacks is written when all ties are resolved.
        for name in shared { recipes[name] = view[name] == nil || module.isCopy && !isReplaced(module) ? nil : named(module, name) }
        guard isApart else { return }
        let changes = tieFlags(false)
        // A GGUF file without a head of its own is tied, and one with such a head is not.
        guard base.config != nil || base.gguf != nil else {
            throw PeftfileError(
                .refused, "is tied to \(sides.dropFirst().map(\.name.text).joined(separator: ", ")), which the update leaves "
                    + "different, and there is no config.json in which to untie them", file: base.path, tensor: stored,
                rule: "TiedEmbeddings", help: "give the base as a directory with its config.json, or merge with --tie keep")
        }
        configChanges += changes
        // Without a word of its own the scale goes by the tie that is broken.
        if names.headScale == .ofItsOwn, let config = base.config, config["scale_decoder_outputs"] == nil {
            configChanges.append(.init(path: ["scale_decoder_outputs"], value: .bool(config["tie_word_embeddings"]?.boolValue != false)))
        }
        if names.headScale == .ofItsOwn {
            warnings.append("the head's input is scaled by scale_decoder_outputs, which transformers 5 reads; version 4 took tie_word_embeddings = false for no scale")
        }
        let partners = sides.dropFirst().map(\.name).filter { !shared.contains($0) }.map(\.text).joined(separator: ", ")
        warnings.append(
            "\(stored.text) and \(partners) were one tied tensor and now differ: both are written, and "
                + (base.config != nil
                    ? "tie_word_embeddings is set to false"
                    : "a config.json beside them has to say tie_word_embeddings = false, where a GGUF file tells by itself"))
    }

    /// What becomes of a module that has several names in the model and one in its files, and a name whose update is another.
    ///
    /// `modules_to_save` trains a copy under each name that it finds, and leaves the module itself under the others. Where the copies are alike,
    /// and the module under the name of its tensor is none of them, they are what the model reads (T5's encoder and decoder, whose `shared`
    /// nobody calls). A copy under that name alone is what transformers saves, and all the names are loaded from it.
    ///
    /// Source: `save_pretrained` of PEFT's merged model, `remove_tied_weights_from_state_dict` in transformers' modeling_utils.py.
    private mutating func oneModule(
        _ sides: [TensorRecipe], shared: Set<ExactString>, _ comparison: RecipeComparison
    ) throws -> (module: TensorRecipe, moved: TensorRecipe?) {
        let (first, others) = (sides[0], sides.dropFirst().filter { shared.contains($0.name) })
        guard let moved = try others.first(where: { try !comparison.areEqual(first, $0) }) else { return (first, nil) }
        func isUntouched(_ recipe: TensorRecipe) -> Bool { recipe.isCopy && !isReplaced(recipe) }
        if isUntouched(first), isReplaced(moved), try others.allSatisfy({ try comparison.areEqual(moved, $0) }) {
            return (named(moved, first.name), nil)
        }
        guard isReplaced(first), others.allSatisfy(isUntouched) else { return (first, moved) }
        warnings.append(
            "\(first.name.text): the adapter has a copy of it, which the unmerged model does not read as \(others.map(\.name.text).joined(separator: " and ")); "
                + "all are loaded from it, as from what PEFT saves")
        return (first, nil)
    }

    private mutating func keepTie(_ stored: ExactString, _ partners: [ExactString], _ sides: [TensorRecipe], names: NameResolver) throws {
        var merged = sides[0]
        let comparison = RecipeComparison(base: base, adapters: adapters)
        let copies = sides.filter(isReplaced)
        // Where no file holds the sides apart, the one copy that the adapter has of them stands for all.
        let isOne = try names.headScale != nil && copies.dropFirst().allSatisfy { try comparison.areEqual(copies[0], $0) }
            && sides.allSatisfy { isReplaced($0) || $0.isCopy }
        if isOne, let copy = copies.first { merged = named(copy, stored) }
        for side in sides.dropFirst() where !isOne {
            guard side.source == merged.source, side.rowReplacements == merged.rowReplacements,
                side.magnitudes.isEmpty || merged.updates.isEmpty, side.transforms == merged.transforms
            else {
                throw PeftfileError(
                    .refused, "is tied to \(side.name), and the adapter replaces only one of the two", file: base.path,
                    tensor: stored, rule: "TiedEmbeddings")
            }
            let new = side.updates.filter { !merged.updates.contains($0) }
            guard merged.magnitudes.isEmpty || new.isEmpty else {
                throw PeftfileError(
                    .refused, "is tied to \(side.name), and an adapter rescales one of the two (DoRA)", file: base.path,
                    tensor: stored, rule: "TiedEmbeddings")
            }
            merged.updates += new
            merged.magnitudes += side.magnitudes.filter { !merged.magnitudes.contains($0) }
        }
        recipes[stored] = merged
        for partner in partners { recipes[partner] = view[partner] == nil ? nil : named(merged, partner) }
        warnings.append(
            "\(stored.text) is tied to \(partners.map(\.text).joined(separator: ", ")): the update moves both, which the "
                + "unmerged model does not do (merge with --tie break to write them apart)")
    }

    private func named(_ recipe: TensorRecipe, _ name: ExactString) -> TensorRecipe {
        var copy = recipe
        copy.name = name
        return copy
    }

    /// The changes that set `tie_word_embeddings`, at the top and in the parts that may hold the language model: transformers asks
    /// the one for some models and the other for others, and the decoder of a pair its own config.
    private func tieFlags(_ value: Bool) -> [Binding.ConfigChange] {
        guard let config = base.config else { return [] }
        let key: ExactString = "tie_word_embeddings"
        var changes = [Binding.ConfigChange(path: [key], value: .bool(value))]
        for part in config.members {
            guard let own = part.value.objectValue, part.key == "text_config" || part.key == "decoder" || own[key]?.boolValue == !value
            else { continue }
            changes.append(.init(path: [part.key, key], value: .bool(value)))
        }
        return changes.filter { change in !configChanges.contains { $0.path == change.path } }
    }
}

/// Whether two recipes come to the same bytes, told from the numbers that go into them.
///
/// `ensure_weight_tying` stores one side's factors transposed under other names; products commute exactly, so equal
/// factors in equal order give equal elements.
struct RecipeComparison {
    let base: Checkpoint
    let adapters: [Adapter]
    private let numbers: AdapterNumbers

    init(base: Checkpoint, adapters: [Adapter]) {
        self.base = base
        self.adapters = adapters
        numbers = AdapterNumbers(adapters: adapters, base: base)
    }

    func areEqual(_ left: TensorRecipe, _ right: TensorRecipe) throws -> Bool {
        guard left.dtype == right.dtype, left.sourceDType == right.sourceDType, left.shape == right.shape,
            left.updates.count == right.updates.count, left.magnitudes.count == right.magnitudes.count,
            left.rowReplacements.count == right.rowReplacements.count, left.transforms == right.transforms
        else { return false }
        if left.source != right.source, try bytes(of: left) != bytes(of: right) { return false }
        for (a, b) in zip(left.rowReplacements, right.rowReplacements) {
            guard a.rows == b.rows, a.columns == b.columns, try areEqual(a.values, b.values) else { return false }
        }
        for (a, b) in zip(left.magnitudes, right.magnitudes) {
            guard a.region == b.region, a.axis == b.axis, try areEqual(a.values, b.values) else { return false }
        }
        for (a, b) in zip(left.updates, right.updates) {
            guard a.region == b.region else { return false }
            switch (a.update, b.update) {
            case (.lowRank(let al, let ar, let ascale), .lowRank(let bl, let br, let bscale)):
                guard ascale == bscale, try areEqual(al, bl), try areEqual(ar, br) else { return false }
            case (.dense(let av, let ascale), .dense(let bv, let bscale)):
                guard ascale == bscale, try areEqual(av, bv) else { return false }
            default:
                guard a.update == b.update else { return false }
            }
        }
        return true
    }

    private func areEqual(_ left: Factor, _ right: Factor) throws -> Bool {
        if left == right { return true }
        guard left.rows == right.rows, left.columns == right.columns else { return false }
        let a = try left.matrix(from: numbers)
        let b = try right.matrix(from: numbers)
        return zip(a, b).allSatisfy { $0.bitPattern == $1.bitPattern }
    }

    private func bytes(of recipe: TensorRecipe) throws -> [UInt8] {
        switch recipe.source {
        case .base(let name):
            guard let tensor = base[name] else { return [] }
            return try base.read(tensor)
        case .adapter(let index, let name):
            guard let tensor = adapters[index].checkpoint[name] else { return [] }
            return try adapters[index].checkpoint.read(tensor)
        }
    }
}

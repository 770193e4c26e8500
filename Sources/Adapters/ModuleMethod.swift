import ByteAccess
import Checkpoints
import Tensors

/// A method that changes each of its target modules by that module's own tensors: an expression for the weight, and
/// where it has one, another for the bias.
///
/// A conforming type says which tensors it has, how large its update is, and the formula; finding the parameters in the
/// base, their orientation, saved parameters, tied weights and the accounting of every key are the same for all and
/// stand here.
protocol ModuleMethod: AdapterMethod {
    /// What pages call the method.
    var name: String { get }

    /// Its tensors, as their keys name them after the module's path: `hada_w1_a`, `oft_R`.
    var components: Set<String> { get }

    /// Tensors of an earlier form of the method that has the same `peft_type`, and why they are not merged.
    var retired: (components: Set<String>, reason: String)? { get }

    /// The modules that the adapter changes: those that have tensors, unless the method tells them otherwise.
    ///
    /// - Parameter context: nil where there is no base.
    func modules(of adapter: Adapter, in context: BindingContext?) throws -> [MethodModule]

    /// The tensors that PEFT stores with a module, whose absence neither the module's figures nor its formula tell on every base.
    func inventory(of module: MethodModule) throws -> ModuleInventory

    /// The sides of the update that the module's tensors tell, in the (out, in) orientation, in of a convolution being
    /// in·k…; of an embedding (vocabulary, width). A side that is nil is taken from the base.
    func extent(of module: MethodModule) throws -> UpdateExtent

    /// The sides that the update cannot be larger than, as far as the adapter tells: of a method that cuts its modules out of
    /// one projection, those of the projection.
    func widestExtent(of module: MethodModule) throws -> UpdateExtent

    /// What pages say of the module beyond its name: rank, alpha and scale.
    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?)

    /// What else decides the update, by the names that the config gives it: block size, variant, mode.
    func details(of module: MethodModule) throws -> [TargetDetail]

    /// The formula.
    ///
    /// - Parameter weight: the module's weight as the base has it, in the orientation of the update.
    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges
}

/// Rows and columns of an update, as far as the adapter tells.
struct UpdateExtent {
    var rows: Int?
    var columns: Int?
    /// Whether the module is a Linear or Conv1D whose update is (out, in), although no tensor tells its sides.
    var isLayer = false
}

/// The weight that an update changes.
struct ModuleWeight {
    /// Rows of the update: output features or channels; of an embedding the vocabulary.
    let rows: Int
    /// Columns of the update: input features, for a convolution in·k….
    let columns: Int
    /// The parameter's shape in memory: (out, in) or (in, out) of a matrix, (out, in, k…) of a kernel.
    let shape: Shape
    /// Whether the base has a bias for this module.
    let hasBias: Bool
    /// The base's own elements as any other tensor's recipe can read them, (rows × columns); nil where they are a part of
    /// a stored tensor, or several.
    let stored: MatrixExpression?
    /// Reads the elements (rows × columns), where there is a bias with that as one more column; nil where `stored` is.
    var values: (() throws -> [Double])?
    /// The type in which training held the weight, as far as the base tells: the stored one, or for codes that of their computation.
    var dtype: DType?
    /// Whether it stands for a base's weight, of which then no more than the sides is known.
    var isStandIn = false

    var isConvolution: Bool { shape.count > 2 }
    /// The base's own elements, as the update sees them.
    var base: MatrixExpression { .base(rows: rows, columns: columns) }
    /// The bias as one row.
    var bias: MatrixExpression { .base(rows: 1, columns: rows) }
    /// The elements of a kernel's window: k… of (out, in, k…), 1 for a matrix.
    var window: Int { shape.dropFirst(2).reduce(1, *) }
}

/// What happens to a module.
struct ModuleChanges {
    /// What happens to a parameter.
    enum Change {
        /// W + scale · expression; the bias is one row.
        case add(MatrixExpression, scale: Double = 1)
        /// W becomes the expression.
        case become(MatrixExpression)
    }

    var weight: Change?
    var bias: Change?
    /// What is taken out of the base before the change: a part of its decomposition.
    var taken: BaseDecomposition?
    /// Tensors of the module that have no part in the result, each with the reason.
    var setAside: [(tensor: ExactString, reason: String)] = []
    var warnings: [String] = []
}

extension ModuleMethod {
    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) { (nil, nil, nil) }

    func details(of module: MethodModule) throws -> [TargetDetail] { [] }

    var retired: (components: Set<String>, reason: String)? { nil }

    func modules(of adapter: Adapter, in context: BindingContext?) throws -> [MethodModule] {
        guard let config = adapter.config else { return [] }
        return try MethodModule.collect(
            from: adapter, config: config, components: components, adapterIndex: context?.adapterIndex ?? 0,
            options: context?.options ?? BindingOptions())
    }

    /// The modules of an adapter of which a formula may be stated: a tensor without elements is a placeholder, unless the method says
    /// otherwise, and no formula is one of nothing.
    ///
    /// - Throws: `.refused` where there is such a tensor.
    func filledModules(of adapter: Adapter, in context: BindingContext?) throws -> [MethodModule] {
        for key in adapter.keys {
            guard let component = key.component, components.contains(component), let info = adapter.tensor(key.stored),
                info.elementCount == 0,
                // Beside a side of 0 another can be anything, and no layer has 2³¹ of something.
                !isEmptyByDesign(key, of: adapter) || info.shape.contains(where: { $0 > Int(Int32.max) })
            else { continue }
            throw PeftfileError(
                .refused, "has shape \(info.shape), no elements", tensor: info.name, rule: "FactorShape",
                help: "gather the shards before saving (ZeRO-3, FSDP)")
        }
        return try modules(of: adapter, in: context)
    }

    func inventory(of module: MethodModule) throws -> ModuleInventory { ModuleInventory() }

    func targets(of adapter: Adapter) throws -> [AdapterTarget] {
        try filledModules(of: adapter, in: nil).map(target)
            + SavedParameters.targets(of: adapter)
    }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        if let component = key.component, components.contains(component) { return true }
        return SavedParameters.claims(key, of: adapter, hasBiases: (try? adapter.config.map(SavedParameters.storesBiases)) ?? false)
    }

    func remarks(on adapter: Adapter) -> [String] {
        guard let config = adapter.config else { return [] }
        do {
            try config.requireKnownKeys(configKeys)
            try requireConfig(of: adapter)
            for module in try filledModules(of: adapter, in: nil) {
                _ = try extent(of: module)
            }
            return []
        } catch {
            return ["\(adapter.path): \(error)"]
        }
    }

    /// A `peft_type` that lies is said to be one, before its config is read with the keys of another method.
    private func requireOwnTensors(of adapter: Adapter) throws {
        let found = Set(adapter.checkpoint.tensors.compactMap { AdapterKey($0.name).component })
        guard adapter.method == nil, !found.isEmpty, found.isDisjoint(with: components),
            !found.contains("trainable_tokens_delta")
        else { return }
        if let retired, !found.isDisjoint(with: retired.components) {
            throw PeftfileError(
                .refused, "\(retired.reason): \(found.sorted().map(\.printable).joined(separator: ", "))", file: adapter.path,
                rule: "RetiredFormat", help: "merge it with the PEFT version that trained it, or train it again")
        }
        throw PeftfileError(
            .refused, "peft_type says \(peftTypes[0]), and no tensor is one of \(name): they are "
                + found.sorted().map(\.printable).joined(separator: ", "),
            file: adapter.path, rule: "PeftTypeMismatch", help: "correct peft_type in adapter_config.json")
    }

    private func target(_ module: MethodModule) throws -> AdapterTarget {
        let summary = try summary(of: module)
        return AdapterTarget(
            module: module.path, method: name, rank: summary.rank, alpha: summary.alpha, scale: summary.scale,
            details: try details(of: module))
    }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        guard let config = adapter.config else {
            throw PeftfileError(.refused, "has no adapter_config.json", file: adapter.path, rule: "ConfigMissing")
        }
        try requireOwnTensors(of: adapter)
        try config.requireKnownKeys(configKeys)
        try requireConfig(of: adapter)
        let modules = try filledModules(of: adapter, in: context)
        let saved = try SavedParameters(
            adapter: adapter, tokenIndices: config["trainable_token_indices"],
            hasBiases: try SavedParameters.storesBiases(config))
        let requests = try requests(for: modules, context)
        let biases = modules.map { ParameterRequest(module: $0.path, parameter: .bias) }
        let places = try context.resolve(requests + saved.required, biases + saved.optional)
        var result = MethodUpdates()
        let scope = AdapterScope(
            targets: zip(modules, requests).compactMap { module, request in
                places[request].map {
                    let tensor = $0.pieces.first?.tensor
                    return AdapterScope.Target(
                        module.path, $0.weight(hasBias: false), tensor: tensor, dtype: tensor.flatMap(context.dtype))
                }
            }, base: context.base)
        var unmergeable: PeftfileError?
        // The tensors that have a part, as far as the changes were looked at.
        var (used, seen) = (Set(result.setAside.map(\.tensor)), 0)
        for ((module, request), bias) in zip(zip(modules, requests), biases) {
            guard let place = places[request] else {
                throw PeftfileError(
                    .refused, "module \"\(module.path)\" has no place in the base", file: adapter.path,
                    rule: "MissingTarget", help: "merge onto the base that the adapter was trained on")
            }
            guard place.multiplicity == 1 else {
                throw PeftfileError(
                    .unsupported, "is the output projection of an nn.MultiheadAttention, for which only LoRA is defined",
                    tensor: place.pieces.first?.tensor, rule: "ModuleKind")
            }
            var weight = place.weight(hasBias: places[bias] != nil)
            weight.values = place.reader(bias: places[bias], updateRows: weight.rows, context)
            if weight.isConvolution, let columns = try extent(of: module).columns, let tensor = place.pieces.first?.tensor,
                let refusal = GroupedConvolution.refusal(of: tensor, weight.shape, rows: weight.rows, columns: columns)
            { throw refusal }
            weight.dtype = place.pieces.first.flatMap { context.dtype($0.tensor) }
            let changes: ModuleChanges
            do { changes = try self.changes(of: module.inside(scope), weight: weight) }
            catch let error as PeftfileError where error.rule == "ProjectionMissing" {
                // What is wrong with another module is wrong whatever the projection.
                unmergeable = unmergeable ?? error
                continue
            }
            let target = try target(module)
            if let taken = changes.taken {
                let change = ParameterUpdate.Change.decomposition(taken, scale: context.weight)
                result.changes.append(ParameterUpdate(place: place, change: change, target: target))
            }
            if let change = changes.weight { result.changes.append(try change.update(at: place, target, context)) }
            if let change = changes.bias {
                guard let place = places[bias] else {
                    throw PeftfileError(
                        .refused, "module \"\(module.path)\" changes a bias, and the base layer has none",
                        file: adapter.path, rule: "BiasMissing",
                        help: "merge onto the base that the adapter was trained on")
                }
                result.changes.append(try change.update(at: place, target, context))
            }
            for change in result.changes[seen...] { used.formUnion(change.tensors) }
            seen = result.changes.count
            for item in changes.setAside where used.insert(item.tensor).inserted { result.setAside.append(item) }
            let built = module.known.filter { !used.contains($0.name) }
            if let unread = built.first(where: { !module.hasRead($0.name) && $0.elementCount > 0 }) {
                throw PeftfileError(
                    .refused, "has no part in the formula of \(name) beside the module's other tensors", tensor: unread.name,
                    rule: "UnclaimedTensor", help: "nothing is skipped silently: remove the tensor, or save the adapter again")
            }
            for item in built where used.insert(item.name).inserted {
                result.setAside.append((item.name, "its values are built into the formula"))
            }
            result.warnings += changes.warnings.filter { !result.warnings.contains($0) }
        }
        try saved.appendChanges(to: &result, places: places, context: context)
        if let unmergeable { throw unmergeable }
        return result
    }

    /// Where each module's weight is to be looked for: with both sides of its update, so that transposed layers are told.
    private func requests(for modules: [MethodModule], _ context: BindingContext) throws -> [ParameterRequest] {
        func request(
            _ module: MethodModule, _ update: (rows: Int, columns: Int)?, isLayer: Bool = false
        ) -> ParameterRequest {
            var request = ParameterRequest(
                module: module.path, parameter: .weight, update: update, isEmbedding: module.isEmbedding)
            request.asksOrientation = isLayer
            return request
        }
        let extents = try modules.map { try extent(of: $0) }
        let open = zip(modules, extents).filter { $1.rows == nil || $1.columns == nil }.map {
            request($0.0, nil, isLayer: $0.1.isLayer)
        }
        let shapes = open.isEmpty ? [:] : try context.resolve(open, [])
        return zip(modules, extents).map { module, extent in
            if let rows = extent.rows, let columns = extent.columns { return request(module, (rows, columns)) }
            guard let place = shapes[request(module, nil, isLayer: extent.isLayer)] else { return request(module, nil) }
            let (first, second) = place.matrixSize
            if extent.isLayer, extent.rows == nil, extent.columns == nil {
                return request(module, place.updateTransposed ? (second, first) : (first, second))
            }
            let isStraight = extent.rows.map { $0 == first } ?? extent.columns.map { $0 == second } ?? true
            let isTurned = extent.rows.map { $0 == second } ?? extent.columns.map { $0 == first } ?? false
            return request(module, !isStraight && isTurned && place.shape.count == 2 ? (second, first) : (first, second))
        }
    }
}

extension ParameterPlace {
    /// Rows and columns of the parameter, or of the matrix of one expert, as they are in memory.
    var matrixSize: (rows: Int, columns: Int) {
        let matrix = pieces.first?.expert == nil ? shape : Array(shape.dropFirst())
        return (matrix.first ?? 0, matrix.dropFirst().reduce(1, *))
    }

    fileprivate func weight(hasBias: Bool) -> ModuleWeight {
        let (rows, columns) = matrixSize
        return ModuleWeight(
            rows: updateTransposed ? columns : rows, columns: updateTransposed ? rows : columns, shape: shape,
            hasBias: hasBias, stored: wholeMatrix)
    }

    /// Reads the base's own elements in the orientation of the update, with the bias as the last column.
    fileprivate func reader(
        bias: ParameterPlace?, updateRows rows: Int, _ context: BindingContext
    ) -> (() throws -> [Double])? {
        guard wholeMatrix != nil, let piece = pieces.first else { return nil }
        if let bias, bias.pieces.count != 1 || bias.pieces[0].storedOffset != 0 { return nil }
        let isTurned = piece.transposed != updateTransposed
        return {
            var values = try context.elements(piece.tensor)
            let columns = values.count / max(1, rows)
            if isTurned { values = Kernels.transposed(values, rows: columns, columns: rows) }
            guard let bias else { return values }
            let last = try context.elements(bias.pieces[0].tensor)
            guard last.count == rows else { return values }
            return (0..<rows).flatMap { row in values[(row * columns)..<((row + 1) * columns)] + [last[row]] }
        }
    }

    /// The parameter in the orientation of the update, where one stored tensor holds it and nothing else.
    private var wholeMatrix: MatrixExpression? {
        let (rows, columns) = matrixSize
        guard pieces.count == 1, let piece = pieces.first, piece.expert == nil, piece.storedExpert == nil,
            piece.storedOffset == 0, piece.rows == 0..<rows, untiedName == nil
        else { return nil }
        // The stored shape is held against the place when names are resolved.
        let shape = piece.transposed ? [columns, rows] : [rows, columns]
        let factor = Factor(
            adapter: Factor.base, info: TensorInfo(name: piece.tensor, dtype: .f32, shape: shape, begin: 0, end: 0))
        return .stored(piece.transposed != updateTransposed ? factor.transposed : factor)
    }
}

extension ModuleChanges.Change {
    fileprivate func update(
        at place: ParameterPlace, _ target: AdapterTarget, _ context: BindingContext
    ) throws -> ParameterUpdate {
        switch self {
        case .add(let expression, let scale):
            return ParameterUpdate(place: place, change: .term(expression, scale: scale * context.weight), target: target)
        case .become(let expression):
            guard context.weight == 1 else {
                throw PeftfileError(
                    .refused, "\(target.method) multiplies the base and cannot be weighted",
                    tensor: place.pieces.first?.tensor, rule: "WeightedTransform",
                    help: "merge this adapter alone, with weight 1")
            }
            return ParameterUpdate(place: place, change: .transform(expression), target: target)
        }
    }
}

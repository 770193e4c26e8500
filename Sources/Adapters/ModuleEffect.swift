public import ByteAccess
import Tensors

/// What an adapter does to one module, as far as its files tell: for whoever asks whether it does anything at all.
///
/// The formula is stated for a stand-in of the base's weight, with the sides that the adapter's tensors tell. What the answer
/// depends on is then the adapter alone: a sum that is zero is zero on every base, and a map that gives back a stand-in without
/// structure gives back every base.
public struct ModuleEffect: Sendable {
    /// What happens to a parameter of the module.
    public enum Change: Sendable, Hashable {
        /// `scale · expression` is added.
        case add(MatrixExpression, scale: Double)
        /// The parameter becomes the expression, in which the stand-in's elements stand.
        case become(MatrixExpression)
        /// The weight is divided by its norms and multiplied with this: DoRA's magnitude.
        case magnitude(MatrixExpression)
    }

    /// The module, as the adapter's keys name it.
    public var module: ExactString
    /// All that happens to it; empty where the formula cannot be stated without a base.
    public var changes: [Change] = []
    /// Sets of tensors with a number each: where all of one set are that number everywhere, the module does nothing. This is
    /// the method's own word for formulas that only a base completes.
    public var stillPoints: [[StillTensor]] = []
    /// Why the formula cannot be stated, where that is not for want of a base.
    public var obstacle: PeftfileError?

    /// A tensor, and the number that leaves the base as it is.
    public struct StillTensor: Sendable, Hashable {
        /// The tensor, as the method's adapter names it.
        public var tensor: ExactString
        /// The number.
        public var value: Double
    }
}

/// The effects of all modules of an adapter.
public struct AdapterEffects: Sendable {
    /// One for each module.
    public var modules: [ModuleEffect] = []
    /// Tensors of the file that are parameters, or rows of them, and no change of one: what `modules_to_save`, trained biases and
    /// tokens, and methods that train parameters whole store.
    public var saved: [ExactString] = []
    /// The adapter that the expressions' factors are of: in a dialect, with the views that stand for stored tensors.
    public var adapter: Adapter
}

extension Adapter {
    /// The tensors of the file that a tensor of the method is made of.
    public func storedTensors(of tensor: ExactString) -> [ExactString] { views[tensor]?.parts.map(\.stored.name) ?? [tensor] }

    /// What the adapter does to each module, whatever its dialect.
    ///
    /// - Throws: `.refused` where method or config are not known or contradict the tensors.
    public func effects() throws -> AdapterEffects {
        let bound = try BoundAdapter(self, base: nil, options: BindingOptions(baseRole: .residual))
        var result = AdapterEffects(adapter: bound.whole)
        for part in bound.parts {
            result.modules += try MethodRegistry.method(of: part).effects(of: part)
            for key in part.keys where SavedParameters.standsForParameter(key, of: part) {
                result.saved += bound.whole.storedTensors(of: key.stored)
            }
        }
        return result
    }
}

extension AdapterMethod {
    /// The modules that have tensors of `stillPoints`, each with those; a tensor of the whole adapter counts for all of them.
    func effects(of adapter: Adapter) throws -> [ModuleEffect] {
        var order: [ExactString] = []
        var tensors: [ExactString: [(key: String, name: ExactString)]] = [:]
        for key in adapter.keys {
            guard let component = key.component else { continue }
            if tensors[key.module] == nil { order.append(key.module) }
            let name = key.leaf.isEmpty ? component : "\(component).\(key.leaf)"
            tensors[key.module, default: []].append((name, key.stored))
        }
        return order.compactMap { module in
            let points = ModuleEffect.points(stillPoints, among: tensors[module] ?? [])
            return points.isEmpty ? nil : ModuleEffect(module: module, stillPoints: points)
        }
    }
}

extension ModuleEffect {
    /// The still points that a module's tensors can be at: of each set, those that the module has. A set names components,
    /// or components with a leaf.
    static func points(_ sets: [[String: Double]], among tensors: [(key: String, name: ExactString)]) -> [[StillTensor]] {
        sets.compactMap { set in
            let found = tensors.compactMap { tensor in
                (set[tensor.key] ?? set[String(tensor.key.prefix { $0 != "." })]).map { StillTensor(tensor: tensor.name, value: $0) }
            }
            return found.isEmpty ? nil : found
        }
    }
}

extension ModuleMethod {
    func effects(of adapter: Adapter) throws -> [ModuleEffect] {
        try modules(of: adapter, in: nil).map { module in
            // Every task has the same factors, so that one tells of all.
            let module = takesTask ? module.answering(BindingOptions(task: 0)) : module
            let points = ModuleEffect.points(stillPoints, among: module.tensorsByKey)
            var effect = ModuleEffect(module: module.path, stillPoints: points)
            do { effect.changes = try standInChanges(of: module) } catch let error as PeftfileError where error.code != .interrupted {
                effect.obstacle = error
            }
            return effect
        }
    }

    /// The formula on a stand-in; empty where a side is open that decides it, or the base's own elements do.
    private func standInChanges(of module: MethodModule) throws -> [ModuleEffect.Change] {
        let (extent, widest) = (try extent(of: module), try widestExtent(of: module))
        guard !extent.isLayer, widest.rows != nil || widest.columns != nil else { return [] }
        // A side that no tensor tells is one that no tensor depends on.
        let (rows, columns) = (widest.rows ?? ModuleEffect.side, widest.columns ?? ModuleEffect.side)
        func weight(hasBias: Bool) -> ModuleWeight {
            // What a bias takes of the weight is only asked for being zero.
            ModuleWeight(
                rows: rows, columns: columns, shape: [rows, columns], hasBias: hasBias,
                stored: .constant(.filled(1, rows: rows, columns: columns)))
        }
        // A part of the formula for a bias is a part of the update, wherever there is one.
        let changes = try (try? changes(of: module, weight: weight(hasBias: true)))
            ?? changes(of: module, weight: weight(hasBias: false))
        return [changes.weight, changes.bias].compactMap { change in
            switch change {
            case .add(let expression, let scale)?: .add(expression, scale: scale)
            case .become(let expression)?: .become(expression)
            case nil: nil
            }
        }
    }
}

extension ModuleEffect {
    /// Rows or columns of a stand-in where the adapter tells none.
    static let side = 16
}

extension LoRA {
    /// s·B·A, the bias of B, and DoRA's magnitude.
    func effects(of adapter: Adapter) throws -> [ModuleEffect] {
        let updates = try lowRankUpdates(of: adapter)?.updates ?? []
        let parts = Dictionary(grouping: try LoRAModule.collect(from: adapter)) { $0.path }
        let order = updates.map(\.module)
        let byModule = Dictionary(grouping: updates) { $0.module }
        var seen: Set<ExactString> = []
        return order.filter { seen.insert($0).inserted }.map { module in
            var effect = ModuleEffect(module: module)
            for term in (byModule[module] ?? []).flatMap(\.terms) {
                effect.changes.append(.add(.product(.stored(term.left), .stored(term.right)), scale: term.scale))
            }
            for part in parts[module] ?? [] {
                if let bias = part.bias { effect.changes.append(.add(.stored(Factor(adapter: 0, info: bias)), scale: 1)) }
                if let magnitude = part.magnitude { effect.changes.append(.magnitude(.stored(Factor(adapter: 0, info: magnitude)))) }
            }
            return effect
        }
    }
}

extension BareFactors {
    /// The product, whatever its scale is.
    func effects(of adapter: Adapter) throws -> [ModuleEffect] {
        try LoRAModule.collect(from: adapter).map { module in
            ModuleEffect(
                module: module.path, stillPoints: [module.b, module.a].map { [.init(tensor: $0.name, value: 0)] })
        }
    }
}

extension WeightDecomposition {
    /// A direction that was not trained is none whatever its magnitude: both are trained together.
    func effects(of adapter: Adapter) throws -> [ModuleEffect] {
        try zip(inner.effects(of: adapter), modules(of: adapter, in: nil)).map { effect, module in
            var effect = effect
            if let info = try? module.tensor("dora_scale") {
                effect.changes.append(.magnitude(.stored(Factor(adapter: 0, info: info))))
            }
            return effect
        }
    }
}

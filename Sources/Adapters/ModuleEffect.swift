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
    /// Why it cannot be stated on any base: the module's tensors and the config contradict each other.
    public var contradiction: PeftfileError?

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
            result.modules += try MethodRegistry.method(of: part).effects(of: part).map { effect in
                var effect = effect
                if let tensor = effect.contradiction?.tensor {
                    effect.contradiction?.tensor = bound.whole.storedTensors(of: tensor).first
                }
                return effect
            }
            for key in part.keys where SavedParameters.standsForParameter(key, of: part) {
                result.saved += bound.whole.storedTensors(of: key.stored)
            }
        }
        return result
    }
}

extension AdapterMethod {
    func effects(of adapter: Adapter) throws -> [ModuleEffect] { ModuleEffect.atStillPoints(stillPoints, of: adapter) }
}

extension ModuleEffect {
    /// The modules that have tensors of `stillPoints`, each with those; a tensor of the whole adapter counts for all of them.
    static func atStillPoints(_ stillPoints: [[String: Double]], of adapter: Adapter) -> [ModuleEffect] {
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
        try filledModules(of: adapter, in: nil).map { module in
            // Every task has the same factors, so that one tells of all.
            let module = takesTask ? module.answering(BindingOptions(task: 0)) : module
            let points = ModuleEffect.points(stillPoints, among: module.tensorsByKey)
            var effect = ModuleEffect(module: module.path, stillPoints: points)
            let standIns: StandIns
            do { standIns = try StandIns(extent: extent(of: module), widest: widestExtent(of: module)) }
            catch let error as PeftfileError where error.code != .interrupted {
                (effect.obstacle, effect.contradiction) = (error, error)
                return effect
            }
            do { effect.changes = try standInChanges(of: module, standIns) }
            catch let error as PeftfileError where error.code != .interrupted {
                (effect.obstacle, effect.contradiction) = (error, try contradiction(of: module, standIns, after: error))
            }
            return effect
        }
    }

    /// The formula on a stand-in; empty where a side is open that decides it, or the base's own elements do.
    private func standInChanges(of module: MethodModule, _ standIns: StandIns) throws -> [ModuleEffect.Change] {
        let changes = try changes(of: module, on: standIns.first)
        guard standIns.decide else { return [] }
        return [changes.weight, changes.bias].compactMap { change in
            switch change {
            case .add(let expression, let scale)?: .add(expression, scale: scale)
            case .become(let expression)?: .become(expression)
            case nil: nil
            }
        }
    }

    /// A part of the formula for a bias is a part of the update, wherever there is one.
    private func changes(of module: MethodModule, on shape: Shape) throws -> ModuleChanges {
        func fitting(hasBias: Bool) throws -> ModuleChanges {
            let changes = try changes(of: module, weight: StandIns.weight(shape, hasBias: hasBias))
            for change in [changes.weight, changes.bias] {
                switch change {
                case .add(let expression, _)?, .become(let expression)?: try expression.requireFit()
                case nil: break
                }
            }
            return changes
        }
        return try (try? fitting(hasBias: true)) ?? fitting(hasBias: false)
    }

    /// What every base would refuse: the refusal of the first stand-in, if all others are refused too, and those of other sizes for
    /// the same reason.
    private func contradiction(of module: MethodModule, _ standIns: StandIns, after first: PeftfileError) throws -> PeftfileError? {
        func refusal(_ shape: Shape) throws -> PeftfileError? {
            do { _ = try changes(of: module, on: shape) } catch let error as PeftfileError where error.code != .interrupted { return error }
            return nil
        }
        for shape in standIns.others {
            guard let other = try refusal(shape) else { return nil }
            // A layer for which the method is not defined is no base of this adapter's.
            if other.rule == "ModuleKind" { continue }
            if standIns.isOpen, other.message != first.message { return nil }
        }
        // Of a side that nobody tells, a shape may be too small.
        let doubtful = ["ModuleKind", "BaseNeeded"] + (standIns.isOpen ? ["ShapeMismatch", "IndexRange"] : [])
        return doubtful.contains(first.rule ?? "") ? nil : first
    }
}

/// Weights that stand for a base's: with the sides that an adapter tells, and any for those that it does not.
private struct StandIns {
    /// A matrix.
    let first: Shape
    /// Of other sizes, or kernels with other windows.
    let others: [Shape]
    /// Whether a side is not told, so that only what does not depend on it is known.
    let isOpen: Bool
    /// Whether the formula on a stand-in tells what it is on a base.
    let decide: Bool

    init(extent: UpdateExtent, widest: UpdateExtent) {
        decide = !extent.isLayer && (widest.rows != nil || widest.columns != nil)
        isOpen = widest.rows == nil || widest.columns == nil
        // A side that no tensor tells is one that no tensor depends on.
        let side = decide ? ModuleEffect.side : ModuleEffect.openSide
        func shape(_ side: Int) -> Shape { [widest.rows ?? side, widest.columns ?? side] }
        let matrix = shape(side)
        first = matrix
        others = isOpen
            ? [shape(2 * side), shape(3 * side)]
            : StandIns.windows.filter { $0 <= matrix[1] && matrix[1] % $0 == 0 }.map { [matrix[0], matrix[1] / $0, $0, 1] }
    }

    /// How many elements kernels' windows have.
    private static let windows = Array(2...49) + [64, 81, 121, 196, 256]

    static func weight(_ shape: Shape, hasBias: Bool) -> ModuleWeight {
        let (rows, columns) = (shape[0], shape.dropFirst().reduce(1, *))
        // What a bias takes of the weight is only asked for being zero.
        var weight = ModuleWeight(
            rows: rows, columns: columns, shape: shape, hasBias: hasBias, stored: .constant(.filled(1, rows: rows, columns: columns)))
        weight.isStandIn = true
        return weight
    }
}

extension ModuleEffect {
    /// Rows or columns of a stand-in where the adapter tells none.
    static let side = 16
    /// The same where it tells neither: enough for what the adapter counts of them.
    static let openSide = 256
}

extension LoRA {
    /// Factors that are zero, where a grouped convolution's product cannot be stated.
    private static let stillFactors: [[String: Double]] = [
        ["lora_B": 0], ["lora_A": 0, "lora_B.bias": 0], ["lora_embedding_B": 0], ["lora_embedding_A": 0],
    ]
    /// Refusals of a module on every base: its tensors contradict each other or the config.
    private static let contradictions: Set<String> = ["RankMismatch", "DiagonalMissing", "ShapeMismatch"]

    /// s·B·A, the bias of B, and DoRA's magnitude; one effect for each parameter that a wrapper stands for.
    func effects(of adapter: Adapter) throws -> [ModuleEffect] {
        // Where and when the update acts takes nothing from what it is.
        let adapter = try adapter.ignoringConfigKeys(["alora_invocation_tokens", "arrow_config"])
        let updates: [ModuleUpdates]
        do { updates = try moduleUpdates(of: adapter) ?? [] } catch let error as PeftfileError where error.rule == "GroupedConvolution" {
            return ModuleEffect.atStillPoints(LoRA.stillFactors, of: adapter)
        }
        return updates.map { module, result in
            switch result {
            case .failure(let error):
                var effect = ModuleEffect(module: module.path)
                effect.obstacle = error
                if LoRA.contradictions.contains(error.rule ?? "") { effect.contradiction = error }
                return effect
            case .success(let updates):
                let parameter = updates.first?.parameter ?? "weight"
                var effect = ModuleEffect(module: parameter == "weight" ? module.path : ExactString("\(module.path).\(parameter)"))
                effect.changes = updates.flatMap(\.terms).map { .add(.product(.stored($0.left), .stored($0.right)), scale: $0.scale) }
                if let bias = module.bias { effect.changes.append(.add(.stored(Factor(adapter: 0, info: bias)), scale: 1)) }
                if let magnitude = module.magnitude { effect.changes.append(.magnitude(.stored(Factor(adapter: 0, info: magnitude)))) }
                return effect
            }
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
                // By output or by input, which are the sides of the update.
                if case .add(let expression, _)? = effect.changes.first, case let (rows, columns) = expression.size, info.elementCount > 0,
                    info.elementCount != rows, !columns.isMultiple(of: info.elementCount)
                {
                    effect.contradiction = module.misfit(info, "\(rows) or \(columns) elements")
                }
                effect.changes.append(.magnitude(.stored(Factor(adapter: 0, info: info))))
            }
            return effect
        }
    }
}

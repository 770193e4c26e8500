import Adapters
import ByteAccess
import Rewriting
import Tensors

/// What the adapter does to each of its modules: something, nothing, or make a weight zero.
///
/// Factors that are zero are told by the figures of the tensors, which are known from the one read of the file; only formulas in
/// which a zero could come about otherwise are computed (``EffectPreview``).
struct EffectTable {
    struct Module {
        var path: ExactString
        /// A tensor that tells why, as the file names it.
        var tensor: ExactString?
        var doesNothing = false
        /// Whether a weight becomes zero everywhere.
        var makesZero = false
        /// Whether the formula gives no numbers, although the tensors are some.
        var isUndefined = false
        /// Whether the base's own elements are a part of the formula, so that a stand-in for them tells little.
        var needsBase = false
        /// Whether the product of the factors is nothing, and a bias beside it is something.
        var isBiasAlone = false
        /// Whether all scales are 0, and no tensor is to blame.
        var isScaledAway = false
    }

    private(set) var modules: [Module] = []
    /// Whole parameters beside the method's own tensors, as the file names them.
    private(set) var saved: [ExactString] = []

    /// - Parameter isAll: whether a tensor of the file is one number everywhere.
    init(_ effects: AdapterEffects, isAll: (ExactString, Double) -> Bool) throws {
        try withoutActuallyEscaping(isAll) { isAll in
            let reader = EffectReader(effects: effects, isAll: isAll, preview: EffectPreview(effects))
            for effect in effects.modules {
                try Interruption.check()
                modules.append(try reader.module(effect))
            }
        }
        saved = effects.saved
    }

    /// A bottleneck gives back what it gets while its up-projection is zero.
    init(_ report: BottleneckReport, isZero: (ExactString) -> Bool) {
        let still = Set(report.untrained(where: isZero))
        modules = report.modules.map { module in
            Module(path: ExactString(module.root), tensor: module.up?.stored, doesNothing: still.contains(module.root))
        }
    }
}

/// Reads the effects of modules one by one.
private struct EffectReader {
    let effects: AdapterEffects
    let isAll: (ExactString, Double) -> Bool
    let preview: EffectPreview

    func module(_ effect: ModuleEffect) throws -> EffectTable.Module {
        var module = EffectTable.Module(path: effect.module)
        for set in effect.stillPoints where set.allSatisfy({ isAllOf($0.tensor, $0.value) }) {
            module.doesNothing = true
            module.tensor = set.first.flatMap { effects.adapter.storedTensors(of: $0.tensor).first }
            return module
        }
        if effect.changes.isEmpty {
            // A reflection at nothing: its direction is divided by its length.
            module.isUndefined = effect.obstacle?.rule == "NoDirection"
            module.tensor = effect.obstacle?.tensor
            return module
        }
        module.needsBase = effect.changes.contains { change in
            switch change {
            case .add(let expression, _), .become(let expression): expression.readsBase
            case .magnitude: false
            }
        }
        var outcomes: [EffectPreview.Outcome?] = []
        for change in effect.changes { outcomes.append(try outcome(change)) }
        let additions = zip(effect.changes, outcomes).filter { if case .magnitude = $0.0 { false } else { true } }
        module.doesNothing = !additions.isEmpty && additions.allSatisfy { $0.1 == .nothing }
        let products = additions.filter { if case .add(.product, let scale) = $0.0 { scale != 0 } else { false } }
        let others = additions.filter { if case .add(.stored, _) = $0.0 { true } else { false } }
        module.isBiasAlone = !module.doesNothing && !products.isEmpty && products.allSatisfy { $0.1 == .nothing }
            && products.count + others.count == additions.count
        module.isScaledAway = module.doesNothing && additions.allSatisfy { if case .add(_, 0) = $0.0 { true } else { false } }
        module.isUndefined = outcomes.contains(.undefined)
        module.makesZero = outcomes.contains(.zero)
        let wanted: EffectPreview.Outcome = module.isUndefined ? .undefined : module.makesZero ? .zero : .nothing
        var culprits: [ExactString] = []
        for (change, outcome) in zip(effect.changes, outcomes) where outcome == wanted { culprits += factors(of: change) }
        let culprit: ExactString? = culprits.first(where: { isAllOf($0, 0) || isAllOf($0, 1) }) ?? culprits.first
        if let culprit { module.tensor = effects.adapter.storedTensors(of: culprit).first }
        return module
    }

    private func factors(of change: ModuleEffect.Change) -> [ExactString] {
        switch change {
        case .add(let expression, _), .become(let expression), .magnitude(let expression): expression.factors.map(\.tensor)
        }
    }

    /// By the figures alone, where these decide; a product of two factors that are not zero is taken for something.
    private func outcome(_ change: ModuleEffect.Change) throws -> EffectPreview.Outcome? {
        switch change {
        case .add(.product(.stored(let left), .stored(let right)), let scale):
            return scale == 0 || isAllOf(left.tensor, 0) || isAllOf(right.tensor, 0)
                || [left, right].contains { $0.diagonal.map { isAllOf($0, 0) } ?? false } ? .nothing : .something
        case .add(.stored(let factor), let scale): return scale == 0 || isAllOf(factor.tensor, 0) ? .nothing : .something
        case .magnitude(.stored(let factor)): return isAllOf(factor.tensor, 0) ? .zero : .something
        default: return try preview.outcome(of: change)
        }
    }

    /// Whether a tensor of the method is one number everywhere. Rows that a dialect cuts out of a tensor are looked at with the
    /// rest of it.
    private func isAllOf(_ tensor: ExactString, _ value: Double) -> Bool {
        let tensors = effects.adapter.storedTensors(of: tensor)
        return !tensors.isEmpty && tensors.allSatisfy { isAll($0, value) }
    }
}

public import Adapters
import ByteAccess
import Tensors

/// What a merge would write, computed for some rows and not written: the merge's own evaluation, for whoever wants to
/// know what rounding does to an update before there is an output.
public struct MergePreview: Sendable {
    private let binding: Binding
    private let numbers: AdapterNumbers

    /// Tensors that are computed whole before the first row is: up to this many numbers a preview waits for them.
    public static let wholeLimit = 1 << 24

    /// A preview of what a binding's merge would write. Tensors are read when rows are asked for.
    public init(_ binding: Binding) {
        self.binding = binding
        numbers = AdapterNumbers(adapters: binding.adapters, base: binding.base)
    }

    /// Why no rows of this output can be had at once; nil where they can.
    public func obstacle(_ output: Binding.Output) -> String? {
        let recipe = output.recipe
        let needsLibrary = recipe.updates.contains { update in
            switch update.update {
            case .decomposed, .composed: true
            default: false
            }
        }
        if needsLibrary { return "the update is computed from the whole base matrix" }
        var held = 0
        for case .computed(let expression, _) in recipe.updates.map(\.update) {
            held += expression.heldNumbers(panelRows: 1, workers: 1)
        }
        for transform in recipe.transforms { held += transform.expression.heldNumbers(panelRows: 1, workers: 1) }
        if recipe.magnitudes.contains(where: { $0.axis == .columns }) { held += recipe.rows * recipe.columns }
        return held > MergePreview.wholeLimit ? "\(held) numbers are needed before the first row" : nil
    }

    /// What the rows of `rows` come to, each of them a range of the output's matrix.
    ///
    /// - Throws: what reading throws.
    public func statistics(of output: Binding.Output, rows: [Range<Int>]) throws -> UpdateStatistics {
        let evaluator = RecipeEvaluator(
            recipe: output.recipe, base: binding.base, adapters: binding.adapters, numbers: numbers)
        var result = UpdateStatistics()
        for range in rows {
            try Interruption.check()
            result.add(try evaluator.panel(rows: range).statistics)
        }
        return result
    }
}

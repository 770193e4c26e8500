import ByteAccess
import Tensors

extension RecipeAssembly {
    /// Folds a bottleneck into the weight or the bias of the layer before it; both must be tensors of their own.
    static func fold(
        _ bottleneck: LinearBottleneck, scale: Double, into recipe: inout TensorRecipe, at place: PiecePlacement
    ) throws {
        try place.requireWhole("a layer that a bottleneck is folded into")
        let isBias = recipe.shape.count == 1
        let outputsAreRows = !isBias && place.place.updateTransposed == place.piece.transposed
        let outputs = outputsAreRows ? recipe.rows : recipe.columns
        guard bottleneck.down.columns == outputs, bottleneck.upTransposed.columns == outputs else {
            throw PeftfileError(
                .refused, "has shape \(recipe.shape), and the adapter behind it is \(bottleneck.down.columns) wide",
                tensor: recipe.name, rule: "ShapeMismatch", help: "merge onto the base that the adapter was trained on")
        }
        let region = Region(rows: 0..<recipe.rows, columns: 0..<recipe.columns)
        func add(_ update: WeightUpdate) { recipe.updates.append(.init(region: region, update: update)) }
        add(
            .composed(
                BaseComposition(
                    down: bottleneck.down, upTransposed: bottleneck.upTransposed, outputsAreRows: outputsAreRows),
                scale: scale))
        guard isBias else { return }
        if let downBias = bottleneck.downBias {
            add(.lowRank(left: downBias, right: bottleneck.upTransposed, scale: scale))
        }
        if let upBias = bottleneck.upBias { add(.dense(values: upBias, scale: scale)) }
    }
}

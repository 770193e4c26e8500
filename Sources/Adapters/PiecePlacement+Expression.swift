import ByteAccess
import Tensors

extension PiecePlacement {
    /// The part of an expression that falls on this piece, with the base's rectangles in coordinates of the recipe's
    /// matrix.
    ///
    /// - Throws: `.refused` where the shapes disagree; `.unsupported` where the expression reads across pieces.
    func expression(_ expression: MatrixExpression) throws -> (region: Region, expression: MatrixExpression) {
        try expression.requireFit()
        if recipe.shape.count == 1 { return try vectorExpression(expression) }
        var result = try turned(expression, place.updateTransposed)
        let isExpert = place.shape.count == 3 && piece.expert != nil
        let height = isExpert ? place.shape[1] : place.shape.first ?? 0
        let width = isExpert ? place.shape[2] : place.shape.dropFirst().reduce(1, *)
        let size = result.size
        if size != (height, width), size == (recipe.rows, recipe.columns), isResized {
            // An embedding whose source was replaced by a resized one fits the replacement, not the base.
            return (Region(rows: 0..<size.rows, columns: 0..<size.columns), result)
        }
        guard size == (height, width) else { throw mismatch(rows: size.rows, columns: size.columns) }
        result = result.rows(piece.rows)
        let region = try region(rows: piece.rows, columns: 0..<width)
        result = try result.mapBase { rectangle in
            guard rectangle.rows.lowerBound >= piece.rows.lowerBound, rectangle.rows.upperBound <= piece.rows.upperBound
            else {
                throw PeftfileError(
                    .unsupported, "holds a part of a parameter, and this method computes with the whole of it",
                    tensor: piece.tensor, rule: "FusedParameter",
                    help: "merge it with PEFT's merge_and_unload")
            }
            let placed = try self.region(rows: rectangle.rows, columns: rectangle.columns)
            return BaseRectangle(
                rows: placed.rows, columns: placed.columns, transposed: rectangle.transposed != piece.transposed)
        }
        return (region, piece.transposed ? result.transpose : result)
    }

    /// The expression of the exchanged matrix, with the base's rectangles exchanged as well.
    private func turned(_ expression: MatrixExpression, _ isTurned: Bool) throws -> MatrixExpression {
        guard isTurned else { return expression }
        return expression.mapBase { rectangle in
            BaseRectangle(rows: rectangle.columns, columns: rectangle.rows, transposed: !rectangle.transposed)
        }.transpose
    }

    private func vectorExpression(
        _ expression: MatrixExpression
    ) throws -> (region: Region, expression: MatrixExpression) {
        guard expression.rows == 1, expression.columns == place.shape.first, !piece.transposed else {
            throw PeftfileError(
                .refused, "has shape \(recipe.shape), and the adapter has \(expression.columns) values for it",
                tensor: recipe.name, rule: "ShapeMismatch")
        }
        let target = piece.storedOffset..<(piece.storedOffset + piece.rows.count)
        guard target.upperBound <= recipe.columns else { throw mismatch(rows: 1, columns: target.upperBound) }
        let shift = piece.storedOffset - piece.rows.lowerBound
        let part = try expression.columns(piece.rows).mapBase { rectangle in
            guard rectangle.columns.lowerBound >= piece.rows.lowerBound, rectangle.columns.upperBound <= piece.rows.upperBound
            else { throw mismatch(rows: 1, columns: rectangle.columns.upperBound) }
            return BaseRectangle(
                rows: 0..<1, columns: (rectangle.columns.lowerBound + shift)..<(rectangle.columns.upperBound + shift),
                transposed: rectangle.transposed)
        }
        return (Region(rows: 0..<1, columns: target), part)
    }
}

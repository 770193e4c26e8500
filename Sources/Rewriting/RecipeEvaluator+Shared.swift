import Adapters
import ByteAccess
import Tensors

/// What all panels of a tensor share, prepared once.
extension RecipeEvaluator {
    func prepared() throws -> Shared {
        try shared.withLock { known in
            if let known { return known }
            var result = Shared()
            for replacement in recipe.rowReplacements {
                let rows = Dictionary(replacement.rows.enumerated().map { ($1, $0) }) { _, last in last }
                result.replacements.append((rows, replacement.columns, try replacement.values.matrix(from: numbers)))
            }
            for transform in recipe.transforms {
                result.transforms.append((transform.region, try walk(transform.expression, result)))
            }
            // All left factors, then what else there is: those of a stack of experts are parts of one tensor, which is then read once.
            let lefts = try recipe.updates.map { placed -> [Double] in
                guard case .lowRank(let left, _, _) = placed.update else { return [] }
                return try left.matrix(from: numbers)
            }
            for (placed, left) in zip(recipe.updates, lefts) { result.terms.append(try term(placed, left: left, result)) }
            for magnitude in recipe.magnitudes {
                let values = try magnitude.values.matrix(from: numbers)
                let factors = magnitude.axis == .columns
                    ? zip(values, try columnNorms(of: magnitude.region, result)).map { $0 / $1 } : nil
                result.magnitudes.append((values, factors))
            }
            known = result
            return result
        }
    }

    /// - Parameter left: the left factor of a low-rank update.
    private func term(_ placed: TensorRecipe.PlacedUpdate, left: [Double], _ shared: Shared) throws -> Term {
        switch placed.update {
        case .lowRank(let factor, let right, let scale):
            return .lowRank(
                region: placed.region, left: left, right: try right.matrix(from: numbers), rank: factor.columns, scale: scale)
        case .dense(let values, let scale):
            return .dense(region: placed.region, values: try values.matrix(from: numbers), scale: scale)
        case .computed(let expression, let scale):
            return .computed(region: placed.region, walk: try walk(expression, shared), scale: scale)
        case .decomposed(let decomposition, let transposed, let scale):
            let weight = try wholeSource()
            let factors = try decomposition.factors(
                ofStored: weight, rows: recipe.rows, columns: recipe.columns, transposed: transposed)
            return .lowRank(
                region: placed.region, left: factors.left, right: factors.right, rank: factors.rank, scale: scale)
        case .composed(let composition, let scale):
            let factors = try composition.factors(
                of: try wholeSource(), rows: recipe.rows, columns: recipe.columns, numbers: numbers)
            return .lowRank(
                region: placed.region, left: factors.left, right: factors.right, rank: composition.rank, scale: scale)
        }
    }

    func wholeSource() throws -> [Double] {
        try Conversion.widened(
            try sourceBytes(rows: 0..<recipe.rows), as: recipe.sourceDType, count: recipe.rows * recipe.columns)
    }

    /// ‖V[:, j]‖ for every column of the region, summing squares by fused multiply-add down the rows.
    func columnNorms(of region: Region, _ shared: Shared) throws -> [Double] {
        var squares = [Double](repeating: 0, count: region.columns.count)
        var row = region.rows.lowerBound
        let step = Panels.rows(of: recipe)
        while row < region.rows.upperBound {
            let rows = row..<min(row + step, region.rows.upperBound)
            var values = try Conversion.widened(
                try sourceBytes(rows: rows), as: recipe.sourceDType, count: rows.count * recipe.columns)
            try apply(shared, to: &values, rows: rows)
            values.withUnsafeBufferPointer { values in
                squares.withUnsafeMutableBufferPointer {
                    Kernels.addSquares(
                        of: UnsafeBufferPointer(rebasing: values[region.columns.lowerBound...]), rows: rows.count,
                        rowStride: recipe.columns, to: $0)
                }
            }
            row = rows.upperBound
        }
        return squares.map { $0.squareRoot() }
    }
}

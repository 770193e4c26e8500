import Adapters
import ByteAccess
import Tensors

/// A merge written for these tests alone: the kernel's product and plain loops, whole tensors at a time.
struct PlainMerge {
    let base: [StoredValues]
    let adapter: [StoredValues]

    struct Numbers: FactorSource {
        let adapter: [StoredValues]
        func elements(of tensor: ExactString, adapter index: Int) throws -> [Double] {
            guard let stored = adapter.first(where: { $0.name == tensor }) else {
                throw PeftfileError(.malformed, "no such tensor", tensor: tensor)
            }
            return try stored.values
        }
    }

    func source(_ recipe: TensorRecipe) throws -> StoredValues {
        let found =
            switch recipe.source {
            case .base(let name): base.first { $0.name == name }
            case .adapter(_, let name): adapter.first { $0.name == name }
            }
        guard let found else { throw PeftfileError(.malformed, "no such tensor", tensor: recipe.name) }
        return found
    }

    /// W with replaced rows, plus the terms, times the magnitudes: float64, in the defined order.
    func values(_ recipe: TensorRecipe) throws -> [Double] {
        let numbers = Numbers(adapter: adapter)
        var values = try source(recipe).values
        let original = values
        let columns = recipe.columns
        for replacement in recipe.rowReplacements {
            let rows = try replacement.values.matrix(from: numbers)
            for (i, row) in replacement.rows.enumerated() {
                for (j, column) in replacement.columns.enumerated() {
                    values[row * columns + column] = rows[i * replacement.columns.count + j]
                }
            }
        }
        var update = [Double](repeating: -0.0, count: values.count)
        for placed in recipe.updates {
            let region = placed.region
            let offset = region.rows.lowerBound * columns + region.columns.lowerBound
            func product(_ left: [Double], _ right: [Double], _ rank: Int, _ scale: Double) {
                left.withUnsafeBufferPointer { left in
                    right.withUnsafeBufferPointer { right in
                        update.withUnsafeMutableBufferPointer { update in
                            Kernels.addLowRank(
                                left: left, right: right, rows: region.rows.count, rank: rank,
                                columns: region.columns.count, scale: scale,
                                into: UnsafeMutableBufferPointer(rebasing: update[offset...]), rowStride: columns)
                        }
                    }
                }
            }
            switch placed.update {
            case .lowRank(let left, let right, let scale):
                product(try left.matrix(from: numbers), try right.matrix(from: numbers), left.columns, scale)
            case .dense(let dense, let scale):
                let dense = try dense.matrix(from: numbers)
                for i in 0..<region.rows.count {
                    for j in 0..<region.columns.count {
                        update[offset + i * columns + j] += scale * dense[i * region.columns.count + j]
                    }
                }
            case .composed(let composition, let scale):
                let factors = try composition.factors(
                    of: original, rows: recipe.rows, columns: columns, numbers: numbers)
                product(factors.left, factors.right, composition.rank, scale)
            case .decomposed(let decomposition, let transposed, let scale):
                let taken = try decomposition.factors(
                    ofStored: original, rows: recipe.rows, columns: columns, transposed: transposed)
                product(taken.left, taken.right, taken.rank, scale)
            case .computed:
                throw PeftfileError(.unsupported, "no scene has an expression", tensor: recipe.name)
            }
        }
        for index in values.indices { values[index] += update[index] }
        for magnitude in recipe.magnitudes {
            let region = magnitude.region
            let numbers = try magnitude.values.matrix(from: numbers)
            let lines =
                magnitude.axis == .rows
                ? region.rows.map { row in region.columns.map { row * columns + $0 } }
                : region.columns.map { column in region.rows.map { $0 * columns + column } }
            for (number, line) in zip(numbers, lines) {
                var squares = 0.0
                for index in line { squares = squares.addingProduct(values[index], values[index]) }
                let factor = number / squares.squareRoot()
                for index in line { values[index] *= factor }
            }
        }
        return values
    }

    func merged(_ recipe: TensorRecipe) throws -> StoredValues {
        let original = try source(recipe)
        if recipe.isCopy { return StoredValues(recipe.name, recipe.dtype, recipe.shape, bytes: original.bytes) }
        var bytes = try Conversion.narrowed(values(recipe), to: recipe.dtype)
        guard recipe.sourceDType == recipe.dtype else {
            return StoredValues(recipe.name, recipe.dtype, recipe.shape, bytes: bytes)
        }
        let size = recipe.dtype.bits / 8
        for row in 0..<recipe.rows {
            for column in 0..<recipe.columns {
                let isChanged =
                    recipe.changedRegions.contains { $0.rows.contains(row) && $0.columns.contains(column) }
                    || recipe.rowReplacements.contains { $0.rows.contains(row) && $0.columns.contains(column) }
                let range = ((row * recipe.columns + column) * size)..<((row * recipe.columns + column + 1) * size)
                if !isChanged { bytes.replaceSubrange(range, with: original.bytes[range]) }
            }
        }
        return StoredValues(recipe.name, recipe.dtype, recipe.shape, bytes: bytes)
    }
}

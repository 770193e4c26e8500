import Adapters
import LinearAlgebra
import Tensors

/// Rows of a tensor computed by OpenBLAS in float64, with a bound for every element.
///
/// With v the value computed here and k the value that the defined order gives, `bounds` is an E ≥ |v − k| that also
/// covers the rounding of v − E and v + E themselves.
///
/// *The addition to W.* Let w = W[i, j] and s_v, s_k the two sums of terms, |s_v − s_k| ≤ D (``PreparedTerm``; several
/// terms add their D, and a term that decomposes W its library bound). v = fl(w + s_v) and k = fl(w + s_k) are rounded
/// once each, so |v − k| ≤ D + u|v| + u|k| ≤ (D + 2u|v|)·(1 + 2u). v ∓ E rounds once more, by at most u·|v ∓ E|. So
/// E = (D + 4u|v|)·(1 + 2⁻²⁰) does. Where s is exactly 0 on both paths (a factor's row or column is 0), or each operation
/// is the same on both, D is 0: then v = k, and E = 0.
///
/// Magnitudes are treated in ``magnify(rows:_:)``.
struct Recomputation: Sendable {
    let recipe: TensorRecipe
    let source: SourceRows
    let prepared: PreparedRecipe
    /// The length of a matrix row, and the rectangles that are computed: derived from the recipe once.
    let columns: Int
    let changedRegions: [Region]

    init(recipe: TensorRecipe, source: SourceRows, prepared: PreparedRecipe) {
        self.recipe = recipe
        self.source = source
        self.prepared = prepared
        columns = recipe.columns
        changedRegions = recipe.changedRegions
    }

    /// The start, v and E of some rows, in buffers of their own.
    func panel(rows: Range<Int>) throws -> PanelBuffers {
        var buffers = PanelBuffers()
        try load(rows: rows, &buffers)
        try sum(rows: rows, &buffers)
        magnify(rows: rows, &buffers)
        return buffers
    }

    /// Reads the source's elements of some rows, with replaced rows in their places.
    func load(rows: Range<Int>, _ buffers: inout PanelBuffers) throws {
        try source.read(rows: rows, raw: &buffers.raw, values: &buffers.start)
        StartRows(source: source, replacements: prepared.replacements).replace(rows, in: &buffers.start)
    }

    /// v and E of rows that are loaded, without magnitudes. Outside the changed regions v is the start and E means
    /// nothing.
    func sum(rows: Range<Int>, _ buffers: inout PanelBuffers) throws {
        let count = buffers.start.count
        PanelBuffers.resize(&buffers.values, count)
        PanelBuffers.resize(&buffers.bounds, count)
        PanelBuffers.resize(&buffers.sums, count)
        buffers.sums.withUnsafeMutableBufferPointer { $0.update(repeating: -0.0) }
        buffers.bounds.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
        var start = buffers.start
        for part in prepared.transforms {
            try place(part, rows: rows, panel: buffers.start, values: &start, bounds: &buffers.bounds)
        }
        for term in prepared.terms {
            let part = term.region.rows.clamped(to: rows)
            if part.isEmpty || term.region.columns.isEmpty { continue }
            if case .computed(let computed) = term.numbers {
                try add(computed, term, rows: rows, buffers.start, sums: &buffers.sums, bounds: &buffers.bounds)
                continue
            }
            try add(
                term, rows: part, of: rows.lowerBound, sums: &buffers.sums, bounds: &buffers.bounds,
                product: &buffers.product)
        }
        // Pointers, and choices without a branch: these loops see every element, and are turned into vector code.
        start.withUnsafeBufferPointer { start in
            buffers.sums.withUnsafeBufferPointer { sums in
                buffers.values.withUnsafeMutableBufferPointer { values in
                    buffers.bounds.withUnsafeMutableBufferPointer { bounds in
                        for index in 0..<count {
                            let value = start[index] + sums[index]
                            values[index] = value
                            // With D = 0 the two paths add the same numbers.
                            let bound = (bounds[index] + 4 * RoundingError.unit * abs(value)) * RoundingError.slack
                            bounds[index] = bounds[index] == 0 ? 0 : bound
                        }
                    }
                }
            }
        }
    }

    /// Adds a term and its bound to the rows `part`, which lie in buffers whose first row is `first`.
    private func add(
        _ term: PreparedTerm, rows part: Range<Int>, of first: Int, sums: inout [Double], bounds: inout [Double],
        product: inout [Double]
    ) throws {
        let width = term.region.columns.count
        let offset = (part.lowerBound - first) * columns + term.region.columns.lowerBound
        let termRow = part.lowerBound - term.region.rows.lowerBound
        let (scale, relative) = (term.scale, term.relative)
        switch term.numbers {
        case .computed: break
        case .dense(let dense):
            for row in 0..<part.count {
                for column in 0..<width {
                    let value = scale * dense[(termRow + row) * width + column]
                    let index = offset + row * columns + column
                    sums[index] += value
                    // Both paths underflow alike in this one product.
                    bounds[index] += relative * abs(dense[(termRow + row) * width + column])
                }
            }
        case .lowRank(let left, let right, let rank):
            PanelBuffers.resize(&product, part.count * width)
            try left.withUnsafeBufferPointer { left in
                try right.withUnsafeBufferPointer { right in
                    try product.withUnsafeMutableBufferPointer { product in
                        // The scale stays outside: with alpha = 0 BLAS would not read the factors, and lose their NaN.
                        try BLAS.multiply(
                            UnsafeBufferPointer(rebasing: left[(termRow * rank)..<((termRow + part.count) * rank)]),
                            right,
                            into: product, rows: part.count, columns: width, depth: rank)
                    }
                }
            }
            let libraryBound = term.libraryBound
            sums.withUnsafeMutableBufferPointer { sums in
                bounds.withUnsafeMutableBufferPointer { bounds in
                    term.columnNorms.withUnsafeBufferPointer { norms in
                        product.withUnsafeBufferPointer { product in
                            for row in 0..<part.count {
                                let rowNorm = term.rowNorms[termRow + row]
                                let factor = relative * rowNorm
                                let floor = rowNorm > 0 ? RoundingError.underflow : 0
                                let line = (offset + row * columns)..<(offset + row * columns + width)
                                let sums = UnsafeMutableBufferPointer(rebasing: sums[line])
                                let bounds = UnsafeMutableBufferPointer(rebasing: bounds[line])
                                let product = UnsafeBufferPointer(rebasing: product[(row * width)..<((row + 1) * width)])
                                for column in 0..<width {
                                    sums[column] += scale * product[column]
                                    let norm = norms[column]
                                    bounds[column] += factor * norm + (norm > 0 ? floor : 0) + libraryBound
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

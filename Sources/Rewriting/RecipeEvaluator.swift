import Adapters
import ByteAccess
import Checkpoints
import Synchronization
import Tensors

/// Computes row panels of one output tensor in the defined order of the numerics.
///
/// Any panel can be computed alone; what all panels share (factors, column norms, decompositions) is prepared once, by
/// whichever panel comes first.
final class RecipeEvaluator: Sendable {
    let recipe: TensorRecipe
    private let base: Checkpoint
    private let adapters: [Adapter]
    private let numbers: AdapterNumbers
    private let shared = Mutex<Shared?>(nil)
    private let fused = Mutex<FusedUpdate?>(nil)

    init(recipe: TensorRecipe, base: Checkpoint, adapters: [Adapter], numbers: AdapterNumbers) {
        self.recipe = recipe
        self.base = base
        self.adapters = adapters
        self.numbers = numbers
    }

    /// An additive term with its numbers at hand.
    private enum Term {
        case lowRank(region: Region, left: [Double], right: [Double], rank: Int, scale: Double)
        case dense(region: Region, values: [Double], scale: Double)
        var region: Region {
            switch self {
            case .lowRank(let region, _, _, _, _), .dense(let region, _, _): region
            }
        }
    }

    private struct Shared {
        var terms: [Term] = []
        /// Replaced rows: matrix row → (row of `values`, values, columns).
        var replacements: [(rows: [Int: Int], columns: Range<Int>, values: [Double])] = []
        /// For each magnitude its values, and for those along columns the norms of all columns.
        var magnitudes: [(values: [Double], norms: [Double]?)] = []
    }

    /// What a panel came to.
    struct Panel: Sendable {
        var bytes: [UInt8]
        var statistics = UpdateStatistics()
    }

    /// Computes the rows `rows` of the output matrix.
    func panel(rows: Range<Int>) throws -> Panel {
        let raw = try sourceBytes(rows: rows)
        if recipe.isCopy { return Panel(bytes: raw) }
        if let fused = try fusedUpdate() { return merged(raw, rows: rows, by: fused) }
        let shared = try prepared()
        let count = rows.count * recipe.columns
        let original = try Conversion.widened(raw, as: recipe.sourceDType, count: count)
        let changed = changedSpans(in: rows)
        var values = original
        try apply(shared, to: &values, rows: rows)
        magnify(&values, rows: rows, shared: shared)
        var bytes = try Conversion.narrowed(values, to: recipe.dtype)
        if recipe.sourceDType == recipe.dtype { restore(&bytes, from: raw, outside: changed, rows: rows.count) }
        let stored = try Conversion.widened(bytes, as: recipe.dtype, count: count)
        var statistics = UpdateStatistics()
        let columns = recipe.columns
        for (row, spans) in changed.enumerated() {
            for span in spans {
                statistics.add(
                    original: original, exact: values, stored: stored,
                    range: (row * columns + span.lowerBound)..<(row * columns + span.upperBound))
            }
        }
        return Panel(bytes: bytes, statistics: statistics)
    }

    // MARK: The common case

    /// A single low-rank term over the whole tensor, with its factors packed: most tensors of most merges.
    private struct FusedUpdate: Sendable {
        let kernel: LowRankKernel
        let left: [Double]
        let scale: Double
    }

    /// The fused form of the recipe, where it has one; the kernel gives the same bits as the steps below.
    private func fusedUpdate() throws -> FusedUpdate? {
        guard recipe.updates.count == 1, recipe.magnitudes.isEmpty, recipe.rowReplacements.isEmpty,
            recipe.sourceDType == recipe.dtype, LowRankKernel.supports(recipe.dtype),
            case .lowRank(let left, let right, let scale) = recipe.updates[0].update,
            recipe.updates[0].region == Region(rows: 0..<recipe.rows, columns: 0..<recipe.columns)
        else { return nil }
        return try fused.withLock { known in
            if let known { return known }
            let made = FusedUpdate(
                kernel: LowRankKernel(
                    right: try right.matrix(from: numbers), rank: left.columns, columns: recipe.columns),
                left: try left.matrix(from: numbers), scale: scale)
            known = made
            return made
        }
    }

    private func merged(_ raw: [UInt8], rows: Range<Int>, by update: FusedUpdate) -> Panel {
        var bytes = raw
        let rank = update.kernel.rank
        let figures = bytes.withUnsafeMutableBytes { panel in
            update.left.withUnsafeBufferPointer { left in
                update.kernel.mergePanel(
                    source: UnsafeRawBufferPointer(panel), dtype: recipe.dtype,
                    left: UnsafeBufferPointer(rebasing: left[(rows.lowerBound * rank)..<(rows.upperBound * rank)]),
                    rows: rows.count, scale: update.scale, into: panel)
            }
        }
        return Panel(bytes: bytes, statistics: UpdateStatistics(figures))
    }

    // MARK: Steps

    private func sourceBytes(rows: Range<Int>) throws -> [UInt8] {
        let checkpoint: Checkpoint
        let name: ExactString
        switch recipe.source {
        case .base(let stored): (checkpoint, name) = (base, stored)
        case .adapter(let index, let stored): (checkpoint, name) = (adapters[index].checkpoint, stored)
        }
        guard let tensor = checkpoint[name] else {
            throw PeftfileError(.malformed, "is not in the checkpoint", tensor: name, rule: "TensorMissing")
        }
        guard recipe.rows > 0, recipe.columns > 0 else { return [] }
        let rowBits = UInt64(recipe.columns) * UInt64(recipe.sourceDType.bits)
        if rowBits % 8 != 0 { return try checkpoint.read(tensor) }
        let rowBytes = rowBits / 8
        return try checkpoint.read(
            tensor, bytes: (UInt64(rows.lowerBound) * rowBytes)..<(UInt64(rows.upperBound) * rowBytes))
    }

    /// W + Σ terms, with replaced rows in the place of W's.
    private func apply(_ shared: Shared, to values: inout [Double], rows: Range<Int>) throws {
        let columns = recipe.columns
        for replacement in shared.replacements {
            let width = replacement.columns.count
            for row in rows {
                guard let from = replacement.rows[row] else { continue }
                let start = (row - rows.lowerBound) * columns + replacement.columns.lowerBound
                values.replaceSubrange(start..<(start + width), with: replacement.values[(from * width)..<((from + 1) * width)])
            }
        }
        guard !shared.terms.isEmpty else { return }
        // -0 is the neutral element of addition: -0 + u = u and w + -0 = w for every u and w, +0 and -0 among them.
        var update = [Double](repeating: -0.0, count: values.count)
        for term in shared.terms {
            let part = term.region.rows.clamped(to: rows)
            guard !part.isEmpty else { continue }
            let offset = (part.lowerBound - rows.lowerBound) * columns + term.region.columns.lowerBound
            let first = part.lowerBound - term.region.rows.lowerBound
            let width = term.region.columns.count
            switch term {
            case .lowRank(_, let left, let right, let rank, let scale):
                left.withUnsafeBufferPointer { left in
                    right.withUnsafeBufferPointer { right in
                        update.withUnsafeMutableBufferPointer { update in
                            Kernels.addLowRank(
                                left: UnsafeBufferPointer(rebasing: left[(first * rank)..<((first + part.count) * rank)]),
                                right: right, rows: part.count, rank: rank, columns: width, scale: scale,
                                into: UnsafeMutableBufferPointer(rebasing: update[offset...]), rowStride: columns)
                        }
                    }
                }
            case .dense(_, let dense, let scale):
                for row in 0..<part.count {
                    for column in 0..<width {
                        update[offset + row * columns + column] += scale * dense[(first + row) * width + column]
                    }
                }
            }
        }
        for index in values.indices { values[index] += update[index] }
    }

    /// DoRA: each line of V times m / ‖line‖.
    private func magnify(_ values: inout [Double], rows: Range<Int>, shared: Shared) {
        let columns = recipe.columns
        for (magnitude, numbers) in zip(recipe.magnitudes, shared.magnitudes) {
            let region = magnitude.region
            for row in region.rows.clamped(to: rows) {
                let start = (row - rows.lowerBound) * columns
                switch magnitude.axis {
                case .rows:
                    var squares = 0.0
                    for column in region.columns {
                        squares = squares.addingProduct(values[start + column], values[start + column])
                    }
                    let factor = numbers.values[row - region.rows.lowerBound] / squares.squareRoot()
                    for column in region.columns { values[start + column] *= factor }
                case .columns:
                    guard let norms = numbers.norms else { continue }
                    for column in region.columns {
                        let index = column - region.columns.lowerBound
                        values[start + column] *= numbers.values[index] / norms[index]
                    }
                }
            }
        }
    }

    /// For each row of the panel the column spans that are computed or replaced; everything else keeps its bits.
    private func changedSpans(in rows: Range<Int>) -> [[Range<Int>]] {
        var spans = [[Range<Int>]](repeating: [], count: rows.count)
        for region in recipe.changedRegions {
            for row in region.rows.clamped(to: rows) { insert(region.columns, into: &spans[row - rows.lowerBound]) }
        }
        for replacement in recipe.rowReplacements {
            for row in replacement.rows where rows.contains(row) {
                insert(replacement.columns, into: &spans[row - rows.lowerBound])
            }
        }
        return spans
    }

    /// Keeps the spans sorted and apart, so that no element is counted twice.
    private func insert(_ span: Range<Int>, into spans: inout [Range<Int>]) {
        guard !span.isEmpty else { return }
        var merged = span
        spans.removeAll { other in
            guard other.overlaps(merged) || other.upperBound == merged.lowerBound || merged.upperBound == other.lowerBound
            else { return false }
            merged = min(other.lowerBound, merged.lowerBound)..<max(other.upperBound, merged.upperBound)
            return true
        }
        spans.append(merged)
        spans.sort { $0.lowerBound < $1.lowerBound }
    }

    private func restore(_ bytes: inout [UInt8], from raw: [UInt8], outside changed: [[Range<Int>]], rows: Int) {
        let size = recipe.dtype.bits / 8
        let columns = recipe.columns
        for row in 0..<rows {
            var column = 0
            for span in changed[row] + [columns..<columns] {
                if column < span.lowerBound {
                    let range = ((row * columns + column) * size)..<((row * columns + span.lowerBound) * size)
                    bytes.replaceSubrange(range, with: raw[range])
                }
                column = span.upperBound
            }
        }
    }

    // MARK: What all panels share

    private func prepared() throws -> Shared {
        try shared.withLock { known in
            if let known { return known }
            var result = Shared()
            for placed in recipe.updates { result.terms.append(try term(placed)) }
            for replacement in recipe.rowReplacements {
                let rows = Dictionary(replacement.rows.enumerated().map { ($1, $0) }) { _, last in last }
                result.replacements.append((rows, replacement.columns, try replacement.values.matrix(from: numbers)))
            }
            for magnitude in recipe.magnitudes {
                let values = try magnitude.values.matrix(from: numbers)
                let norms = magnitude.axis == .columns ? try columnNorms(of: magnitude.region, result) : nil
                result.magnitudes.append((values, norms))
            }
            known = result
            return result
        }
    }

    private func term(_ placed: TensorRecipe.PlacedUpdate) throws -> Term {
        switch placed.update {
        case .lowRank(let left, let right, let scale):
            return .lowRank(
                region: placed.region, left: try left.matrix(from: numbers), right: try right.matrix(from: numbers),
                rank: left.columns, scale: scale)
        case .dense(let values, let scale):
            return .dense(region: placed.region, values: try values.matrix(from: numbers), scale: scale)
        case .decomposed(let decomposition, let transposed, let scale):
            let weight = try wholeSource()
            let factors = try decomposition.factors(
                ofStored: weight, rows: recipe.rows, columns: recipe.columns, transposed: transposed)
            return .lowRank(
                region: placed.region, left: factors.left, right: factors.right, rank: factors.rank, scale: scale)
        }
    }

    private func wholeSource() throws -> [Double] {
        try Conversion.widened(
            try sourceBytes(rows: 0..<recipe.rows), as: recipe.sourceDType, count: recipe.rows * recipe.columns)
    }

    /// ‖V[:, j]‖ for every column of the region, summing squares by fused multiply-add down the rows.
    private func columnNorms(of region: Region, _ shared: Shared) throws -> [Double] {
        var squares = [Double](repeating: 0, count: region.columns.count)
        var row = region.rows.lowerBound
        while row < region.rows.upperBound {
            let rows = row..<min(row + 256, region.rows.upperBound)
            var values = try Conversion.widened(
                try sourceBytes(rows: rows), as: recipe.sourceDType, count: rows.count * recipe.columns)
            try apply(shared, to: &values, rows: rows)
            for line in 0..<rows.count {
                for (index, column) in region.columns.enumerated() {
                    let value = values[line * recipe.columns + column]
                    squares[index] = squares[index].addingProduct(value, value)
                }
            }
            row = rows.upperBound
        }
        return squares.map { $0.squareRoot() }
    }
}

import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// The steps of a panel, in the order of the numerics.
extension RecipeEvaluator {
    /// The stored tensor, and where it is.
    func source() throws -> (checkpoint: Checkpoint, tensor: StoredTensor) {
        let checkpoint: Checkpoint
        let name: ExactString
        switch recipe.source {
        case .base(let stored): (checkpoint, name) = (base, stored)
        case .adapter(let index, let stored): (checkpoint, name) = (adapters[index].checkpoint, stored)
        }
        guard let tensor = checkpoint[name] else {
            throw PeftfileError(.malformed, "is not in the checkpoint", tensor: name, rule: "TensorMissing")
        }
        return (checkpoint, tensor)
    }

    func sourceBytes(rows: Range<Int>) throws -> [UInt8] {
        let (checkpoint, tensor) = try source()
        guard recipe.rows > 0, recipe.columns > 0 else { return [] }
        let rowBits = UInt64(recipe.columns) * UInt64(recipe.sourceDType.bits)
        if rowBits % 8 != 0 { return try checkpoint.read(tensor) }
        let rowBytes = rowBits / 8
        return try checkpoint.read(
            tensor, bytes: (UInt64(rows.lowerBound) * rowBytes)..<(UInt64(rows.upperBound) * rowBytes))
    }

    /// Puts replaced rows in the place of the source's.
    func replaceRows(_ shared: Shared, in values: inout [Double], rows: Range<Int>) {
        let columns = recipe.columns
        for replacement in shared.replacements {
            let width = replacement.columns.count
            for row in rows {
                guard let from = replacement.rows[row] else { continue }
                let start = (row - rows.lowerBound) * columns + replacement.columns.lowerBound
                values.replaceSubrange(start..<(start + width), with: replacement.values[(from * width)..<((from + 1) * width)])
            }
        }
    }

    /// W + Σ terms, W with its replaced rows and transforms.
    func apply(_ shared: Shared, to values: inout [Double], rows: Range<Int>) throws {
        let columns = recipe.columns
        replaceRows(shared, in: &values, rows: rows)
        // Terms may read the base too, and mean it as it was.
        let start = values
        try transform(&values, rows: rows, shared)
        guard !shared.terms.isEmpty else { return }
        // A single term goes straight onto W: the sum of one update is that update.
        if shared.terms.count == 1, case .lowRank(let region, let left, let right, let rank, let scale) = shared.terms[0] {
            let part = region.rows.clamped(to: rows)
            guard !part.isEmpty else { return }
            let offset = (part.lowerBound - rows.lowerBound) * columns + region.columns.lowerBound
            let first = part.lowerBound - region.rows.lowerBound
            values.withUnsafeMutableBufferPointer { values in
                RecipeEvaluator.add(
                    left[(first * rank)..<((first + part.count) * rank)], right, rows: part.count, rank: rank,
                    columns: region.columns.count, scale: scale, to: values, offset: offset, rowStride: columns)
            }
            return
        }
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
                update.withUnsafeMutableBufferPointer { update in
                    RecipeEvaluator.add(
                        left[(first * rank)..<((first + part.count) * rank)], right, rows: part.count, rank: rank,
                        columns: width, scale: scale, to: update, offset: offset, rowStride: columns)
                }
            case .computed(let region, let walk, let scale):
                try add(walk, region: region, scale: scale, to: &update, values: start, rows: rows, shared)
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

    static func add(
        _ left: ArraySlice<Double>, _ right: [Double], rows: Int, rank: Int, columns: Int, scale: Double,
        to values: UnsafeMutableBufferPointer<Double>, offset: Int, rowStride: Int
    ) {
        left.withUnsafeBufferPointer { left in
            right.withUnsafeBufferPointer { right in
                Kernels.addLowRank(
                    left: left, right: right, rows: rows, rank: rank, columns: columns, scale: scale,
                    into: UnsafeMutableBufferPointer(rebasing: values[offset...]), rowStride: rowStride)
            }
        }
    }

    /// DoRA: each line of V times m / ‖line‖.
    func magnify(_ values: inout [Double], rows: Range<Int>, shared: Shared) {
        let columns = recipe.columns
        for (magnitude, numbers) in zip(recipe.magnitudes, shared.magnitudes) {
            let region = magnitude.region
            let part = region.rows.clamped(to: rows)
            guard !part.isEmpty else { continue }
            switch magnitude.axis {
            case .rows:
                let first = part.lowerBound - region.rows.lowerBound
                let offset = (part.lowerBound - rows.lowerBound) * columns + region.columns.lowerBound
                values.withUnsafeMutableBufferPointer { values in
                    numbers.values[first..<(first + part.count)].withUnsafeBufferPointer { magnitudes in
                        Kernels.scaleRows(
                            UnsafeMutableBufferPointer(rebasing: values[offset...]), columns: region.columns.count,
                            rowStride: columns, magnitudes: magnitudes)
                    }
                }
            case .columns:
                guard let factors = numbers.factors else { continue }
                let offset = (part.lowerBound - rows.lowerBound) * columns + region.columns.lowerBound
                values.withUnsafeMutableBufferPointer { values in
                    factors.withUnsafeBufferPointer {
                        Kernels.scaleColumns(
                            UnsafeMutableBufferPointer(rebasing: values[offset...]), rows: part.count,
                            rowStride: columns, factors: $0)
                    }
                }
            }
        }
    }

    /// For each row of the panel the column spans that are computed or replaced; everything else keeps its bits.
    func changedSpans(in rows: Range<Int>) -> [[Range<Int>]] {
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
    func insert(_ span: Range<Int>, into spans: inout [Range<Int>]) {
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

    func restore(_ bytes: inout [UInt8], from raw: [UInt8], outside changed: [[Range<Int>]], rows: Int) {
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
}

import Tensors

/// How a stored tensor of `blocks` matrices, `height` × `width` each, lies in the Hub's, of whose rows `blockRows` belong to each block:
///
///     stored[b, i, j] = hub[b·blockRows + first + i, j]            as it is
///     stored[b, i, j] = hub[b·blockRows + j, first + i·step]       turned
///     stored[0, i, j] = hub[rows[i], j]                            with runs of rows
///     stored[0, i, j] = hub[i, order[j]]                           with runs of columns
public struct GGUFCut: Sendable, Hashable {
    /// Experts, or heads; 1 for a matrix alone.
    public var blocks: Int
    /// Rows of each stored matrix.
    public var height: Int
    /// The length of its rows.
    public var width: Int
    /// Whether its rows are columns in the Hub's.
    public var isTurned: Bool
    /// The row of the Hub's block, or where turned the column, that the first stored row is.
    public var first: Int
    /// From one column to the next; 1 but where those of two tensors alternate.
    public var step: Int
    /// Rows of the Hub's matrix for each block.
    public var blockRows: Int
    /// Columns of the Hub's matrix.
    public var columns: Int
    /// The Hub's rows in the stored order, in runs that stay together; nil where they are those above.
    public var rowRuns: [Range<Int>]?
    /// The Hub's columns in the stored order, in such runs; nil where they are in the Hub's.
    public var columnRuns: [Range<Int>]?

    /// Elements that are stored.
    public var count: Int { blocks * height * width }

    /// Rows of the Hub's that are needed together for a run of stored elements.
    public var rowsTogether: Int { isTurned ? width : 1 }

    /// The cut of one of the parts of a tensor of the Hub's, and that tensor's shape.
    ///
    /// - Parameters:
    ///   - shape: the stored tensor's.
    ///   - other: that of the other part of two, where the form is one.
    /// - Returns: nil where the shapes are not of that form, or do not fit each other.
    static func of(_ form: GGUFForm, _ shape: Shape, other: Shape?, heads: GGUFLinearHeads? = nil) -> (cut: GGUFCut, shape: Shape)? {
        if let heads, let result = heads.cut(form, shape, other: other) { return result }
        guard (2...3).contains(shape.count) else { return nil }
        let isStack = shape.count == 3
        func cut(_ blocks: Int, _ height: Int, _ width: Int) -> GGUFCut {
            GGUFCut(blocks: blocks, height: height, width: width, isTurned: false, first: 0, step: 1, blockRows: height, columns: width)
        }
        var result = isStack ? cut(shape[0], shape[1], shape[2]) : cut(1, shape[0], shape[1])
        let front = isStack ? [shape[0]] : []
        switch form {
        case .turned:
            (result.isTurned, result.blockRows, result.columns) = (true, result.width, result.height)
            return (result, front + [result.width, result.height])
        case .rows(let part):
            guard other == shape else { return nil }
            (result.first, result.blockRows) = (part * result.height, 2 * result.height)
            return (result, front + [2 * result.height, result.width])
        case .columns(let part, let alternate):
            guard other == shape else { return nil }
            // What is no stack are the experts' biases, a row for each.
            if !isStack { result = cut(shape[0], shape[1], 1) }
            (result.isTurned, result.first, result.step) = (true, alternate ? part : part * result.height, alternate ? 2 : 1)
            (result.blockRows, result.columns) = (result.width, 2 * result.height)
            return (result, (isStack ? [shape[0], result.width] : [shape[0]]) + [2 * result.height])
        case .latentKeys:
            guard isStack, let other, other.count == 3, other[0] == shape[0], other[2] == shape[1] else { return nil }
            (result.isTurned, result.blockRows, result.columns) = (true, shape[2] + other[1], shape[1])
            return (result, [shape[0] * result.blockRows, shape[1]])
        case .latentValues:
            guard isStack, let other, other.count == 3, other[0] == shape[0], other[1] == shape[2] else { return nil }
            (result.first, result.blockRows) = (other[2], other[2] + shape[1])
            return (result, [shape[0] * result.blockRows, shape[2]])
        case .below(let isTurned):
            guard isStack else { return nil }
            if isTurned { (result.isTurned, result.blockRows, result.columns) = (true, result.width, result.height) }
            return (result, [shape[0] * result.blockRows, result.columns])
        case .vector, .filters, .exponential, .linearProjection, .valueRows, .valueColumns, .valueVector, .valueFilters, .valueExponential, .packed, .lengthened:
            return nil
        }
    }

    // MARK: Rows of the Hub's

    /// The Hub's rows in pieces, each of which is one run of stored elements, in their order; so many rows of a piece are enough where
    /// rows are not turned.
    public func pieces(step: Int) -> [Range<Int>] {
        if let rowRuns {
            return rowRuns.flatMap { run in stride(from: run.lowerBound, to: run.upperBound, by: step).map { $0..<min($0 + step, run.upperBound) } }
        }
        return (0..<blocks).flatMap { block -> [Range<Int>] in
            let start = block * blockRows
            if isTurned { return [start..<(start + width)] }
            return stride(from: start + first, to: start + first + height, by: step).map { $0..<min($0 + step, start + first + height) }
        }
    }

    /// The stored elements of a piece.
    public func elements(of piece: Range<Int>) -> Range<Int> {
        if rowRuns != nil {
            let start = (storedRow(of: piece.lowerBound) ?? 0) * width
            return start..<(start + piece.count * width)
        }
        let block = piece.lowerBound / blockRows
        if isTurned { return (block * height * width)..<((block + 1) * height * width) }
        let start = (block * height + piece.lowerBound % blockRows - first) * width
        return start..<(start + piece.count * width)
    }

    /// The stored row of one of the Hub's, counted in all blocks; nil where another part has it, and where rows are turned.
    public func storedRow(of row: Int) -> Int? {
        guard let rowRuns else {
            let place = row % blockRows - first
            return isTurned || place < 0 || place >= height ? nil : row / blockRows * height + place
        }
        var stored = 0
        for run in rowRuns {
            if run.contains(row) { return stored + row - run.lowerBound }
            stored += run.count
        }
        return nil
    }

    /// Where the elements of a piece stand among those of its rows in the Hub's matrix, in the stored order.
    public func forEachElement(of piece: Range<Int>, _ body: (Int) -> Void) {
        guard isTurned else {
            guard let columnRuns else {
                for place in 0..<(piece.count * width) { body(place) }
                return
            }
            for row in 0..<piece.count {
                for run in columnRuns { for column in run { body(row * columns + column) } }
            }
            return
        }
        for row in 0..<height {
            for column in 0..<width { body(column * columns + first + row * step) }
        }
    }

    /// Those of some columns of the Hub's that are stored here.
    public func owned(_ span: Range<Int>) -> [Range<Int>] {
        guard isTurned else { return [span] }
        guard step > 1 else {
            let own = span.clamped(to: first..<(first + height))
            return own.isEmpty ? [] : [own]
        }
        return span.filter { $0 % step == first }.map { $0..<($0 + 1) }
    }
}

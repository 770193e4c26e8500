import Tensors

/// How a stored tensor of `blocks` matrices, `height` × `width` each, lies in the Hub's, of whose rows `blockRows` belong to each block:
///
///     stored[b, i, j] = hub[b·blockRows + first + i, j]            as it is
///     stored[b, i, j] = hub[b·blockRows + j, first + i·step]       turned
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
    static func of(_ form: GGUFForm, _ shape: Shape, other: Shape?) -> (cut: GGUFCut, shape: Shape)? {
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
        case .vector, .filters, .exponential: return nil
        }
    }

    // MARK: Rows of the Hub's

    /// The Hub's rows in pieces, each of which is one run of stored elements, in their order; so many rows of a piece are enough where
    /// rows are not turned.
    public func pieces(step: Int) -> [Range<Int>] {
        (0..<blocks).flatMap { block -> [Range<Int>] in
            let start = block * blockRows
            if isTurned { return [start..<(start + width)] }
            return stride(from: start + first, to: start + first + height, by: step).map { $0..<min($0 + step, start + first + height) }
        }
    }

    /// The stored elements of a piece.
    public func elements(of piece: Range<Int>) -> Range<Int> {
        let block = piece.lowerBound / blockRows
        if isTurned { return (block * height * width)..<((block + 1) * height * width) }
        let start = (block * height + piece.lowerBound % blockRows - first) * width
        return start..<(start + piece.count * width)
    }

    /// Where the elements of a piece stand among those of its rows in the Hub's matrix, in the stored order.
    public func forEachElement(of piece: Range<Int>, _ body: (Int) -> Void) {
        guard isTurned else {
            for place in 0..<(piece.count * width) { body(place) }
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

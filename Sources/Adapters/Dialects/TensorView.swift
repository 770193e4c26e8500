public import ByteAccess
public import Tensors

/// A tensor of an adapter as its method names and shapes it, in terms of what the file stores.
///
/// The tensor is zero, except where a part lies. A part is a stored tensor with its axes permuted, read as a matrix of
/// its first dimension by the product of the others; its upper left corner stands at `(row, column)` of the tensor
/// read the same way. So a dialect that stores a factor transposed, in pieces, or packed by groups needs no copy of it
/// and no arithmetic of its own.
public struct TensorView: Sendable, Hashable {
    /// A stored tensor and where it stands.
    public struct Part: Sendable, Hashable {
        /// The tensor in the file.
        public var stored: TensorInfo
        /// Axis i is the stored axis `axes[i]`; nil leaves them as they are.
        public var axes: [Int]?
        /// The rows of the permuted matrix that are taken; nil takes all.
        public var rows: Range<Int>?
        /// How many rows the permuted array is read as having; nil for its first dimension.
        public var height: Int?
        /// The first row that the part covers.
        public var row: Int
        /// The first column that the part covers.
        public var column: Int

        init(_ stored: TensorInfo, axes: [Int]? = nil, rows: Range<Int>? = nil, row: Int = 0, column: Int = 0) {
            self.stored = stored
            self.axes = axes
            self.rows = rows
            self.row = row
            self.column = column
        }

        /// The permuted shape.
        var shape: Shape { axes.map { $0.map { stored.shape[$0] } } ?? stored.shape }

        /// Rows and columns of the permuted array.
        var matrix: (rows: Int, columns: Int) {
            guard let height, height > 0 else { return shape.matrix }
            return (height, stored.elementCount / height)
        }
    }

    /// Name, dtype and shape for the method. The name is the stored one where one tensor is shown whole.
    public var info: TensorInfo
    /// The stored tensors, none covering another.
    public var parts: [Part]
    /// How many rows the tensor is read as having when the parts are placed; nil for its first dimension.
    public var height: Int?

    /// A stored tensor as it is, or with another shape of as many elements.
    init(_ stored: TensorInfo, shape: Shape? = nil) {
        info = stored
        if let shape, shape.elementCount == stored.elementCount { info.shape = shape }
        parts = [Part(stored)]
    }

    /// A stored tensor with its axes permuted, and then read in another shape of as many elements.
    ///
    /// - Parameter axes: each axis of the stored tensor once.
    init(_ stored: TensorInfo, axes: [Int], shape: Shape? = nil) {
        let part = Part(stored, axes: axes)
        info = stored
        info.shape = shape ?? part.shape
        parts = [part]
    }

    /// A tensor made of several, placed in it read as `height` rows.
    init(name: ExactString, shape: Shape, height: Int? = nil, parts: [Part]) {
        self.height = height
        info = TensorInfo(
            name: name, dtype: parts.first?.stored.dtype ?? .f32, shape: shape, begin: parts.first?.stored.begin ?? 0,
            end: parts.first?.stored.end ?? 0)
        self.parts = parts
    }

    private var matrix: (rows: Int, columns: Int) {
        guard let height, height > 0 else { return info.shape.matrix }
        return (height, info.elementCount / height)
    }

    /// Whether the elements are those of one stored tensor in their stored order.
    var isWhole: Bool {
        guard parts.count == 1, let part = parts.first else { return false }
        return part.axes == nil && part.rows == nil && part.row == 0 && part.column == 0
            && part.stored.elementCount == info.elementCount
    }

    /// The elements, in C order.
    ///
    /// - Parameter read: some rows of a stored tensor, widened; nil asks for all.
    /// - Throws: what `read` throws; `.malformed` where a part does not fit into the tensor.
    func elements(_ read: (TensorInfo, Range<Int>?) throws -> [Double]) throws -> [Double] {
        if isWhole, let part = parts.first { return try read(part.stored, nil) }
        let (height, width) = matrix
        var result = [Double](repeating: 0, count: height * width)
        for part in parts {
            var (partHeight, partWidth) = part.matrix
            var rows = part.rows ?? 0..<partHeight
            guard rows.lowerBound >= 0, rows.upperBound <= partHeight else { throw misfit(part) }
            let values: [Double]
            if part.axes == nil, part.rows != nil {
                values = try read(part.stored, rows)
                (rows, partHeight) = (0..<rows.count, rows.count)
            } else {
                let all = TensorView.permuted(try read(part.stored, nil), part)
                guard all.count == partHeight * partWidth else { throw misfit(part) }
                if part.height != nil {
                    values = Array(all[(rows.lowerBound * partWidth)..<(rows.upperBound * partWidth)])
                    (rows, partHeight) = (0..<rows.count, rows.count)
                } else {
                    values = all
                }
            }
            // One part alone may also be cut into rows of another length.
            if parts.count == 1, rows.count == partHeight, values.count == result.count { return values }
            guard part.row >= 0, part.row + rows.count <= height, part.column >= 0, part.column + partWidth <= width,
                values.count == partHeight * partWidth
            else { throw misfit(part) }
            for (offset, row) in rows.enumerated() {
                let target = (part.row + offset) * width + part.column
                result.replaceSubrange(
                    target..<(target + partWidth), with: values[(row * partWidth)..<((row + 1) * partWidth)])
            }
        }
        return result
    }

    private func misfit(_ part: Part) -> PeftfileError {
        PeftfileError(
            .malformed, "has shape \(part.stored.shape), which does not fit into \(info.shape)", tensor: part.stored.name,
            rule: "FactorShape")
    }

    private static func permuted(_ values: [Double], _ part: Part) -> [Double] {
        part.axes.map { permuted(values, shape: part.stored.shape, axes: $0) } ?? values
    }

    /// The elements of an array with its axes permuted; axis i of the result is `axes[i]` of `stored`.
    public static func permuted(_ values: [Double], shape stored: Shape, axes: [Int]) -> [Double] {
        guard axes != Array(stored.indices), stored.elementCount == values.count else { return values }
        var strides = [Int](repeating: 1, count: stored.count)
        for axis in stored.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * stored[axis + 1] }
        let shape = axes.map { stored[$0] }
        let steps = axes.map { strides[$0] }
        var result: [Double] = []
        result.reserveCapacity(values.count)
        var index = [Int](repeating: 0, count: shape.count)
        var source = 0
        for _ in values.indices {
            result.append(values[source])
            // An odometer: the last axis turns fastest.
            for axis in shape.indices.reversed() {
                index[axis] += 1
                source += steps[axis]
                if index[axis] < shape[axis] { break }
                source -= steps[axis] * shape[axis]
                index[axis] = 0
            }
        }
        return result
    }
}

public import ByteAccess
public import Containers
public import Tensors

/// A tensor of a GGUF file as the model has it: blocks dequantised, rows in the Hub's order, one matrix out of a stack of
/// experts, a matrix turned, a norm without the 1 that the converter added.
///
///     W[r, c] = decode(stored)[first + storedRows[r], c] − shift,   of a transposed one decode(stored)[c, r]
public struct GGUFWeight: QuantisedWeight {
    public let name: ExactString
    public let shape: Shape
    public let codes: StoredTensor
    /// The type of the stored elements.
    public let type: GGUFType
    /// The order of the stored rows, counted from `first`; nil where it is the Hub's.
    public let order: GGUFTensor.Order?
    /// The stored tensor's element at which the weight begins; a whole number of rows.
    public let first: Int
    /// Whether the stored matrix is the transpose.
    public let isTransposed: Bool
    /// What the converter added to every element.
    public let shift: Double
    public let plainDType: DType?

    public var components: [StoredTensor] { [codes] }

    init(
        name: ExactString, shape: Shape, codes: StoredTensor, type: GGUFType, order: GGUFTensor.Order? = nil, first: Int = 0,
        isTransposed: Bool = false, shift: Double = 0, plainDType: DType? = nil
    ) {
        (self.name, self.shape, self.codes, self.type) = (name, shape, codes, type)
        self.isTransposed = isTransposed
        (self.order, self.first, self.shift, self.plainDType) = (order, first, shift, plainDType)
    }

    /// The length of a row that is moved as a whole.
    public var rowLength: Int { order != nil && shape.count < 2 ? 1 : max(1, shape.last ?? 1) }

    public var rowsReadTogether: Int {
        if isTransposed { return max(type.blockElements, 64) }
        guard let order, rowLength > 1, order.groupSize < order.storedRows.count else { return 1 }
        return order.groupSize
    }

    /// Fills `result` with elements of the plain tensor, in row-major order, by the formula of the type.
    ///
    /// - Throws: what ``Checkpoint/read(_:bytes:)`` throws for the stored tensor.
    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        guard !elements.isEmpty, let base = result.baseAddress else { return }
        if isTransposed {
            try readRows(of: elements, columns: rowLength, into: result) { rows, target in
                try readColumns(rows, components, into: target)
            }
        } else if let order {
            let length = rowLength
            // Groups of rows are read at once, and taken from there in their order; rows of a group that is the whole tensor alone.
            let size = order.groupSize == order.storedRows.count ? 1 : order.groupSize
            var start = -1
            var group: [Double] = []
            try forEachRow(of: elements, columns: length) { row, columns, offset in
                let stored = order.storedRows[row]
                if start < 0 || stored / size * size != start {
                    start = stored / size * size
                    group = try decoded((first + start * length)..<(first + (start + size) * length), components)
                }
                let source = (stored - start) * length
                for column in columns { base[offset + column - columns.lowerBound] = group[source + column] }
            }
        } else {
            try decode((first + elements.lowerBound)..<(first + elements.upperBound), components, into: base)
        }
        if shift != 0 { for index in result.indices.prefix(elements.count) { base[index] -= shift } }
    }

    /// Stored columns as rows.
    private func readColumns(
        _ columns: Range<Int>, _ components: ComponentReader, into target: UnsafeMutableBufferPointer<Double>
    ) throws {
        let (rows, length) = (rowLength, shape.first ?? 0)
        for row in 0..<rows {
            let start = first + row * length
            let values = try decoded((start + columns.lowerBound)..<(start + columns.upperBound), components)
            for (number, value) in values.enumerated() { target[number * rows + row] = value }
        }
    }

    private func decoded(_ elements: Range<Int>, _ components: ComponentReader) throws -> [Double] {
        try [Double](unsafeUninitializedCapacity: elements.count) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            try decode(elements, components, into: base)
            count = elements.count
        }
    }

    /// Stored elements, in their order in the file.
    private func decode(
        _ elements: Range<Int>, _ components: ComponentReader, into target: UnsafeMutablePointer<Double>
    ) throws {
        let (size, width) = (type.blockElements, type.blockBytes)
        let blocks = (elements.lowerBound / size)..<((elements.upperBound - 1) / size + 1)
        let bytes = try components.bytes(codes, (blocks.lowerBound * width)..<(blocks.upperBound * width))
        if let dtype = type.dtype {
            try bytes.withUnsafeBytes {
                try Conversion.widen($0, as: dtype, into: UnsafeMutableBufferPointer(start: target, count: elements.count))
            }
            return
        }
        bytes.withUnsafeBufferPointer { bytes in
            guard let source = bytes.baseAddress else { return }
            withUnsafeTemporaryAllocation(of: Double.self, capacity: size) { part in
                guard let partBase = part.baseAddress else { return }
                for block in blocks {
                    let start = block * size
                    let place = source + (block - blocks.lowerBound) * width
                    if start >= elements.lowerBound, start + size <= elements.upperBound {
                        GGUFBlock.decode(type, place, into: target + (start - elements.lowerBound))
                        continue
                    }
                    GGUFBlock.decode(type, place, into: partBase)
                    let wanted = max(start, elements.lowerBound)..<min(start + size, elements.upperBound)
                    for element in wanted { target[element - elements.lowerBound] = partBase[element - start] }
                }
            }
        }
    }
}

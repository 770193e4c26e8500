public import ByteAccess
public import Containers
public import Tensors

/// A tensor of a GGUF file as the model has it: blocks dequantised, rows in the Hub's order, one matrix out of a stack of
/// experts, a matrix turned, reordered or made of two parts by ``GGUFCut``, a norm without the 1 that the converter added, A_log.
///
///     W[r, c] = decode(stored)[first + storedRows[r], c] − shift,   of A_log ln(−decode(stored)[r, c])
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
    /// The stored tensors that it is cut into, the first of them `codes`; none where it is one tensor as it is stored.
    public let parts: [Part]
    /// Whether it is the logarithm of what is stored, without its sign.
    public let isLogarithm: Bool
    /// What the converter added to every element.
    public let shift: Double
    public let plainDType: DType?

    public var components: [StoredTensor] { parts.isEmpty ? [codes] : parts.map(\.codes) }

    /// One of the stored tensors of a weight that the converter cut.
    public struct Part: Sendable, Hashable {
        /// The stored tensor.
        public let codes: StoredTensor
        /// The type of its elements.
        public let type: GGUFType
        /// How it lies in the weight.
        public let cut: GGUFCut
    }

    init(
        name: ExactString, shape: Shape, codes: StoredTensor, type: GGUFType, order: GGUFTensor.Order? = nil, first: Int = 0,
        parts: [Part] = [], isLogarithm: Bool = false, shift: Double = 0, plainDType: DType? = nil
    ) {
        (self.name, self.shape, self.codes, self.type) = (name, shape, codes, type)
        (self.parts, self.isLogarithm) = (parts, isLogarithm)
        (self.order, self.first, self.shift, self.plainDType) = (order, first, shift, plainDType)
    }

    /// The length of a row that is moved as a whole.
    public var rowLength: Int { order != nil && shape.count < 2 ? 1 : max(1, shape.last ?? 1) }

    public var rowsReadTogether: Int {
        if let widest = parts.filter({ $0.cut.isTurned }).map({ max($0.type.blockElements, 64) }).max() { return widest }
        if !parts.isEmpty { return 1 }
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
        if !parts.isEmpty {
            try readRows(of: elements, columns: parts[0].cut.columns, into: result) { rows, target in
                for part in parts { try read(part, rows, components, into: target) }
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
                    group = try decoded(codes, type, (first + start * length)..<(first + (start + size) * length), components)
                }
                let source = (stored - start) * length
                for column in columns { base[offset + column - columns.lowerBound] = group[source + column] }
            }
        } else {
            try decode(codes, type, (first + elements.lowerBound)..<(first + elements.upperBound), components, into: base)
        }
        if isLogarithm { for index in result.indices.prefix(elements.count) { base[index] = GGUFLogarithm.of(-base[index]) } }
        if shift != 0 { for index in result.indices.prefix(elements.count) { base[index] -= shift } }
    }

    /// What a part has of some rows.
    private func read(
        _ part: Part, _ rows: Range<Int>, _ components: ComponentReader, into target: UnsafeMutableBufferPointer<Double>
    ) throws {
        let cut = part.cut
        if let runs = cut.rowRuns {
            var stored = 0
            for run in runs {
                let wanted = rows.clamped(to: run)
                let first = (stored + wanted.lowerBound - run.lowerBound) * cut.width
                stored += run.count
                if wanted.isEmpty { continue }
                let values = try decoded(part.codes, part.type, first..<(first + wanted.count * cut.width), components)
                let offset = (wanted.lowerBound - rows.lowerBound) * cut.columns
                for (number, value) in values.enumerated() { target[offset + number] = value }
            }
            return
        }
        if let runs = cut.columnRuns {
            let values = try decoded(part.codes, part.type, (rows.lowerBound * cut.width)..<(rows.upperBound * cut.width), components)
            var number = 0
            for row in 0..<rows.count {
                for run in runs {
                    for column in run {
                        target[row * cut.columns + column] = values[number]
                        number += 1
                    }
                }
            }
            return
        }
        for block in (rows.lowerBound / cut.blockRows)...((rows.upperBound - 1) / cut.blockRows) {
            let start = block * cut.blockRows
            let own = cut.isTurned ? start..<(start + cut.width) : (start + cut.first)..<(start + cut.first + cut.height)
            let wanted = rows.clamped(to: own)
            if wanted.isEmpty { continue }
            guard cut.isTurned, let base = target.baseAddress else {
                let values = try decoded(part.codes, part.type, cut.elements(of: wanted), components)
                let offset = (wanted.lowerBound - rows.lowerBound) * cut.columns
                for (number, value) in values.enumerated() { target[offset + number] = value }
                continue
            }
            // Stored rows are the Hub's columns: read at once where all of each is wanted.
            let isWhole = wanted.count == cut.width
            let matrix = block * cut.height * cut.width
            let all = isWhole ? try decoded(part.codes, part.type, matrix..<(matrix + cut.height * cut.width), components) : []
            for line in 0..<cut.height {
                let first = matrix + line * cut.width + wanted.lowerBound - start
                let values = isWhole
                    ? all[(line * cut.width)..<((line + 1) * cut.width)]
                    : try decoded(part.codes, part.type, first..<(first + wanted.count), components)[...]
                var place = base + (wanted.lowerBound - rows.lowerBound) * cut.columns + cut.first + line * cut.step
                for value in values {
                    place.pointee = value
                    place += cut.columns
                }
            }
        }
    }

    private func decoded(
        _ codes: StoredTensor, _ type: GGUFType, _ elements: Range<Int>, _ components: ComponentReader
    ) throws -> [Double] {
        try [Double](unsafeUninitializedCapacity: elements.count) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            try decode(codes, type, elements, components, into: base)
            count = elements.count
        }
    }

    /// Stored elements, in their order in the file.
    private func decode(
        _ codes: StoredTensor, _ type: GGUFType, _ elements: Range<Int>, _ components: ComponentReader, into target: UnsafeMutablePointer<Double>
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

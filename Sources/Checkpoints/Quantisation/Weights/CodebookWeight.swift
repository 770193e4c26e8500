public import ByteAccess
public import Tensors

/// A weight of 4-bit codes into a table, scaled by the largest magnitude of each block of the flat tensor (bitsandbytes).
///
///     W[i] = table[q[i]] · absmax[i / blockSize]          i counts the whole tensor, row-major
///     absmax[b] = nestedTable[c[b]] · nestedAbsmax[b / nestedBlockSize] + offset      double quantisation
///
/// Byte j of the codes has element 2j in its high half and 2j + 1 in its low half. A product of two F32 numbers is exact in
/// float64; the sum with `offset` rounds once, and the product with it once more. Source: `dequantize_4bit` and
/// `QuantState.from_dict` in bitsandbytes/functional.py.
public struct CodebookWeight: QuantisedWeight {
    public let name: ExactString
    public let shape: Shape
    public let codes: StoredTensor
    /// 16 entries.
    public let table: StoredTensor
    /// Elements of a block of the flat tensor.
    public let blockSize: Int
    /// F32 magnitudes, or with `nested` U8 codes for them.
    public let absmax: StoredTensor
    /// The second level; nil where the magnitudes are stored as numbers.
    public let nested: Nested?
    /// `quant_state`, which was read when the checkpoint was opened.
    let state: StoredTensor

    /// The second level of double quantisation.
    public struct Nested: Sendable {
        /// 256 entries.
        public let table: StoredTensor
        /// F32, one magnitude for each block of magnitudes.
        public let absmax: StoredTensor
        /// Magnitudes of a block.
        public let blockSize: Int
        /// Added to every magnitude.
        public let offset: Double
    }

    public var components: [StoredTensor] {
        [codes, table, absmax, state] + (nested.map { [$0.table, $0.absmax] } ?? [])
    }

    /// Fills `result` with elements of the plain tensor, in row-major order, by the formula of the type.
    ///
    /// - Throws: what ``Checkpoint/read(_:bytes:)`` throws for the codes, the tables and the magnitudes.
    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        guard !elements.isEmpty else { return }
        let table = try components.values(table)
        let firstByte = elements.lowerBound / 2
        let bytes = try components.bytes(codes, firstByte..<((elements.upperBound + 1) / 2))
        let firstBlock = elements.lowerBound / blockSize
        let scales = try magnitudes(firstBlock..<((elements.upperBound - 1) / blockSize + 1), components)
        // Sixteen products a block, then a look-up an element.
        var scaled = [Double](repeating: 0, count: 16)
        var start = elements.lowerBound
        while start < elements.upperBound {
            let block = start / blockSize
            let end = min(elements.upperBound, (block + 1) * blockSize)
            let scale = scales[block - firstBlock]
            for code in 0..<16 { scaled[code] = table[code] * scale }
            bytes.withUnsafeBufferPointer { bytes in
                scaled.withUnsafeBufferPointer { scaled in
                    var index = start
                    if index % 2 == 1 {
                        result[index - elements.lowerBound] = scaled[Int(bytes[index / 2 - firstByte] & 15)]
                        index += 1
                    }
                    while index + 1 < end {
                        let byte = bytes[index / 2 - firstByte]
                        result[index - elements.lowerBound] = scaled[Int(byte >> 4)]
                        result[index - elements.lowerBound + 1] = scaled[Int(byte & 15)]
                        index += 2
                    }
                    if index < end { result[index - elements.lowerBound] = scaled[Int(bytes[index / 2 - firstByte] >> 4)] }
                }
            }
            start = end
        }
    }

    private func magnitudes(_ blocks: Range<Int>, _ components: ComponentReader) throws -> [Double] {
        let stored = try components.values(absmax, blocks)
        guard let nested else { return stored }
        let table = try components.values(nested.table)
        let scales = try components.values(nested.absmax)
        return zip(blocks, stored).map { block, code in
            // A U8 widened is its own integer.
            table[Int(code) & 255] * scales[block / nested.blockSize] + nested.offset
        }
    }
}

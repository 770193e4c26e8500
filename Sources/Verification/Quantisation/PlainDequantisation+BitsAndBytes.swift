import Checkpoints
import Tensors

/// bitsandbytes' blocks of a flat tensor, as stored and as QLoRA makes them.
extension PlainDequantisation {
    func values(_ weight: CodebookWeight, _ elements: Range<Int>) throws -> [Double] {
        let table = try components.values(weight.table)
        let absmax = try components.values(weight.absmax)
        let nestedTable = try weight.nested.map { try components.values($0.table) }
        let nestedScales = try weight.nested.map { try components.values($0.absmax) }
        let first = elements.lowerBound / 2
        let bytes = try components.bytes(weight.codes, first..<((elements.upperBound + 1) / 2))
        return elements.map { element in
            let byte = bytes[element / 2 - first]
            let code = element % 2 == 0 ? byte / 16 : byte % 16
            let block = element / weight.blockSize
            var scale = absmax[block]
            if let nested = weight.nested, let nestedTable, let nestedScales {
                scale = nestedTable[Int(absmax[block])] * nestedScales[block / nested.blockSize] + nested.offset
            }
            return table[Int(code)] * scale
        }
    }

    func values(_ weight: NF4RoundTripWeight, _ elements: Range<Int>) throws -> [Double] {
        let size = weight.simulation.blockSize
        let count = weight.codes.info.elementCount
        let first = elements.lowerBound / size * size
        let values = try source(weight, first..<min(count, (elements.upperBound + size - 1) / size * size))
        let scales = weight.simulation.doubleQuantisation ? try once { try nestedScales(weight, count: count) } : nil
        return elements.map { element in
            let begin = element / size * size
            let block = values[(begin - first)..<(min(count, begin + size) - first)]
            let isShort = block.count < size
            let largest = block.max { $0.magnitude < $1.magnitude }?.magnitude ?? 0
            let floor = largest < 1e-38 ? Float(1e-38) : largest
            let value = values[element - first]
            let ratio = isShort ? value / floor : value * (1 / floor)
            let clamped = ratio > 1 ? 1 : ratio < -1 ? -1 : ratio
            // The entry whose stretch between two midpoints holds the ratio.
            var code = 0
            while code < 15, (NF4Tables.nf4[code] + NF4Tables.nf4[code + 1]) / 2 < clamped { code += 1 }
            return Double(NF4Tables.nf4[code]) * (scales?[element / size] ?? Double(isShort ? floor : largest))
        }
    }

    private func source(_ weight: NF4RoundTripWeight, _ range: Range<Int>) throws -> [Float] {
        let size = weight.codes.dtype.bits / 8
        let bytes = try components.bytes(weight.codes, (range.lowerBound * size)..<(range.upperBound * size))
        return try Conversion.widened(bytes, as: weight.codes.dtype, count: range.count).map { Float($0) }
    }

    /// The blocks' magnitudes after double quantisation.
    private func nestedScales(_ weight: NF4RoundTripWeight, count: Int) throws -> [Double] {
        let size = weight.simulation.blockSize
        var magnitudes: [Float] = []
        var start = 0
        while start < count {
            let block = try source(weight, start..<min(count, start + size))
            let largest = block.max { $0.magnitude < $1.magnitude }?.magnitude ?? 0
            magnitudes.append(block.count < size && largest < 1e-38 ? 1e-38 : largest)
            start += size
        }
        let offset = Float(magnitudes.map { Double($0) }.reduce(0, +) / Double(magnitudes.count))
        let map = NF4Tables.dynamicMap
        return magnitudes.indices.map { index in
            let group = magnitudes[(index / 256 * 256)..<min(magnitudes.count, index / 256 * 256 + 256)]
            let largest = group.map { ($0 - offset).magnitude }.max() ?? 0
            guard largest > 0 else { return Double(map[0]) * 0 + Double(offset) }
            let ratio = (magnitudes[index] - offset) * (1 / largest)
            let bin = Int((((ratio > 1 ? 1 : ratio < -1 ? -1 : ratio) + 1) * 0.5).addingProductInto(65535, plus: 0.5))
            let grid = Float(-1) + Float(2 * min(65535, bin)) / 65535
            // Bisection: midpoints ascend.
            var (low, high) = (0, 255)
            while low < high {
                let middle = (low + high) / 2
                if 0.5 * (map[middle] + map[middle + 1]) < grid { low = middle + 1 } else { high = middle }
            }
            return Double(map[low]) * Double(largest) + Double(offset)
        }
    }
}

extension Float {
    /// self · factor + sum, rounded once.
    fileprivate func addingProductInto(_ factor: Float, plus sum: Float) -> Float { sum.addingProduct(self, factor) }
}

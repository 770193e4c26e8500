import Checkpoints
import Tensors

/// Packed integers, scaled bytes and MXFP4.
extension PlainDequantisation {
    func values(_ weight: ScaledWeight, _ elements: Range<Int>) throws -> [Double] {
        let columns = weight.shape.matrix.columns
        let bytes = try components.bytes(weight.codes, elements)
        let scales = try components.values(weight.scale)
        let zeros = try weight.zero.map { try components.values($0) }
        return elements.map { element in
            let byte = bytes[element - elements.lowerBound]
            let code = weight.codes.dtype == .i8 ? Double(Int8(bitPattern: byte)) : PlainDequantisation.e4m3(byte)
            let place = element / columns / weight.block.rows * weight.gridColumns + element % columns / weight.block.columns
            var scale = scales[place]
            if weight.scaleIsExponent { scale = PlainDequantisation.power(Int(scale) - 127) }
            let value = (code - (zeros?[place] ?? 0)) * scale
            return weight.divisor == 1 ? value : value / weight.divisor
        }
    }

    /// FP8 E4M3: sign, four bits of exponent with bias 7, three of fraction; 0x7F and 0xFF are NaN.
    static func e4m3(_ byte: UInt8) -> Double {
        if byte & 0x7F == 0x7F { return .nan }
        let (exponent, fraction) = (Int(byte >> 3 & 15), Double(byte & 7))
        let magnitude = exponent == 0 ? fraction / 8 * power(-6) : (1 + fraction / 8) * power(exponent - 7)
        return byte >= 0x80 ? -magnitude : magnitude
    }

    /// 2^exponent, by halving or doubling.
    static func power(_ exponent: Int) -> Double {
        (0..<exponent.magnitude).reduce(1) { value, _ in exponent < 0 ? value / 2 : value * 2 }
    }

    func values(_ weight: RowPackedWeight, _ elements: Range<Int>) throws -> [Double] {
        let (columns, bits, groups) = (weight.columns, weight.bits, weight.groups)
        let first = elements.lowerBound / columns
        let last = (elements.upperBound - 1) / columns
        let row = weight.rowWords * 4
        let bytes = try components.bytes(weight.codes, (first * row)..<((last + 1) * row))
        // Of a stack of experts the rows at hand are a small part.
        func lines(_ tensor: StoredTensor) throws -> [Double] {
            let (count, size) = ((last + 1 - first) * groups, tensor.dtype.bits / 8)
            let range = (first * groups * size)..<((last + 1) * groups * size)
            return try Conversion.widened(components.bytes(tensor, range), as: tensor.dtype, count: count)
        }
        let scales = try lines(weight.scale)
        let order = try weight.groupIndex.map { try components.values($0) }
        var packedZeros: [UInt8] = []
        var biases: [Double]?
        switch weight.offset {
        case .middle: break
        case .zeroPoints(let tensor): packedZeros = try components.bytes(tensor)
        case .biases(let tensor): biases = try lines(tensor)
        }
        return elements.map { element in
            let (line, column) = (element / columns, element % columns)
            let start = (line - first) * row
            let code = PlainDequantisation.bits(bytes[start..<(start + row)], from: column * bits, count: bits)
            let group = order.map { Int($0[column]) } ?? column / weight.groupSize
            let scale = scales[(line - first) * groups + group]
            if let biases { return Double(code) * scale + biases[(line - first) * groups + group] }
            var zero = 1 << (bits - 1)
            if !packedZeros.isEmpty {
                // Packed down the column: word `line / fields` of the group.
                let fields = 32 / bits
                let word = (line / fields * groups + group) * 4
                zero = PlainDequantisation.bits(packedZeros[word..<(word + 4)], from: line % fields * bits, count: bits)
            }
            return Double(code - zero) * scale
        }
    }

    func values(_ weight: ColumnPackedWeight, _ elements: Range<Int>) throws -> [Double] {
        let (inputs, outputs, bits) = (weight.inputs, weight.outputs, weight.bits)
        var piece = try components.columns(weight.codes, around: 0)
        let zeros = try components.bytes(weight.zero)
        let scales = try components.values(weight.scale)
        let order = try weight.groupIndex.map { try components.values($0) }
        // Word `column` of a row of codes.
        func code(_ row: Int, _ column: Int) throws -> Int {
            if !piece.columns.contains(column) { piece = try components.columns(weight.codes, around: column) }
            return word(piece.bytes, row * piece.columns.count + column - piece.columns.lowerBound)
        }
        // The order in which AWQ fills a word.
        let filled = [0, 2, 4, 6, 1, 3, 5, 7]
        func word(_ bytes: [UInt8], _ index: Int) -> Int { PlainDequantisation.bits(bytes[(index * 4)..<(index * 4 + 4)], from: 0, count: 32) }
        func zero(_ group: Int, _ output: Int) -> Int {
            let width = weight.zero.shape[1]
            guard case .inputs(let isLess) = weight.packing else {
                let place = filled.firstIndex(of: output % 8) ?? 0
                return word(zeros, group * width + output / 8) >> (4 * place) % 16
            }
            let start = group * width * 4
            let line = zeros[start..<(start + width * 4)]
            guard isLess else { return PlainDequantisation.bits(line, from: output * bits, count: bits) }
            guard 32 % bits == 0 else { return PlainDequantisation.bits(line, from: output * bits, count: bits) + 1 }
            // One is added to every field of a word, and what a field cannot hold goes to the next.
            let fields = 32 / bits
            var carry = 0
            var value = 0
            for field in 0...(output % fields) {
                let stored = PlainDequantisation.bits(line, from: (output / fields * fields + field) * bits, count: bits)
                value = stored + 1 + carry
                carry = value >> bits
                value %= 1 << bits
            }
            return value
        }
        return try elements.map { element in
            let (output, input) = (element / inputs, element % inputs)
            let group = order.map { Int($0[input]) } ?? input / weight.groupSize
            var number = 0
            if weight.packing == .outputs {
                let place = filled.firstIndex(of: output % 8) ?? 0
                number = try code(input, output / 8) >> (4 * place) % 16
            } else {
                for bit in 0..<bits {
                    let position = input * bits + bit
                    number += (try code(position / 32, output) >> (position % 32) % 2) << bit
                }
            }
            return scales[group * outputs + output] * Double(number - zero(group, output))
        }
    }

    func values(_ weight: MXFP4Weight, _ elements: Range<Int>) throws -> [Double] {
        let (inputs, outputs) = (weight.shape[1], weight.shape[2])
        let lines = outputs * (inputs / 32)
        var (held, scales, codes) = (-1, [UInt8](), [UInt8]())
        return try elements.map { element in
            let (expert, input, output) = (element / (inputs * outputs), element / outputs % inputs, element % outputs)
            if expert != held {
                scales = try components.kept(weight.scale, (expert * lines)..<((expert + 1) * lines))
                codes = try components.kept(weight.codes, (expert * lines * 16)..<((expert + 1) * lines * 16))
                held = expert
            }
            let block = output * (inputs / 32) + input / 32
            let byte = codes[block * 16 + input % 32 / 2]
            let code = input % 2 == 0 ? byte % 16 : byte / 16
            guard scales[block] < 255 else { return .nan }
            return PlainDequantisation.e2m1(Int(code)) * PlainDequantisation.power(Int(scales[block]) - 127)
        }
    }

    /// E2M1: sign, two bits of exponent with bias 1, one of fraction.
    private static func e2m1(_ code: Int) -> Double {
        let (exponent, fraction) = (code / 2 % 4, Double(code % 2))
        let magnitude = exponent == 0 ? fraction / 2 : (1 + fraction / 2) * power(exponent - 1)
        return code >= 8 ? -magnitude : magnitude
    }

    func values(_ weight: MLXFloatWeight, _ elements: Range<Int>) throws -> [Double] {
        let (columns, groups) = (weight.columns, weight.groups)
        let (bits, size) = weight.mode == .mxfp8 ? (8, 32) : (4, weight.mode == .nvfp4 ? 16 : 32)
        let first = elements.lowerBound / columns
        let rows = (elements.upperBound - 1) / columns + 1 - first
        let width = weight.rowWords * 4
        let bytes = try components.bytes(weight.codes, (first * width)..<((first + rows) * width))
        let scales = try components.bytes(weight.scale, (first * groups)..<((first + rows) * groups))
        return elements.map { element in
            let (line, column) = (element / columns - first, element % columns)
            let code = PlainDequantisation.bits(bytes[(line * width)..<((line + 1) * width)], from: column * bits, count: bits)
            let scale = scales[line * groups + column / size]
            return (bits == 8 ? PlainDequantisation.e4m3(UInt8(code)) : PlainDequantisation.e2m1(code))
                * (size == 16 ? PlainDequantisation.e4m3(scale) : PlainDequantisation.power(Int(scale) - 127))
        }
    }
}

import Checkpoints
import Containers
import Tensors

/// The blocks of GGUF, one element at a time: each is found by its place in the block and made of its bits.
extension PlainDequantisation {
    func values(_ weight: GGUFWeight, _ elements: Range<Int>) throws -> [Double] {
        if !weight.parts.isEmpty { return try valuesOfParts(weight, elements) }
        let length = weight.rowLength
        let rows = weight.order.map { PlainDequantisation.storedRows($0) }
        let places = elements.map { element in
            weight.first + (rows?[element / length] ?? element / length) * length + element % length
        }
        return try stored(weight.codes, weight.type, places).map { value in
            weight.isLogarithm ? GGUFLogarithm.of(-value) : value - weight.shift
        }
    }

    /// The elements of a weight that is cut: of each its block and its place there say which part has it, and where.
    private func valuesOfParts(_ weight: GGUFWeight, _ elements: Range<Int>) throws -> [Double] {
        var result = [Double](repeating: .nan, count: elements.count)
        for part in weight.parts {
            let cut = part.cut
            var own: [(number: Int, place: Int)] = []
            let (storedRows, storedColumns) = (PlainDequantisation.places(cut.rowRuns), PlainDequantisation.places(cut.columnRuns))
            for (number, element) in elements.enumerated() {
                let (row, column) = (element / cut.columns, element % cut.columns)
                if cut.rowRuns != nil || cut.columnRuns != nil {
                    guard let line = storedRows.map({ $0[row] }) ?? row, let place = storedColumns.map({ $0[column] }) ?? column else { continue }
                    own.append((number, line * cut.width + place))
                    continue
                }
                let (block, line) = (row / cut.blockRows, row % cut.blockRows)
                // Row and column of the stored matrix.
                let (i, j) = cut.isTurned ? ((column - cut.first) / cut.step, line) : (line - cut.first, column)
                let isOwn = cut.isTurned ? column >= cut.first && (column - cut.first) % cut.step == 0 : line >= cut.first
                if isOwn, i < cut.height, j < cut.width { own.append((number, (block * cut.height + i) * cut.width + j)) }
            }
            for (value, at) in zip(try stored(part.codes, part.type, own.map(\.place)), own) { result[at.number] = value }
        }
        return result
    }

    /// For each of the Hub's rows or columns that runs name the stored one; nil where there are no runs.
    static func places(_ runs: [Range<Int>]?) -> [Int: Int]? {
        runs.map { Dictionary(uniqueKeysWithValues: $0.flatMap { $0 }.enumerated().map { ($1, $0) }) }
    }

    /// Stored elements, wherever they are.
    private func stored(_ codes: StoredTensor, _ type: GGUFType, _ places: [Int]) throws -> [Double] {
        guard let least = places.min(), let greatest = places.max() else { return [] }
        let (size, width) = (type.blockElements, type.blockBytes)
        let first = least / size
        let bytes = try components.bytes(codes, (first * width)..<((greatest / size + 1) * width))
        if let dtype = type.dtype {
            let plain = try Conversion.widened(bytes, as: dtype, count: bytes.count / width)
            return places.map { plain[$0 - first] }
        }
        return places.map { place in
            let start = (place / size - first) * width
            return PlainDequantisation.element(place % size, of: bytes[start..<(start + width)], type)
        }
    }

    /// The stored row for each of the Hub's.
    static func storedRows(_ order: GGUFTensor.Order) -> [Int] {
        let count = order.storedRows.count
        var result = [Int](repeating: 0, count: count)
        switch order.kind {
        case .rotaryQuery, .rotaryKey:
            // A head's rows were written by taking one of its first half and one of its second in turn.
            let heads = order.kind == .rotaryKey ? order.heads.key : order.heads.query
            let half = count / heads / 2
            var stored = 0
            for head in 0..<heads {
                for pair in 0..<half {
                    for row in [head * 2 * half + pair, head * 2 * half + half + pair] {
                        result[row] = stored
                        stored += 1
                    }
                }
            }
        case .fusedByHead:
            // All queries, then all keys, then all values; the Hub has a group's queries, their key and their value together.
            let (queries, groups) = (order.heads.query, order.heads.key)
            let size = count / (queries + 2 * groups)
            let each = queries / groups
            for row in 0..<count {
                let (group, place) = (row / size / (each + 2), row / size % (each + 2))
                let head = place < each ? group * each + place : queries + (place - each) * groups + group
                result[row] = head * size + row % size
            }
        }
        return result
    }

    /// Element `index` of a block.
    private static func element(_ index: Int, of block: ArraySlice<UInt8>, _ type: GGUFType) -> Double {
        func field(_ bit: Int, _ count: Int) -> Double { Double(bits(block, from: bit, count: count)) }
        func signed(_ byte: Int) -> Double { Double(Int8(bitPattern: block[block.startIndex + byte])) }
        func half(_ byte: Int) -> Double { f16(bits(block, from: byte * 8, count: 16)) }
        /// A code of 4 bits of a run of `run` bytes that begins at `byte`: the first halves of all bytes, then the second.
        func nibble(_ byte: Int, _ place: Int, run: Int) -> Double { field((byte + place % run) * 8 + place / run * 4, 4) }
        switch type {
        case .q8_0: return half(0) * signed(2 + index)
        case .q4_0: return half(0) * (nibble(2, index, run: 16) - 8)
        case .q4_1: return half(0) * nibble(4, index, run: 16) + half(2)
        case .q5_0: return half(0) * (nibble(6, index, run: 16) + 16 * field(16 + index, 1) - 16)
        case .q5_1: return half(0) * (nibble(8, index, run: 16) + 16 * field(32 + index, 1)) + half(2)
        case .q4_K, .q5_K:
            let part = index / 32
            let codes = type == .q4_K ? 16 : 48
            var code = nibble(codes + part / 2 * 32, index % 64, run: 32)
            if type == .q5_K { code += 16 * field((16 + index % 32) * 8 + part, 1) }
            // Six bits: of the first four scales they stand together; of the others four bits stand in the last bytes, and two above
            // those of the first.
            let byte = 4 + part % 4
            let scale = part < 4 ? field(byte * 8, 6) : field((byte + 8) * 8, 4) + 16 * field(byte * 8 + 6, 2)
            let least = part < 4 ? field((byte + 4) * 8, 6) : field((byte + 8) * 8 + 4, 4) + 16 * field((byte + 4) * 8 + 6, 2)
            return half(0) * scale * code - half(2) * least
        case .q6_K:
            let (part, place) = (index / 128, index % 128)
            let code = nibble(part * 64, place, run: 64) + 16 * field((128 + part * 32 + place % 32) * 8 + place / 32 * 2, 2)
            return half(208) * signed(192 + index / 16) * (code - 32)
        case .mxfp4:
            // E2M1: sign, two bits of exponent with bias 1, one of fraction; without exponent no leading one.
            let code = bits(block, from: (1 + index % 16) * 8 + index / 16 * 4, count: 4)
            let (exponent, fraction) = (code / 2 % 4, Double(code % 2))
            let magnitude = exponent == 0 ? fraction / 2 : (1 + fraction / 2) * power(exponent - 1)
            return (magnitude == 0 || code < 8 ? magnitude : -magnitude) * power(Int(field(0, 8)) - 127)
        default: return .nan
        }
    }

    /// F16: sign, five bits of exponent with bias 15, ten of fraction.
    private static func f16(_ code: Int) -> Double {
        let (exponent, fraction) = (code >> 10 & 31, Double(code & 1023))
        let magnitude =
            exponent == 31 ? (fraction == 0 ? Double.infinity : .nan)
            : exponent == 0 ? fraction / 1024 * power(-14) : (1 + fraction / 1024) * power(exponent - 15)
        return code >= 0x8000 ? -magnitude : magnitude
    }
}

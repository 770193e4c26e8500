import ByteAccess
import Containers
import Tensors

/// The heads of linear attention in Qwen3-Next and Qwen3.5: k of keys with d rows each, and v = r·k of values with e rows each.
///
/// The Hub has the r heads of values that share a head of keys together, and in Qwen3-Next's `in_proj_qkvz` everything of one head of
/// keys: d queries, d keys, r·e values and r·e gates. llama.cpp has all queries, all keys, all values, and of Qwen3.5 the values in another order:
///
///     stored head j·k + i = the Hub's head i·r + j        (0 ≤ i < k, 0 ≤ j < r)
///
/// Source: `modify_tensors` of `Qwen3NextModel` and of `_LinearAttentionVReorderBase` in conversion/qwen.py of ggml-org/llama.cpp.
struct GGUFLinearHeads: Sendable, Hashable {
    let keys: Int
    let values: Int
    let keyRows: Int
    let valueRows: Int

    /// What the metadata count; nil where they count none, or where the counts do not fit each other.
    init?(_ file: GGUFFile, _ architecture: String) {
        func count(_ key: String) -> Int? { file.value(ExactString("\(architecture).ssm.\(key)"))?.intValue }
        guard let keys = count("group_count"), let values = count("time_step_rank"), let keyRows = count("state_size"), let all = count("inner_size"),
            (1...65536).contains(keys), (1...65536).contains(values), values % keys == 0, (1...(1 << 20)).contains(keyRows),
            (1...(1 << 30)).contains(all), all % values == 0
        else { return nil }
        (self.keys, self.values, self.keyRows, valueRows) = (keys, values, keyRows, all / values)
    }

    /// How a stored tensor of one of these forms lies in the Hub's; nil for another form, and where the shape does not fit.
    func cut(_ form: GGUFForm, _ shape: Shape, other: Shape?) -> (cut: GGUFCut, shape: Shape)? {
        let mixed = 2 * keys * keyRows + values * valueRows
        func cut(_ height: Int, _ width: Int, rows: [Range<Int>]? = nil, columns: [Range<Int>]? = nil, of all: Int? = nil) -> GGUFCut {
            GGUFCut(
                blocks: 1, height: height, width: width, isTurned: false, first: 0, step: 1, blockRows: all ?? height, columns: width, rowRuns: rows,
                columnRuns: columns)
        }
        switch form {
        case .linearProjection(let part):
            guard shape.count == 2, other?.count == 2, other?.last == shape[1], shape[0] == (part == 0 ? mixed : values * valueRows) else { return nil }
            let share = values / keys * valueRows
            let size = 2 * (keyRows + share)
            func runs(_ first: Int, _ count: Int) -> [Range<Int>] { (0..<keys).map { ($0 * size + first)..<($0 * size + first + count) } }
            let rows = part == 0 ? runs(0, keyRows) + runs(keyRows, keyRows) + runs(2 * keyRows, share) : runs(2 * keyRows + share, share)
            return (cut(shape[0], shape[1], rows: rows, of: keys * size), [keys * size, shape[1]])
        case .valueRows(let isWide):
            let size = isWide ? valueRows : 1
            guard shape.count == 2, shape[0] == values * size || isWide && shape[0] == mixed else { return nil }
            return (cut(shape[0], shape[1], rows: runs(size, of: shape[0])), shape)
        case .valueFilters:
            guard shape.count == 2, shape[0] == mixed else { return nil }
            return (cut(shape[0], shape[1], rows: runs(valueRows, of: shape[0])), [shape[0], 1, shape[1]])
        case .valueColumns:
            guard shape.count == 2, shape[1] == values * valueRows else { return nil }
            return (cut(shape[0], shape[1], columns: runs(valueRows, of: shape[1])), shape)
        case .valueVector, .valueExponential:
            guard shape == [values] else { return nil }
            return (cut(1, values, columns: runs(1, of: values)), shape)
        default: return nil
        }
    }

    /// Runs of `size` rows for each head of values, in the stored order, behind what is before them.
    private func runs(_ size: Int, of all: Int) -> [Range<Int>] {
        let front = all - values * size
        let share = values / keys
        let heads = (0..<share).flatMap { j in (0..<keys).map { i in (front + (i * share + j) * size)..<(front + (i * share + j + 1) * size) } }
        return (front > 0 ? [0..<front] : []) + heads
    }
}

/// An order of a weight's rows that llama.cpp's converter changes.
public enum GGUFRowOrder: Sendable, Hashable {
    /// q and k for a rotary embedding of neighbouring pairs: of each head's d rows the Hub has (2, d/2), GGUF (d/2, 2).
    /// Source: `LlamaModel.permute` in conversion/llama.py.
    case rotaryQuery, rotaryKey
    /// q, k and v in one weight, by groups of the n queries that share a key: the Hub has (groups, n + 2, d), GGUF all queries, then
    /// all keys, then all values. Where each query has its own key, those are (heads, 3, d) and (3, heads, d).
    /// Source: `modify_tensors` of `GPTNeoXModel` in conversion/gptneox.py, `BloomModel` in bloom.py, `FalconModel` in falcon.py.
    case fusedByHead

    /// Rows of GGUF's tensor as an array of three dimensions, and which of its axes stands where in the Hub's. Two axes
    /// change places, so that the same axes lead back. Nil where the heads do not divide the rows, or where no such array is: of
    /// fused rows whose keys are shared.
    public func arrangement(of count: Int, heads: GGUFHeads) -> (gguf: [Int], axes: [Int])? {
        switch self {
        case .rotaryQuery, .rotaryKey:
            let own = self == .rotaryKey ? heads.key : heads.query
            guard own > 0, count > 0, count % (2 * own) == 0 else { return nil }
            return ([own, count / own / 2, 2], [0, 2, 1])
        case .fusedByHead:
            guard heads.query > 0, heads.key == heads.query, count > 0, count % (3 * heads.query) == 0 else { return nil }
            return ([3, heads.query, count / 3 / heads.query], [1, 0, 2])
        }
    }

    /// For each row of GGUF's tensor the row of the Hub's; nil where the heads do not divide the rows.
    public func hubRows(count: Int, heads: GGUFHeads) -> [Int]? {
        if self == .fusedByHead { return runs(of: count, heads: heads)?.flatMap { $0 } }
        guard let (gguf, axes) = arrangement(of: count, heads: heads) else { return nil }
        let hub = axes.map { gguf[$0] }
        return (0..<count).map { row in
            let place = [row / (gguf[1] * gguf[2]), row / gguf[2] % gguf[1], row % gguf[2]]
            return (place[axes[0]] * hub[1] + place[axes[1]]) * hub[2] + place[axes[2]]
        }
    }

    /// The Hub's rows that stand together in GGUF's tensor, in its order: the d rows of one query, key or value. Nil for an order that
    /// takes rows one by one, and where the heads do not divide the rows.
    public func runs(of count: Int, heads: GGUFHeads) -> [Range<Int>]? {
        guard self == .fusedByHead, heads.key > 0, heads.query % heads.key == 0 else { return nil }
        let (groups, shared) = (heads.key, heads.query / heads.key)
        guard shared > 0, count > 0, count % (groups * (shared + 2)) == 0 else { return nil }
        let size = count / (groups * (shared + 2))
        let parts = [Array(0..<shared), [shared], [shared + 1]]
        return parts.flatMap { part in
            (0..<groups).flatMap { group in
                part.map { place in
                    let first = (group * (shared + 2) + place) * size
                    return first..<(first + size)
                }
            }
        }
    }

    /// For each row of the Hub's tensor the row of GGUF's.
    public func ggufRows(count: Int, heads: GGUFHeads) -> [Int]? {
        hubRows(count: count, heads: heads).map { rows in
            var inverse = [Int](repeating: 0, count: rows.count)
            for (gguf, hub) in rows.enumerated() { inverse[hub] = gguf }
            return inverse
        }
    }
}

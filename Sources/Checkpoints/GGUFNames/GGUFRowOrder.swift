/// An order of a weight's rows that llama.cpp's converter changes.
public enum GGUFRowOrder: Sendable, Hashable {
    /// q and k for a rotary embedding of neighbouring pairs: of each head's d rows the Hub has (2, d/2), GGUF (d/2, 2).
    /// Source: `LlamaModel.permute` in conversion/llama.py.
    case rotaryQuery, rotaryKey
    /// q, k and v in one weight: the Hub has (heads, 3, d), GGUF (3, heads, d).
    /// Source: `GPTNeoXModel.modify_tensors` in conversion/gpt_neox.py, `BloomModel`'s in bloom.py.
    case fusedByHead

    /// Rows of GGUF's tensor as an array of three dimensions, and which of its axes stands where in the Hub's. Two axes
    /// change places, so that the same axes lead back. Nil where the heads do not divide the rows.
    public func arrangement(of count: Int, heads: GGUFHeads) -> (gguf: [Int], axes: [Int])? {
        switch self {
        case .rotaryQuery, .rotaryKey:
            let own = self == .rotaryKey ? heads.key : heads.query
            guard own > 0, count > 0, count % (2 * own) == 0 else { return nil }
            return ([own, count / own / 2, 2], [0, 2, 1])
        case .fusedByHead:
            guard heads.query > 0, count > 0, count % (3 * heads.query) == 0 else { return nil }
            return ([3, heads.query, count / 3 / heads.query], [1, 0, 2])
        }
    }

    /// For each row of GGUF's tensor the row of the Hub's; nil where the heads do not divide the rows.
    public func hubRows(count: Int, heads: GGUFHeads) -> [Int]? {
        guard let (gguf, axes) = arrangement(of: count, heads: heads) else { return nil }
        let hub = axes.map { gguf[$0] }
        return (0..<count).map { row in
            let place = [row / (gguf[1] * gguf[2]), row / gguf[2] % gguf[1], row % gguf[2]]
            return (place[axes[0]] * hub[1] + place[axes[1]]) * hub[2] + place[axes[2]]
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

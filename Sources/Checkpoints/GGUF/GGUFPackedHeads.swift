import Tensors

/// Queries, keys and values that the Hub has in one matrix and GGUF in three, of q heads of queries and k of keys with d rows each.
///
/// The Hub has all queries, all keys, all values; or grouped, of each of k groups its n = q / k queries, the key and the value. Of each head's
/// d rows of queries and keys GGUF has row d/2 behind row 0, then row 1, row d/2 + 1, and so on; values stay.
///
/// Source: `modify_tensors` of `BaichuanModel` in conversion/baichuan.py and of `InternLM2Model` in internlm.py of ggml-org/llama.cpp.
struct GGUFPackedHeads {
    let heads: GGUFHeads
    let isGrouped: Bool

    /// How the part of this shape lies in the Hub's matrix, and that one's shape; nil where the heads do not divide its rows.
    func cut(part: Int, _ shape: Shape) -> (cut: GGUFCut, shape: Shape)? {
        let count = part == 0 ? heads.query : heads.key
        guard shape.count == 2, heads.query > 0, heads.key > 0, heads.query % heads.key == 0, shape[0] % count == 0, (0...2).contains(part) else { return nil }
        let size = shape[0] / count
        guard size > 0, part == 2 || size % 2 == 0 else { return nil }
        let shared = heads.query / heads.key
        let runs = (0..<count).flatMap { head -> [Range<Int>] in
            let place: Int
            if isGrouped {
                place = part == 0 ? head / shared * (shared + 2) + head % shared : head * (shared + 2) + shared + part - 1
            } else {
                place = head + [0, heads.query, heads.query + heads.key][part]
            }
            let first = place * size
            guard part < 2 else { return [first..<(first + size)] }
            return (0..<size).map { row in
                let own = first + row % 2 * (size / 2) + row / 2
                return own..<(own + 1)
            }
        }
        let all = (heads.query + 2 * heads.key) * size
        let cut = GGUFCut(
            blocks: 1, height: shape[0], width: shape[1], isTurned: false, first: 0, step: 1, blockRows: all, columns: shape[1], rowRuns: runs)
        return (cut, [all, shape[1]])
    }
}

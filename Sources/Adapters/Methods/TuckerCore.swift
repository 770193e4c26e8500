import Tensors

/// The core t (i, j, k…) of a convolution's factors in LyCORIS, kernel offsets flattened to one k.
///
///     M[p, q, k] = Σ_i left[i, p]·(Σ_j t[i, j, k]·right[j, q])
///
/// Source: `make_weight_cp` in peft/tuners/loha/layer.py and lokr/layer.py, `einsum("i j k l, i p, j r -> p r k l")`.
struct TuckerCore {
    /// The number of kernel offsets.
    let window: Int
    private let ranks: (left: Int, right: Int)
    private let core: MatrixExpression

    /// - Throws: `.refused` where the tensor is no core of these ranks.
    init(_ name: String, of module: MethodModule, ranks: (left: Int, right: Int)) throws {
        let info = try module.tensor(name)
        guard info.shape.count > 2, info.shape[0] == ranks.left, info.shape[1] == ranks.right else {
            throw module.misfit(info, "a core of ranks \(ranks.left) and \(ranks.right)")
        }
        window = info.shape.dropFirst(2).reduce(1, *)
        self.ranks = ranks
        core = try module.matrix(name)
    }

    /// M as (p, q·k).
    ///
    /// - Parameters:
    ///   - left: (i, p).
    ///   - right: (j, q).
    func expanded(left: MatrixExpression, right: MatrixExpression) -> MatrixExpression {
        // (i, j, k) -> (i·k, j), times (j, q), -> (i, q·k).
        let inner = core.rearranged([ranks.left, ranks.right, window], axes: [0, 2, 1], columns: ranks.right) × right
        return left.transpose
            × inner.rearranged([ranks.left, window, right.columns], axes: [0, 2, 1], columns: right.columns * window)
    }
}

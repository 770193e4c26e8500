import Tensors

/// A convolution of loralib, whose product B·A is as large as the weight and has other sides.
///
///     W' = W + scale·view(B·A)      A (r·k, in·k), B (out/groups·k, r·k), W (out, in/groups, k, k)
///
/// `view` reads B·A row by row as W. Without groups row o·k + i of B·A is the part [i·in·k, (i + 1)·in·k) of W's row o, so
///
///     view(B·A) = B'·A'             B' (out, k·r·k): B read row by row;  A' (k·r·k, in·k·k): k times A on its diagonal
///
/// which is a pair of factors as PEFT has them for a convolution. Source: `ConvLoRA` in loralib/layers.py of microsoft/LoRA; its
/// Conv1d and Conv3d are as large as their weights where k is 1.
struct LoralibConvolution {
    /// k.
    let window: Int
    /// groups.
    let groups: Int
    private let a: TensorInfo
    private let b: TensorInfo
    private let weight: Shape

    /// - Returns: nil where the two are no factors of such a weight.
    init?(a: TensorInfo, b: TensorInfo, weight: Shape) {
        guard a.shape.count == 2, b.shape.count == 2, a.shape[0] == b.shape[1], weight.count > 2, weight.allSatisfy({ $0 > 0 })
        else { return nil }
        let (k, rows, columns) = (weight[2], b.shape[0], a.shape[1])
        guard weight.dropFirst(2).allSatisfy({ $0 == k }), a.shape[0] % k == 0, columns > 0, columns % (weight[1] * k) == 0
        else { return nil }
        let groups = columns / (weight[1] * k)
        guard weight[0] * k % groups == 0, rows == weight[0] * k / groups, weight.count == 4 || k == 1 else { return nil }
        (window, self.groups, self.a, self.b, self.weight) = (k, groups, a, b, weight)
    }

    /// r.
    var rank: Int { a.shape[0] / window }

    /// A' and B' as views of A and B; nil with groups.
    var factors: (a: TensorView, b: TensorView)? {
        guard groups == 1 else { return nil }
        let (height, width) = (a.shape[0], a.shape[1])
        let parts = (0..<window).map { TensorView.Part(a, row: $0 * height, column: $0 * width) }
        let rank = window * height
        return (
            TensorView(name: a.name, shape: [rank] + weight.dropFirst(), parts: parts),
            TensorView(b, shape: [weight[0], rank] + weight.dropFirst(2).map { _ in 1 })
        )
    }
}

import ByteAccess
import Tensors

/// DoRA's magnitude (arXiv:2402.09353) around an additive method, as LyCORIS has it for LoHa, LoKr and LoCon.
///
///     W' = m ⊙ V / (‖V‖ + ε),   V = W + ΔW,   ε = 2⁻²³
///
/// | `dora_scale` | norm |
/// |---|---|
/// | (out, 1…) | of each row of (out, in·k…) |
/// | (1, in, 1…) | of each input, over outputs and kernel; what LyCORIS wrote before `wd_on_out` |
///
/// ε is the machine epsilon of float32, which is the type of LyCORIS' scale in memory whatever the file has; PEFT's DoRA
/// has none. Order: V, the norms, plus ε, m / that, the product.
/// Source: `apply_weight_decompose` in lycoris/modules/locon.py.
struct WeightDecomposition: ModuleMethod {
    let inner: any ModuleMethod
    /// `torch.finfo(torch.float32).eps`.
    private static let epsilon = 0x1p-23
    let peftTypes: [String] = []
    let configKeys: Set<String> = []

    var name: String { "\(inner.name), DoRA" }
    var components: Set<String> { inner.components.union(["dora_scale"]) }

    func extent(of module: MethodModule) throws -> UpdateExtent { try inner.extent(of: module) }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        try inner.summary(of: module)
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        guard case .add(let update, let scale) = try inner.changes(of: module, weight: weight).weight else {
            throw module.refusal("has a dora_scale around an update that is no sum", rule: "VariantLayout")
        }
        let direction = weight.base + scale * update
        let info = try module.tensor("dora_scale")
        if info.shape.first == weight.rows, info.elementCount == weight.rows {
            let magnitudes = try module.row("dora_scale", count: weight.rows).transpose
            return ModuleChanges(weight: .become(direction * (magnitudes / norms(of: direction))))
        }
        let inputs = weight.columns / max(1, weight.window)
        let magnitudes = try module.row("dora_scale", count: inputs).transpose
        // (out, in, k) -> (in, out·k), and back.
        let turned = direction.rearranged(
            [weight.rows, inputs, weight.window], axes: [1, 0, 2], columns: weight.rows * weight.window)
        let scaled = turned * (magnitudes / norms(of: turned))
        return ModuleChanges(
            weight: .become(
                scaled.rearranged([inputs, weight.rows, weight.window], axes: [1, 0, 2], columns: weight.columns)))
    }

    private func norms(of direction: MatrixExpression) -> MatrixExpression {
        .rowNorms(direction) + .filled(WeightDecomposition.epsilon, rows: direction.rows, columns: 1)
    }
}

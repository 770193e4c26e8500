/// GLoRA (arXiv:2306.07967) as LyCORIS has it.
///
///     W' = W + s·(W·a1·a2 + b1·b2)                        s = alpha / r
///
/// | keys | shape |
/// |---|---|
/// | `a1.weight`, `a2.weight` | (in, r, 1…), (r, in, 1…); they act on the input of each kernel offset |
/// | `b1.weight`, `b2.weight` | (out, r, 1…), (r, in, k…); with a core (r, in, 1…) |
/// | `bm.weight` | (r, r, k…), a Tucker core |
///
/// Order: W·a1, times a2; b1·b2; their sum, the scale. Source: `GLoRAModule.make_weight` in lycoris/modules/glora.py.
struct LycorisGLoRA: ModuleMethod {
    let name = "GLoRA"
    let peftTypes: [String] = []
    let components: Set<String> = ["a1", "a2", "b1", "b2", "bm"]
    let configKeys: Set<String> = []

    func extent(of module: MethodModule) throws -> UpdateExtent {
        let window = module.has("bm.weight") ? try module.shape("bm.weight").dropFirst(2).reduce(1, *) : 1
        return UpdateExtent(
            rows: try module.side("b1.weight", 0),
            columns: try module.shape("b2.weight").dropFirst().reduce(1, *) * window)
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (module.scale?.rank, module.scale?.alpha, module.scale?.value)
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let inputs = weight.columns / max(1, weight.window)
        let (a1, a2) = (try module.matrix("a1.weight"), try module.matrix("a2.weight"))
        let (b1, b2) = (try module.matrix("b1.weight"), try module.matrix("b2.weight"))
        guard a1.rows == inputs, a2.columns == inputs, a1.columns == a2.rows, b1.rows == weight.rows else {
            throw module.misfit(try module.tensor("a1.weight"), "factors for \(inputs) inputs")
        }
        // (out, in, k) -> (out·k, in), times a1·a2, and back.
        let (rows, window) = (weight.rows, weight.window)
        let straight = window == 1
            ? weight.base : weight.base.rearranged([rows, inputs, window], axes: [0, 2, 1], columns: inputs)
        let product = straight × a1 × a2
        let first = window == 1
            ? product : product.rearranged([rows, window, inputs], axes: [0, 2, 1], columns: weight.columns)
        let second: MatrixExpression
        if module.has("bm.weight") {
            let core = try TuckerCore("bm.weight", of: module, ranks: (b1.columns, b2.rows))
            second = core.expanded(left: b1.transpose, right: b2)
        } else {
            guard b1.columns == b2.rows, b2.columns == weight.columns else {
                throw module.misfit(try module.tensor("b2.weight"), "the rank \(b1.columns) of b1")
            }
            second = b1 × b2
        }
        return ModuleChanges(weight: .add(first + second, scale: module.scale?.value ?? 1))
    }
}

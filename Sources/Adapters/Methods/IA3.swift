import ByteAccess
import Tensors

/// (IA)³, infused adapter by inhibiting and amplifying inner activations (arXiv:2205.05638).
///
///     a feed-forward module scales its input:     W'[:, j] = W[:, j]·l[j]
///     any other module scales its output:         W'[i, :] = W[i, :]·l[i],   bias'[i] = bias[i]·l[i]
///
/// | module | `ia3_l` (shape) |
/// |---|---|
/// | Linear, Conv1D, feed-forward | (1, in) |
/// | Linear, Conv1D, other | (out, 1) |
/// | Conv2d, Conv3d, feed-forward | (1, in, 1…) |
/// | Conv2d, Conv3d, other | (1, out, 1…) |
///
/// A matrix' shape tells which of the two it is; for a convolution, and for a matrix whose shape (1, 1) tells nothing,
/// `feedforward_modules` does, by PEFT's rule: a list names the ends of paths, a string is a regular expression for
/// the whole path.
///
/// Config: `feedforward_modules`; `fan_in_fan_out` is told by the shapes.
/// Source: `Linear.merge`, `_ConvNd.merge` in peft/tuners/ia3/layer.py, `IA3Model._check_target_module_feedforward`.
struct IA3: ModuleMethod {
    let name = "IA3"
    let peftTypes = ["IA3"]
    let components: Set<String> = ["ia3_l"]
    let configKeys: Set<String> = ["feedforward_modules", "fan_in_fan_out", "init_ia3_weights"]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        let info = try module.tensor("ia3_l")
        if info.shape.count > 2 {
            return UpdateExtent(rows: try scalesInput(module) ? nil : info.elementCount)
        }
        return try scalesInput(module) ? UpdateExtent(columns: info.elementCount) : UpdateExtent(rows: info.elementCount)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("scales", try scalesInput(module) ? "input" : "output")]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let base = weight.base
        if try scalesInput(module) {
            let count = weight.columns / weight.window
            let scales = try module.row("ia3_l", count: count)
            // A kernel's input channel stands in `window` neighbouring columns.
            let spread = weight.window == 1
                ? scales : scales.columns(at: (0..<weight.columns).map { $0 / weight.window })
            return ModuleChanges(weight: .become(base * spread))
        }
        let scales = try module.row("ia3_l", count: weight.rows)
        return ModuleChanges(
            weight: .become(base * scales.transpose), bias: weight.hasBias ? .become(weight.bias * scales) : nil)
    }

    private func scalesInput(_ module: MethodModule) throws -> Bool {
        let shape = try module.shape("ia3_l")
        if shape.count == 2, shape[0] != shape[1] {
            guard shape.contains(1) else { throw module.misfit(try module.tensor("ia3_l"), "a row or a column") }
            return shape[0] == 1
        }
        return try PathList(module.config, "feedforward_modules").contains(module.path)
    }
}

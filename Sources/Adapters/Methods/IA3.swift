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
/// `feedforward_modules` tells which of the two it is, by PEFT's rule: a list names the ends of paths, a string is a regular
/// expression for the whole path. The shape of a matrix' vector tells it too, and decides where the config has no such key;
/// where the two contradict each other the merge is refused, since PEFT would load nothing, and the bias hangs on it.
/// The weight of a convolution in g groups is (out, in / g, k…); its output i takes the inputs of its own group, so
/// W'[i, j, k] = W[i, j, k]·l[⌊i·g / out⌋·in / g + j].
///
/// Config: `feedforward_modules`; `fan_in_fan_out` is told by the shapes.
/// Source: `Linear.update_layer`, `Linear.merge`, `_ConvNd.merge`, `_get_ia3_scaling_for_weight` in peft/tuners/ia3/layer.py,
/// `IA3Model._check_target_module_feedforward`.
struct IA3: ModuleMethod {
    let name = "IA3"
    let peftTypes = ["IA3"]
    let defaultTargets = DefaultTargets.ia3
    let components: Set<String> = ["ia3_l"]
    let configKeys: Set<String> = ["feedforward_modules", "fan_in_fan_out", "init_ia3_weights"]
    /// A kernel in groups is the base's business.
    let stillPoints: [[String: Double]] = [["ia3_l": 1]]

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
        try requireForm(of: module, weight)
        let base = weight.base
        if try scalesInput(module) {
            return ModuleChanges(weight: .become(base * (try inputScales(module, weight))))
        }
        let info = try module.tensor("ia3_l")
        guard info.elementCount == weight.rows else { throw contradiction(module, info, weight, scalesInput: false) }
        let scales = try module.row("ia3_l", count: weight.rows)
        return ModuleChanges(
            weight: .become(base * scales.transpose), bias: weight.hasBias ? .become(weight.bias * scales) : nil)
    }

    /// (1, in) or (out, 1) of a matrix, (1, n, 1…) of a kernel: PEFT raises at any other shape of as many elements.
    private func requireForm(of module: MethodModule, _ weight: ModuleWeight) throws {
        let info = try module.tensor("ia3_l")
        let isMatrix = weight.isStandIn ? info.shape.count <= 2 : !weight.isConvolution
        let dimensions = weight.isStandIn ? info.shape.count : weight.shape.count
        let wanted = try isMatrix
            ? (scalesInput(module) ? [1, info.elementCount] : [info.elementCount, 1])
            : [1, info.elementCount] + [Int](repeating: 1, count: max(0, dimensions - 2))
        guard info.shape == wanted else { throw module.misfit(info, "shape \(wanted)") }
    }

    /// The scales of the inputs as one row, or for a convolution in groups as one row for each output.
    private func inputScales(_ module: MethodModule, _ weight: ModuleWeight) throws -> MatrixExpression {
        let info = try module.tensor("ia3_l")
        let (window, width) = (weight.window, weight.columns / max(1, weight.window))
        guard width > 0, info.elementCount % width == 0, info.elementCount > 0 else {
            throw contradiction(module, info, weight, scalesInput: true)
        }
        let groups = info.elementCount / width
        guard groups == 1 || weight.isConvolution && weight.rows % groups == 0 else {
            throw contradiction(module, info, weight, scalesInput: true)
        }
        let scales = try module.row("ia3_l", count: info.elementCount)
        // A kernel's input channel stands in `window` neighbouring columns.
        func spread(_ row: MatrixExpression) -> MatrixExpression {
            window == 1 ? row : row.columns(at: (0..<weight.columns).map { $0 / window })
        }
        guard groups > 1 else { return spread(scales) }
        return spread(scales.reshaped(columns: width)).rows(at: (0..<weight.rows).map { $0 / (weight.rows / groups) })
    }

    /// Whether the module scales its input.
    ///
    /// - Throws: `.refused` where the config says one and the shape the other.
    private func scalesInput(_ module: MethodModule) throws -> Bool {
        let info = try module.tensor("ia3_l")
        let configured = module.config["feedforward_modules"] == nil
            ? nil : try PathList(module.config, "feedforward_modules").contains(module.path)
        guard info.shape.count == 2, info.shape[0] != info.shape[1] else { return configured ?? false }
        guard info.shape.contains(1) else { throw module.misfit(info, "a row or a column") }
        let isRow = info.shape[0] == 1
        guard let configured, configured != isRow else { return isRow }
        throw PeftfileError(
            .refused, "has shape \(info.shape), which scales the \(isRow ? "input" : "output") of \"\(module.path)\", and "
                + "feedforward_modules \(configured ? "names the module, whose input would be" : "does not name the module, whose output and bias would be") scaled",
            tensor: info.name, rule: "FeedforwardMismatch", help: "correct feedforward_modules in adapter_config.json")
    }

    private func contradiction(
        _ module: MethodModule, _ info: TensorInfo, _ weight: ModuleWeight, scalesInput: Bool
    ) -> PeftfileError {
        let side = scalesInput
            ? "names the module, whose input has \(weight.columns / max(1, weight.window))"
            : "does not name the module, whose output has \(weight.rows)"
        return PeftfileError(
            .refused, "has \(info.elementCount) scales, and feedforward_modules \(side)", tensor: info.name,
            rule: "FeedforwardMismatch",
            help: "correct feedforward_modules in adapter_config.json, or merge onto the base that the adapter was trained on")
    }
}

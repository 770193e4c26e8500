import ByteAccess
import Tensors

/// FRoD, full-rank adaptation by rotational degrees of freedom: the base is written as U·Λ·Vᵀ with a V that all layers of one
/// kind share, and Λ is trained, with a few elements beside its diagonal.
///
///     X = V⁻¹ × Wᵀ,    U[:, j] = X[j, :] / ‖X[j, :]‖       (0 where the norm is at most 10⁻¹²)
///     W' = U × ((S + diag λ) × Vᵀ)
///
/// | keys | shape |
/// |---|---|
/// | `frod_lambda_l` | (in): λ |
/// | `frod_lambda_s_values` | (n): the elements of S |
/// | `frod_V.KIND`, of the whole adapter | (in, in) |
/// | `frod_s_indices.KIND` | (2, n): row and column of each element of S |
/// | `frod_s_size.KIND` | (2): in and in |
///
/// KIND is the last two names of the module's path joined by `_`, the last alone behind a number, and `attention_output` for
/// `attention.output.dense`. U is in no file and needs none: it follows from W and V without a choice of signs.
///
/// With `save_projection = false` V is missing. PEFT then takes it anew from an eigendecomposition of all layers of the
/// kind, whose vectors have a sign that another build or device chooses otherwise; S is beside the diagonal, where the
/// sign shows. So that is refused.
///
/// Config: `save_projection`; `sparse_rate`, `projection_prng_key` and `regularization_alpha` made what is stored. Order: X by
/// elimination; its norms; their reciprocals; X times them; S + diag λ, elements in file order, λ last; its product with Vᵀ, then
/// U's with that. PEFT rounds U to float32, which is not repeated here. W and V are held whole.
/// Source: `FrodLayer._calculate_frod_u_and_lambda`, `Linear.get_delta_weight` in peft/tuners/frod/layer.py,
/// `_category_from_key`, `_projection_from_weights` in model.py.
struct FRoD: ModuleMethod {
    let name = "FRoD"
    let peftTypes = ["FROD"]
    let defaultTargets = DefaultTargets.frod
    let components: Set<String> = ["frod_lambda_l", "frod_lambda_s_values", "frod_V", "frod_s_indices", "frod_s_size"]
    let configKeys: Set<String> = [
        "save_projection", "projection_prng_key", "sparse_rate", "regularization_alpha", "fan_in_fan_out", "bias",
        "frod_dropout", "init_weights", "progressbar", "runtime_offload_base_weight",
    ]

    /// The elements beside the diagonal begin as zeros, and the diagonal, which is trained with them, as the lengths that the base has.
    let stillPoints: [[String: Double]] = [["frod_lambda_s_values": 0]]

    /// Without a saved projection PEFT makes it again from the base, by this setting too (`_projection_from_weights` in
    /// peft/tuners/frod/model.py).
    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool? {
        switch key {
        case "init_weights": false
        case "regularization_alpha": !adapter.keys.contains { $0.component == "frod_V" }
        default: nil
        }
    }

    /// Without a saved projection.
    let baseSides: [String: BaseSide] = ["frod_lambda_l": .module, "frod_lambda_s_values": .module]

    /// Source: `FrodModel._get_adapter_state_dict` in peft/tuners/frod/model.py.
    func inventory(of module: MethodModule) throws -> ModuleInventory {
        let projection = ["frod_V", "frod_s_indices", "frod_s_size"]
        return ModuleInventory(
            own: ["frod_lambda_l", "frod_lambda_s_values"],
            common: module.stores("save_projection", projection) ? projection.map { "\($0).\(kind(module.path))" } : [])
    }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(columns: try module.side("frod_lambda_l", 0))
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("kind", kind(module.path)), .init("sparse_elements", try module.side("frod_lambda_s_values", 0))]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let kind = kind(module.path)
        let size = weight.columns
        let scales = try module.vector("frod_lambda_l", count: size)
        let count = try module.side("frod_lambda_s_values", 0)
        if let rate = try module.number("sparse_rate") {
            // Python's int(), of float64, and no more than there are beside the diagonal.
            let all = Double(size) * Double(size)
            let expected = Int(exactly: min((all * rate).rounded(.towardZero), all - Double(size))) ?? -1
            try module.require(
                "sparse_rate \(JSONNumber(rate).text), which is \(expected) of \(size) × \(size)", expected == count,
                "there are \(count) values", of: "frod_lambda_s_values")
        }
        let elements = try module.vector("frod_lambda_s_values", count: count)
        guard module.has("frod_V.\(kind)"), module.has("frod_s_indices.\(kind)") else {
            // With `save_projection` PEFT raises where they are not there, and its default is to save.
            guard module.config["save_projection"]?.boolValue == false else {
                throw module.refusal(
                    "has no frod_V, and the config does not say that it was left out", rule: "MissingTensor", help: "save the adapter again")
            }
            throw module.refusal(
                "has no frod_V: PEFT takes it from an eigendecomposition of the base, whose signs are a choice of the "
                    + "library's build, and the trained elements beside the diagonal depend on them", rule: "ProjectionMissing",
                help: "save the adapter with save_projection=True on the machine that trained it")
        }
        let projection = try module.matrix("frod_V.\(kind)", [size, size])
        let indices = try module.indices("frod_s_indices.\(kind)", below: size)
        guard indices.count == 2 * count, try module.shape("frod_s_indices.\(kind)") == [2, count] else {
            throw module.misfit(try module.tensor("frod_s_indices.\(kind)"), "shape [2, \(count)]")
        }
        guard try !module.has("frod_s_size.\(kind)") || module.indices("frod_s_size.\(kind)", below: .max) == [size, size]
        else { throw module.misfit(try module.tensor("frod_s_size.\(kind)"), "the size \(size) twice") }
        let positions = (0..<count).map { indices[$0] * size + indices[count + $0] }
        let values = MatrixExpression.stacked([elements.transpose, scales.transpose])
        let rotation = MatrixExpression.scattered(
            values, positions: IndexTable(positions + (0..<size).map { $0 * (size + 1) }), rows: size, columns: size)
        let solution = projection.solving(weight.base.transpose)
        let left = (solution * .function(.reciprocal(above: 1e-12), .rowNorms(solution))).transpose
        return ModuleChanges(
            weight: .become(left × (rotation × projection.transpose)),
            setAside: ["frod_s_indices", "frod_s_size"].map { "\($0).\(kind)" }.filter(module.has)
                .compactMap { name in (try? module.tensor(name).name).map { ($0, "places of the elements, read when bound") } })
    }

    /// What PEFT calls the modules that share a projection.
    private func kind(_ path: ExactString) -> String {
        let parts = path.text.dottedComponents.map { String($0) }
        guard parts.count > 1 else { return path.text }
        let last = Array(parts.suffix(2))
        if !last[0].isEmpty, last[0].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) { return last[1] }
        if parts.suffix(3) == ["attention", "output", "dense"] { return "attention_output" }
        return "\(last[0])_\(last[1])"
    }
}

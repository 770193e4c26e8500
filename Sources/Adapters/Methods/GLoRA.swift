import ByteAccess
import Tensors

/// GLoRA, one-for-all generalised low-rank adaptation (arXiv:2306.07967).
///
///     W' = W + (W ⊙ A + B)
///     b' = b + ((b ⊙ D + E) + W × C)              where the layer has a bias
///
/// | part | keys | shape |
/// |---|---|---|
/// | A, B | `.Xd`, `.Xu` | (out, r) and (r, in): their product |
/// | | `.X` | (out, 1), repeated along a row; (1), the same everywhere |
/// | | `.zeros` | (out, in), as stored |
/// | C | `.Xd`, `.Xu` | (in, r) and (r, 1): their product |
/// | | `.X` or `.zeros` | (in, 1) |
/// | D, E | `.X` or `.zeros` | (out), or (1) |
///
/// The keys are `glora_A` to `glora_E`, each with one of these. A layer without a bias has zeros for C, D and E, which
/// have no part.
///
/// Config: `r`; `config_A_B`, `config_C` and `config_D_E`, against which the tensors are held. Order: the products of the factors; W ⊙ A;
/// the sum with B; for the bias b ⊙ D, its sum with E, W × C in order of the inputs, and their sum.
/// Source: `GloraLayer.merge`, `GloraLoraPath.forward`, `GloraVectorPath.forward` in peft/tuners/glora/layer.py.
struct GLoRA: ModuleMethod {
    let name = "GLoRA"
    let peftTypes = ["GLORA"]
    let components: Set<String> = ["glora_A", "glora_B", "glora_C", "glora_D", "glora_E"]
    let configKeys: Set<String> = ["r", "config_A_B", "config_C", "config_D_E", "init_weights", "bias"]

    /// Vectors and numbers tell no sides.
    let stillPoints: [[String: Double]] = [["glora_A": 0, "glora_B": 0, "glora_C": 0, "glora_D": 0, "glora_E": 0]]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        if module.has("glora_A.Xd") {
            return UpdateExtent(rows: try module.side("glora_A.Xd", 0), columns: try module.side("glora_A.Xu", 1))
        }
        if module.has("glora_A.zeros") {
            return UpdateExtent(rows: try module.side("glora_A.zeros", 0), columns: try module.side("glora_A.zeros", 1))
        }
        let rows = try module.side("glora_A.X", 0)
        // Of a single number the base tells both sides, of a vector one.
        return UpdateExtent(rows: try module.shape("glora_A.X").count == 1 && rows == 1 ? nil : rows)
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (module.has("glora_A.Xd") ? try module.side("glora_A.Xd", 1) : nil, nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        ["A", "B", "C", "D", "E"].map { part in
            let key = "glora_\(part)"
            let form = module.has("\(key).Xd") ? "low-rank" : module.has("\(key).X") ? "vector or number" : "none"
            return .init(part, form)
        }
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        guard !weight.isConvolution else {
            throw module.refusal("is no Linear layer, and GLoRA is defined for no other", rule: "ModuleKind")
        }
        let (rows, columns) = (weight.rows, weight.columns)
        try requireForms(of: module, hasBias: weight.hasBias)
        let update = weight.base * (try matrix("glora_A", module, rows, columns)) + (try matrix("glora_B", module, rows, columns))
        var result = ModuleChanges(weight: .add(update))
        let rest = module.names.filter { $0.hasPrefix("glora_C") || $0.hasPrefix("glora_D") || $0.hasPrefix("glora_E") }
        guard weight.hasBias else {
            // PEFT makes the three empty where there is no bias (`GloraLayer.update_layer`).
            guard rest.allSatisfy({ $0.hasSuffix(".zeros") }) else {
                throw module.refusal(
                    "changes a bias, and the base layer has none", rule: "VariantLayout",
                    help: "merge onto the base that the adapter was trained on")
            }
            for name in rest {
                let wanted = name.hasPrefix("glora_C") ? [columns, 1] : [rows]
                guard try module.shape(name) == wanted else { throw module.misfit(try module.tensor(name), "shape \(wanted)") }
            }
            result.setAside = try rest.map { (try module.tensor($0).name, "the layer has no bias") }
            return result
        }
        guard let stored = weight.stored else {
            throw PeftfileError(
                .unsupported, "module \"\(module.path)\" is part of a fused tensor, and its bias needs the whole weight",
                tensor: module.known.first?.name, rule: "FusedParameter", help: "merge it with PEFT's merge_and_unload")
        }
        let bias = weight.bias * (try row("glora_D", module, rows)) + (try row("glora_E", module, rows))
        result.bias = .add(bias + (stored × (try matrix("glora_C", module, columns, 1))).transpose)
        return result
    }

    /// Which of the forms each part has is what the config says of it; without a bias the last three have none.
    private func requireForms(of module: MethodModule, hasBias: Bool) throws {
        let keys = ["A": "config_A_B", "B": "config_A_B", "C": "config_C", "D": "config_D_E", "E": "config_D_E"]
        for (part, key) in keys.sorted(by: { $0.key < $1.key }) where hasBias || key == "config_A_B" {
            guard let wanted = module.config[ExactString(key)]?.stringValue else { continue }
            let name = "glora_\(part)"
            let (tensor, form): (String, String)
            if module.has("\(name).Xd") {
                (tensor, form) = ("\(name).Xd", "lora")
            } else if module.has("\(name).X") {
                let isNumber = try module.shape("\(name).X") == [1] && part != "C"
                // A vector of one output is as long as a number.
                let isEither = isNumber && wanted == "vector" && key == "config_D_E"
                (tensor, form) = ("\(name).X", isEither ? wanted : isNumber ? "constant" : "vector")
            } else {
                (tensor, form) = ("\(name).zeros", "none")
            }
            let known = ["lora": ["config_A_B", "config_C"], "vector": ["config_A_B", "config_C", "config_D_E"],
                "constant": ["config_A_B", "config_D_E"]]
            let expected = known[wanted]?.contains(key) == true ? wanted : "none"
            try module.require("\(key) \(wanted.printable)", form == expected, "\(key) is \(form)", of: tensor)
        }
    }

    /// A part as a matrix of this size; a column or a number that stands for it is repeated by the operation.
    private func matrix(_ part: String, _ module: MethodModule, _ rows: Int, _ columns: Int) throws -> MatrixExpression {
        if module.has("\(part).Xd") {
            let rank = try module.side("\(part).Xd", 1)
            try module.requireRank(rank, of: "\(part).Xd", pattern: nil)
            return try module.matrix("\(part).Xd", [rows, rank]) × module.matrix("\(part).Xu", [rank, columns])
        }
        if module.has("\(part).zeros") { return try module.matrix("\(part).zeros", [rows, columns]) }
        guard try module.shape("\(part).X") == [1] else { return try module.matrix("\(part).X", [rows, 1]) }
        return try module.row("\(part).X", count: 1)
    }

    private func row(_ part: String, _ module: MethodModule, _ count: Int) throws -> MatrixExpression {
        if module.has("\(part).zeros") { return try module.vector("\(part).zeros", count: count) }
        return try module.vector("\(part).X", count: try module.shape("\(part).X") == [1] ? 1 : count)
    }
}

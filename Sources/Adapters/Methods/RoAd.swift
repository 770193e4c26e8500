import ByteAccess
import Tensors

/// RoAd, 2D rotary adaptation (arXiv:2409.00119): every output is turned with a partner by an angle of its own, and
/// scaled.
///
///     W'[i, :] = f[i]·W[i, :] − s[i]·W[i + g/2, :]        i in the first half of its group of g outputs
///     W'[i, :] = f[i]·W[i, :] + s[i]·W[i − g/2, :]        i in the second half
///     f = α·cos θ,  s = α·sin θ,  and the bias likewise
///
/// | variant | `road_theta`, `road_alpha` (shape) | θ and α of output i of group n, j = i mod g |
/// |---|---|---|
/// | `road_1` | (out / 2) | element n·g/2 + j mod g/2 of both |
/// | `road_2` | (out) | element i of both |
/// | `road_4` | (2·out) | element 2·n·g + j for f, and 2·n·g + g + j for s |
///
/// Config: `variant`, `group_size`. Order: f and s, one product each; the two products with W; their sum. sin and cos are
/// the house's own, within 0.85 ulp; an angle beyond 2²⁰ is refused. Only Linear layers have one in PEFT.
/// Source: `_get_delta_weight`, `_prepare_cols`, `RoadLayer.update_layer` in peft/tuners/road/layer.py.
struct RoAd: ModuleMethod {
    let name = "RoAd"
    let peftTypes = ["ROAD"]
    let components: Set<String> = ["road_theta", "road_alpha"]
    let configKeys: Set<String> = ["variant", "group_size", "init_weights"]
    let requiredKeys: Set<String> = ["variant", "group_size"]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try Layout(module).outputs)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        let layout = try Layout(module)
        return [.init("variant", layout.variant), .init("group_size", layout.group)]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let layout = try Layout(module)
        guard !weight.isConvolution, weight.rows == layout.outputs else {
            throw PeftfileError(
                .refused, "holds angles for \(layout.outputs) outputs in variant \(layout.variant), and the base's layer has "
                    + (weight.isConvolution ? "a kernel" : "\(weight.rows)"), tensor: try module.tensor("road_theta").name,
                rule: "ShapeMismatch",
                help: "correct variant in adapter_config.json, or merge onto the base that the adapter was trained on")
        }
        guard try module.numbers("road_theta").allSatisfy({ $0.magnitude <= Elementary.largestAngle }) else {
            throw PeftfileError(
                .refused, "holds an angle that is no number of at most 2²⁰", tensor: try module.tensor("road_theta").name,
                rule: "AngleRange", help: "no training gives such an angle: save the adapter again")
        }
        let theta = try module.vector("road_theta", count: layout.count)
        let alpha = try module.vector("road_alpha", count: layout.count)
        func row(_ values: MatrixExpression, _ index: (Int) -> Int) -> MatrixExpression {
            values.columns(at: (0..<weight.rows).map(index))
        }
        let same = row(alpha, layout.first) * .function(.cosine, row(theta, layout.first))
        let turned = row(alpha, layout.second) * .function(.sine, row(theta, layout.second))
        let half = layout.group / 2
        let isFirst = (0..<weight.rows).map { $0 % layout.group < half }
        let partners = isFirst.enumerated().map { $0 + ($1 ? half : -half) }
        // A product with −1 is exact.
        let signs = MatrixExpression.constant(
            .table(NumberTable(isFirst.map { $0 ? -1 : 1 }), rows: 1, columns: weight.rows))
        let other = signs * turned
        return ModuleChanges(
            weight: .become(weight.base * same.transpose + weight.base.rows(at: partners) * other.transpose),
            bias: weight.hasBias
                ? .become(weight.bias * same + weight.bias.columns(at: partners) * other) : nil)
    }

    /// Which element of the two vectors an output has.
    private struct Layout {
        let variant: String
        let group: Int
        let count: Int
        let outputs: Int

        init(_ module: MethodModule) throws {
            variant = module.config["variant"]?.stringValue ?? "road_1"
            group = try module.count("group_size") ?? 64
            let info = try module.tensor("road_theta")
            count = info.elementCount
            switch variant {
            case "road_1": outputs = 2 * count
            case "road_2": outputs = count
            case "road_4": outputs = count / 2
            default: throw module.config.wrong("variant", "road_1, road_2 or road_4")
            }
            guard group % 2 == 0 else { throw module.config.wrong("group_size", "an even number") }
            guard info.shape.count == 1, count > 0, outputs % group == 0, variant != "road_4" || count % 2 == 0 else {
                throw PeftfileError(
                    .refused, "has shape \(info.shape), which is no whole number of groups of \(group) outputs in variant \(variant)",
                    tensor: info.name, rule: "GroupSize", help: "correct group_size or variant in adapter_config.json")
            }
        }

        func first(_ output: Int) -> Int {
            let (number, place) = output.quotientAndRemainder(dividingBy: group)
            switch variant {
            case "road_1": return number * (group / 2) + place % (group / 2)
            case "road_4": return 2 * number * group + place
            default: return output
            }
        }

        func second(_ output: Int) -> Int { first(output) + (variant == "road_4" ? group : 0) }
    }
}

@testable import Adapters

/// Gate, one learned factor for each output feature: the example of an article.
///
///     W'[i, :] = W[i, :] + W[i, :]·g[i]
///
/// | module | `gate_vector` (shape) |
/// |---|---|
/// | Linear | (out) |
///
/// Config: `init_gate` has its part in training alone. Order: the product, W plus that.
struct Gate: ModuleMethod {
    let name = "Gate"
    let peftTypes = ["GATE"]
    let components: Set<String> = ["gate_vector"]
    let configKeys: Set<String> = ["init_gate"]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.side("gate_vector", 0))
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let gate = try module.row("gate_vector", count: weight.rows).transpose
        return ModuleChanges(weight: .add(weight.base * gate))
    }
}

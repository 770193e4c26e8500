import ByteAccess
import Tensors

/// BEFT, bias-efficient fine-tuning (arXiv:2509.15974).
///
///     bias' = bias + beft_bias
///
/// `beft_bias` (1, out). A layer without a bias is adapted all the same, and cannot be merged. Config: none.
/// Source: `Linear.merge` in peft/tuners/beft/layer.py.
struct BEFT: ModuleMethod {
    let name = "BEFT"
    let peftTypes = ["BEFT"]
    let defaultTargets = DefaultTargets.beft
    let components: Set<String> = ["beft_bias"]
    let configKeys: Set<String> = ["init_weights"]
    /// Beside a layer without a bias.
    let baseSides: [String: BaseSide] = ["beft_bias": .outputColumns]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.tensor("beft_bias").elementCount)
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        ModuleChanges(bias: .add(try module.vector("beft_bias", count: weight.rows, shape: [1, weight.rows])))
    }
}

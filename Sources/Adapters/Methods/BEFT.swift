import ByteAccess
import Tensors

/// BEFT, bias-efficient fine-tuning (arXiv:2509.15974).
///
///     bias' = bias + beft_bias
///
/// `beft_bias` (1, out). The base layer must have a bias. Config: none.
/// Source: `Linear.merge` in peft/tuners/beft/layer.py.
struct BEFT: ModuleMethod {
    let name = "BEFT"
    let peftTypes = ["BEFT"]
    let defaultTargets = DefaultTargets.beft
    let components: Set<String> = ["beft_bias"]
    let configKeys: Set<String> = ["init_weights"]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.tensor("beft_bias").elementCount)
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        ModuleChanges(bias: .add(try module.row("beft_bias", count: weight.rows)))
    }
}

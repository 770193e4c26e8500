import ByteAccess
import Tensors

/// (IA)³ as LyCORIS has it: the tensor is the scale minus one.
///
///     W'[:, j] = W[:, j]·(1 + w[j])     `on_input`
///     W'[i, :] = W[i, :]·(1 + w[i])     else
///
/// `weight` has as many elements as the module has inputs, or outputs; of a convolution it is (1, n, 1…). Other than
/// PEFT's IA3 the bias is left as it is: the library's merge changes the weight alone. Order: 1 + w, the product.
/// Source: `IA3Module.make_weight` and `get_merged_weight` in lycoris/modules/ia3.py.
struct LycorisIA3: ModuleMethod {
    let scalesInput: Bool
    let name = "IA3"
    let peftTypes: [String] = []
    let components: Set<String> = ["weight"]
    let configKeys: Set<String> = []

    func extent(of module: MethodModule) throws -> UpdateExtent {
        let info = try module.tensor("weight")
        if scalesInput { return UpdateExtent(columns: info.shape.count > 2 ? nil : info.elementCount) }
        return UpdateExtent(rows: info.elementCount)
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let count = scalesInput ? weight.columns / max(1, weight.window) : weight.rows
        let scales = .filled(1, rows: 1, columns: count) + (try module.row("weight", count: count))
        guard scalesInput else { return ModuleChanges(weight: .become(weight.base * scales.transpose)) }
        // A kernel's input channel stands in `window` neighbouring columns.
        let spread = weight.window == 1
            ? scales : scales.columns(at: (0..<weight.columns).map { $0 / weight.window })
        return ModuleChanges(weight: .become(weight.base * spread))
    }
}

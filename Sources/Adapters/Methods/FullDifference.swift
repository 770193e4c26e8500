/// A whole difference: LyCORIS' `full` algorithm and its norms, and what extraction scripts leave unfactored.
///
///     W' = W + diff,   bias' = bias + diff_b
///
/// | keys | shape |
/// |---|---|
/// | `diff` (file: `diff`, `w_norm`) | the weight's |
/// | `diff_b` (file: `diff_b`, `b_norm`) | the bias's |
///
/// Source: `FullModule.get_diff_weight` in lycoris/modules/full.py, `NormModule.make_weight` in norms.py.
struct FullDifference: ModuleMethod {
    let name = "difference"
    let peftTypes: [String] = []
    let components: Set<String> = ["diff", "diff_b"]
    let configKeys: Set<String> = []

    /// Both sides are the base's own.
    func extent(of module: MethodModule) throws -> UpdateExtent { UpdateExtent() }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        var changes = ModuleChanges()
        if module.has("diff") {
            let values = weight.shape.count == 1
                ? try module.row("diff", count: weight.shape[0]) : try module.matrix("diff", weight.shape)
            changes.weight = .add(values)
        }
        if module.has("diff_b") { changes.bias = .add(try module.row("diff_b", count: weight.rows)) }
        return changes
    }
}

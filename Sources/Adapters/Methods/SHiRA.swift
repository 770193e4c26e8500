import ByteAccess
import Tensors

/// SHiRA, sparse high-rank adapters (arXiv:2406.13175).
///
///     W'[row_i, column_i] = W[row_i, column_i] + value_i
///
/// | keys | shape |
/// |---|---|
/// | `shira_weight` | (n) |
/// | `shira_indices` | (2, n), int32: rows, then columns of (out, in); float32 in files that were saved on Windows |
///
/// Values at one place add up in order. Config: `r`, which is n / (in + out); the mask is in the file.
/// Source: `Linear.get_delta_weight` in peft/tuners/shira/layer.py (a sparse COO tensor; its scaling is 1).
struct SHiRA: ModuleMethod {
    let name = "SHiRA"
    let peftTypes = ["SHIRA"]
    let defaultTargets = DefaultTargets.vera
    let components: Set<String> = ["shira_weight", "shira_indices"]
    let configKeys: Set<String> = ["r", "mask_type", "random_seed", "fan_in_fan_out", "init_weights"]
    let stillPoints: [[String: Double]] = [["shira_weight": 0]]

    /// The seed drew the mask, whose indices are in the file.
    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool? { key == "random_seed" ? false : nil }

    /// Source: `ShiraModel._get_adapter_state_dict` in peft/tuners/shira/model.py.
    func inventory(of module: MethodModule) throws -> ModuleInventory { ModuleInventory(own: ["shira_weight", "shira_indices"]) }

    func extent(of module: MethodModule) throws -> UpdateExtent { UpdateExtent() }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("values", try module.tensor("shira_weight").elementCount)]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let count = try module.tensor("shira_weight").elementCount
        let values = try module.vector("shira_weight", count: count)
        if let rank = try module.count("r") {
            try module.require(
                "r \(rank), which is \(rank * (weight.rows + weight.columns)) for \(weight.rows) + \(weight.columns)",
                rank.multipliedReportingOverflow(by: weight.rows + weight.columns) == (count, false),
                "there are \(count) values", of: "shira_weight")
        }
        let info = try module.tensor("shira_indices")
        guard info.shape == [2, count] else { throw module.misfit(info, "shape [2, \(count)]") }
        let places = try module.indices("shira_indices", below: max(weight.rows, weight.columns))
        let positions = try (0..<count).map { index in
            let (row, column) = (places[index], places[count + index])
            guard row < weight.rows, column < weight.columns else {
                throw module.misfit(info, "places in \(weight.rows) × \(weight.columns)")
            }
            return row * weight.columns + column
        }
        return ModuleChanges(
            weight: .add(
                .scattered(values, positions: IndexTable(positions), rows: weight.rows, columns: weight.columns)))
    }
}

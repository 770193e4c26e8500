import ByteAccess
import Checkpoints
import Tensors

/// Parameters that were trained and saved whole: each takes the place of the base's.
///
/// The key's leaf is the parameter's own name (`weight`, `bias`). A tied parameter changes for all that share it.
/// Source: `load_adapters` in mlx_lm/tuner/utils.py for `fine_tune_type` `full`.
struct WholeParameters: AdapterMethod {
    let peftTypes: [String] = []
    let configKeys: Set<String> = []

    func targets(of adapter: Adapter) throws -> [AdapterTarget] {
        adapter.keys.map { AdapterTarget(module: $0.module, parameter: $0.leaf, method: "saved whole") }
    }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool { key.component == "whole" }

    func remarks(on adapter: Adapter) -> [String] { [] }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        let requests = adapter.keys.map { ParameterRequest(module: $0.module, parameter: .named($0.leaf)) }
        let places = try context.resolve(requests, [])
        var result = MethodUpdates()
        for (key, request) in zip(adapter.keys, requests) {
            guard let place = places[request] else { continue }
            // One matrix of a stack is no tensor of the file.
            let part = adapter.checkpoint[key.stored] == nil ? adapter.tensor(key.stored) : nil
            let change = part.map {
                ParameterUpdate.Change.replaceRows(indices: Array(0..<$0.rowCount), values: Factor(adapter: context.adapterIndex, info: $0))
            }
            result.changes.append(
                ParameterUpdate(
                    place: place, change: change ?? .replace(tensor: key.stored, shared: true),
                    target: AdapterTarget(module: key.module, parameter: key.leaf, method: "saved whole")))
        }
        if context.weight != 1 {
            result.warnings.append("parameters that the adapter stores whole are taken whole; the weights of a merge do not scale them")
        }
        return result
    }
}

import ByteAccess
import Tensors

extension ModuleMethod {
    func widestExtent(of module: MethodModule) throws -> UpdateExtent { try extent(of: module) }

    /// The formula of every module without a base: those that add to the weight and read none of its elements.
    ///
    /// The weight that the formula is asked for has the sides that the module's tensors tell; a kernel's window is then a
    /// part of the columns, and formulas that need to know it are among the skipped.
    func standaloneUpdates(of adapter: Adapter) throws -> StandaloneUpdates? {
        guard let config = adapter.config else { return nil }
        try config.requireKnownKeys(configKeys)
        try requireConfig(of: adapter)
        var result = StandaloneUpdates(adapter)
        for module in try filledModules(of: adapter, in: nil) {
            let known = module.known.map(\.name)
            // What no formula could be stated for may depend on every tensor, those of the whole adapter too.
            let all = module.tensorsByKey.map(\.name)
            do {
                let extent = try extent(of: module)
                let widest = try widestExtent(of: module)
                guard let rows = widest.rows, let columns = widest.columns else {
                    result.skipped.append(
                        .init(module: module.path, reason: "the sides of its update are in no tensor", tensors: all))
                    continue
                }
                var weight = ModuleWeight(rows: rows, columns: columns, shape: [rows, columns], hasBias: false, stored: nil)
                weight.isStandIn = true
                let changes = try changes(of: module, weight: weight)
                guard case .add(let expression, let scale) = changes.weight, changes.bias == nil, changes.taken == nil,
                    !expression.readsBase, expression.factors.allSatisfy({ $0.adapter != Factor.base })
                else {
                    result.skipped.append(
                        .init(module: module.path, reason: "its update depends on the base's weights", tensors: all))
                    continue
                }
                let summary = try summary(of: module)
                let isWider = extent.rows == nil || extent.columns == nil
                let read = expression.factors.map(\.tensor)
                result.updates.append(
                    StandaloneUpdate(
                        module: module.path, parameter: "weight", expert: nil,
                        form: isWider ? "\(name) of up to \(rows) × \(columns)" : "", rank: summary.rank, scale: summary.scale,
                        rows: rows, columns: columns,
                        terms: [.init(expression: expression, scale: scale, region: nil)],
                        tensors: known + Set(read).subtracting(known).sorted()))
            } catch let error as PeftfileError where [.refused, .malformed, .unsupported].contains(error.code) {
                result.skipped.append(.init(module: module.path, reason: error.message, tensors: all))
            }
        }
        return result
    }
}

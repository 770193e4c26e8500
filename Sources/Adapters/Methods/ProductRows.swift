import Tensors

/// Rows of a product of factors: what a layer has of the update of a fused one, where no factor has rows that are its own.
///
///     W' = W + s·P[rows],   P the update of all layers below each other
///
/// A Kronecker product has row i·q + k for row i of the first factor and row k of the second, so that q's and k's rows of `qkv` may begin within
/// the second. Ranges of rows stand below each other in the order given: two halves may change places.
///
/// Order: that of the whole product's rows. Source: the update is LyCORIS' of the fused layer (`LokrModule.get_weight` in lycoris/modules/lokr.py),
/// and its rows those that diffusers' converter of the checkpoint gives the layer (``LayerTable``).
struct ProductRows: ModuleMethod {
    let inner: any FactorProduct
    let ranges: [Range<Int>]
    let peftTypes: [String] = []
    let configKeys: Set<String> = []

    var name: String { "\(inner.name), rows" }
    var components: Set<String> { inner.components }

    /// What tells it from the same method on other rows.
    var formName: String { "\(inner.name) \(ranges.map { "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: " "))" }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: ranges.reduce(0) { $0 + $1.count }, columns: try inner.extent(of: module).columns)
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) { try inner.summary(of: module) }

    func details(of module: MethodModule) throws -> [TargetDetail] { try inner.details(of: module) }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        guard case .add(let product, let scale) = try inner.changes(of: module, weight: weight).weight else {
            throw module.refusal("is no update that is added", rule: "VariantLayout")
        }
        let parts = ranges.map(product.rows)
        return ModuleChanges(weight: .add(parts.count == 1 ? parts[0] : .stacked(parts), scale: scale))
    }
}

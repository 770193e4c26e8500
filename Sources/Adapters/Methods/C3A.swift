import ByteAccess
import Tensors

/// C3A, circular convolution adaptation (arXiv:2407.19342).
///
///     W'[m·b + t, n·b + j] = W[m·b + t, n·b + j] + kernel[m, n, (j − t) mod b] / in
///
/// `c3a_kernel` (out / b, in / b, b). PEFT builds the circulant blocks by Fourier transforms; they are the kernel's own
/// numbers in another order, so here nothing is rounded but the division.
///
/// Config: `block_size` and `block_size_pattern`, which the tensor tells and is held against.
/// Source: `C3ALinear.get_delta_weight` in peft/tuners/c3a/layer.py, `get_circulant_fast` in utils.py.
struct C3A: ModuleMethod {
    let name = "C3A"
    let peftTypes = ["C3A"]
    let defaultTargets = DefaultTargets.spectral
    let components: Set<String> = ["c3a_kernel"]
    let configKeys: Set<String> = ["block_size", "block_size_pattern", "init_weights", "bias"]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        let size = try module.side("c3a_kernel", 2)
        return UpdateExtent(
            rows: try module.side("c3a_kernel", 0) * size, columns: try module.side("c3a_kernel", 1) * size)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] { [.init("block_size", try module.side("c3a_kernel", 2))] }

    /// Kernels begin drawn from an interval whose ends the layer's sides tell, by default that of Xavier. Source:
    /// `C3ALayer.reset_c3a_parameters`.
    func firstValues(of adapter: Adapter) throws -> [FirstValues] {
        let kind = adapter.config?["init_weights"] ?? .string("xavier_uniform")
        return try modules(of: adapter, in: nil).compactMap { module in
            guard case let extent = try extent(of: module), let rows = extent.rows, let columns = extent.columns, rows > 0, columns > 0
            else { return nil }
            let square: Double
            switch kind {
            case .string("xavier_uniform"), .bool(false): square = 6 / (Double(rows) + Double(columns))
            case .string("kaiming_uniform"): square = 1 / Double(columns)
            default: return nil
            }
            return .uniform(tensor: try module.tensor("c3a_kernel").name, bound: square.squareRoot())
        }
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let size = try module.side("c3a_kernel", 2)
        guard size > 0, weight.rows % size == 0, weight.columns % size == 0 else {
            throw module.misfit(try module.tensor("c3a_kernel"), "blocks that tile \(weight.rows) × \(weight.columns)")
        }
        try module.require("block_size", is: size, of: "c3a_kernel", pattern: "block_size_pattern")
        let (height, width) = (weight.rows / size, weight.columns / size)
        let kernels = try module.matrix("c3a_kernel", [height, width, size]).reshaped(columns: size)
        let circulants = kernels.columns(at: (0..<(size * size)).map { ($0 % size - $0 / size + size) % size })
        let update = circulants.rearranged([height, width, size, size], axes: [0, 2, 1, 3], columns: weight.columns)
        return ModuleChanges(weight: .add(update / .filled(Double(weight.columns), rows: 1, columns: 1)))
    }
}

import Adapters
import ByteAccess
import Checkpoints
import Tensors

extension CheckSubject {
    /// Whether all modules have the values with which PEFT begins, of initialisations that neither begin with zeros nor with one number:
    /// they give the factors a form that no step of training keeps. Only where numbers of at least 32 bits show it.
    ///
    /// | `init_lora_weights` | A (r, in) and B (out, r) |
    /// |---|---|
    /// | `orthogonal` | B·A is 0 |
    /// | `pissa` | BᵀB = AAᵀ, both diagonal: the roots of the singular values |
    /// | `olora` | BᵀB = I, and A is zero below its diagonal: Q and R |
    ///
    /// PSOFT without `psoft_orth` begins with the identity between vectors of ones.
    ///
    /// Source: `orthogonal_init`, `pissa_init`, `olora_init` in peft/tuners/lora/layer.py, `OrthLayer.__init__` in peft/tuners/psoft/layer.py.
    func isAsInitialised() throws -> Bool {
        guard let config = config.config, config.peftType != nil, let checkpoint = weights.checkpoint else { return false }
        func values(_ info: TensorInfo) throws -> [Double]? {
            guard info.dtype == .f32 || info.dtype == .f64, info.shape.count == 2, let stored = checkpoint[info.name] else { return nil }
            return try Conversion.widened(checkpoint.read(stored), as: info.dtype, count: info.elementCount)
        }
        if methodReads("init_lora_weights"), let name = config["init_lora_weights"]?.stringValue, let kind = Beginning(name), !factors.pairs.isEmpty {
            return try factors.pairs.allSatisfy { pair in
                guard pair.stem == "lora", pair.defect == nil, let a = pair.a, let b = pair.b, let left = try values(b), let right = try values(a)
                else { return false }
                return kind.holds(of: right, left, rank: a.shape[0])
            }
        }
        let rotations = keys.filter { $0.component == "psoft_R" }
        guard config["psoft_orth"]?.boolValue == false, !rotations.isEmpty else { return false }
        return try rotations.allSatisfy { key in
            guard key.leaf == "weight" else { return try isAll(key.stored, 1) }
            guard let info = checkpoint[key.stored]?.info, info.shape.count == 2, info.shape[0] == info.shape[1], let own = try values(info) else { return false }
            return own.enumerated().allSatisfy { $1 == ($0 % (info.shape[1] + 1) == 0 ? 1 : 0) }
        }
    }
}

/// The form that an initialisation gives to a pair of factors.
private enum Beginning {
    case orthogonal, principal, triangular

    init?(_ name: String) {
        switch name.lowercased() {
        case "orthogonal": self = .orthogonal
        case "olora": self = .triangular
        case let name where name == "pissa" || name.hasPrefix("pissa_niter_"): self = .principal
        default: return nil
        }
    }

    /// A decomposition in float32 leaves some 2⁻²² of a norm, and a step of 10⁻⁵ on numbers of 1 leaves 2⁻¹⁷.
    private static let tolerance = 0x1p-18

    func holds(of a: [Double], _ b: [Double], rank: Int) -> Bool {
        guard rank > 0, !a.isEmpty, !b.isEmpty else { return false }
        let (width, height) = (a.count / rank, b.count / rank)
        var (right, left) = ([Double](repeating: 0, count: rank * rank), [Double](repeating: 0, count: rank * rank))
        for i in 0..<rank {
            for j in 0...i {
                var (sumA, sumB) = (0.0, 0.0)
                for k in 0..<width { sumA += a[i * width + k] * a[j * width + k] }
                for k in 0..<height { sumB += b[k * rank + i] * b[k * rank + j] }
                (right[i * rank + j], right[j * rank + i], left[i * rank + j], left[j * rank + i]) = (sumA, sumA, sumB, sumB)
            }
        }
        let diagonal = (0..<rank).map { $0 * (rank + 1) }
        let (traceA, traceB) = (diagonal.reduce(0) { $0 + right[$1] }, diagonal.reduce(0) { $0 + left[$1] })
        guard traceA > 0, traceB > 0 else { return false }
        func isDiagonal(_ matrix: [Double], _ scale: Double) -> Bool {
            matrix.enumerated().allSatisfy { $0 % (rank + 1) == 0 || abs($1) <= Beginning.tolerance * scale }
        }
        switch self {
        case .orthogonal:
            // ‖B·A‖² is the trace of BᵀB·AAᵀ.
            return zip(left, right).reduce(0) { $0 + $1.0 * $1.1 } <= Beginning.tolerance * Beginning.tolerance * traceA * traceB
        case .principal:
            return isDiagonal(left, traceB) && isDiagonal(right, traceA)
                && diagonal.allSatisfy { abs(left[$0] - right[$0]) <= Beginning.tolerance * traceA }
        case .triangular:
            let isTriangular = (0..<rank).allSatisfy { row in (0..<min(row, width)).allSatisfy { a[row * width + $0] == 0 } }
            return isTriangular && isDiagonal(left, 1) && diagonal.allSatisfy { abs(left[$0] - 1) <= Beginning.tolerance }
        }
    }
}

import ByteAccess
import Tensors

/// LoKr, a Kronecker product of two factors (KronA, arXiv:2212.10650; LyCORIS, arXiv:2309.14859).
///
///     W' = W + s·(w1 ⊗ w2)                                          s = alpha / r
///
/// | factor | keys (shape) |
/// |---|---|
/// | w1 (p, m) | `lokr_w1` (p, m), or `lokr_w1_a` (p, r) × `lokr_w1_b` (r, m) |
/// | w2 (q, n·k…) | `lokr_w2` (q, n) or (q, n, k…), or `lokr_w2_a` (q, r) × `lokr_w2_b` (r, n·k…) |
/// | w2 with a core | `lokr_t2` (r, r, k…), `lokr_w2_a` (r, q), `lokr_w2_b` (r, n), as in LoHa |
///
/// with out = p·q and in = m·n: element (i·q + k, j·n·k… + l) is `w1[i, j]·w2[k, l]`. A kernel's offsets belong to w2,
/// so a convolution read as (out, in·k…) is the same product.
///
/// PEFT's `make_kron` gives w1 two more dimensions only where w2 has four, so for a Conv1d whose `lokr_w2` (q, n, k) is whole
/// `torch.kron` pairs w1's rows with n and w1's columns with k: the array (q, p·n, m·k), element (a, i·n + b, j·k + c) being
/// `w1[i, j]·w2[a, b, c]`, read row by row as (out, in, k). Training saw the same update, so it is what is merged. LyCORIS'
/// own files mean the product above.
///
/// Order: the factors, their product element by element, the scale. PEFT keeps `alpha / r` even where both factors are
/// whole and no rank is left in them.
///
/// Config: `r`, `alpha`, `rank_pattern`, `alpha_pattern`; the form is told by the tensors.
/// Source: `LoKrLayer.get_delta_weight`, `make_kron`, `make_weight_cp` in peft/tuners/lokr/layer.py.
struct LoKr: FactorProduct {
    let name = "LoKr"
    let peftTypes = ["LOKR"]
    let components: Set<String> = [
        "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
    ]
    let configKeys = LycorisScale.configKeys.union(["decompose_both", "decompose_factor", "rank_dropout_scale"])

    /// A factor of zeros; the form of the others is the kernel's business.
    let stillPoints: [[String: Double]] = [
        ["lokr_w1": 0], ["lokr_w1_a": 0], ["lokr_w1_b": 0], ["lokr_w2": 0], ["lokr_w2_a": 0], ["lokr_w2_b": 0], ["lokr_t2": 0],
    ]

    func extent(of module: MethodModule) throws -> UpdateExtent {
        let (first, second) = try factors(of: module)
        return UpdateExtent(rows: first.rows * second.rows, columns: first.columns * second.columns)
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        let scale = try LycorisScale(module)
        return (scale.rank, scale.alpha, scale.value)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        let (first, second) = try factors(of: module)
        func form(_ name: String) -> String { module.has(name) ? "full" : "low-rank" }
        return [
            .init("w1", "\(form("lokr_w1")) \(first.rows)×\(first.columns)"),
            .init("w2", "\(module.has("lokr_t2") ? "Tucker" : form("lokr_w2")) \(second.rows)×\(second.columns)"),
        ]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        for name in ["lokr_w1_b", "lokr_w2_b"] where module.has(name) {
            try module.requireRank(module.side(name, 0), of: name, scales: true)
        }
        if module.scale == nil { try requireForm(of: module, weight) }
        if module.scale == nil { try requireDimensions(of: module, weight) }
        return ModuleChanges(weight: .add(try product(of: module), scale: try LycorisScale(module).value))
    }

    func product(of module: MethodModule) throws -> MatrixExpression {
        let (first, second) = try factors(of: module)
        guard module.scale == nil, module.has("lokr_w2"), try module.shape("lokr_w2").count == 3,
            let kernel = try module.shape("lokr_w2").last, kernel > 0
        else { return .kronecker(first, second) }
        // (p·q·n, m·k), its rows counted p, q, n; in PEFT's array q comes first.
        let inputs = second.columns / kernel
        let product = MatrixExpression.kronecker(first, second.reshaped(columns: kernel))
        let shape = [first.rows, second.rows, inputs, first.columns * kernel]
        return product.rearranged(shape, axes: [1, 0, 2, 3], columns: first.columns * second.columns)
    }

    /// PEFT makes matrices, but for a whole w2 of a kernel, and for cores, of which that of a Conv1d has a last dimension of 1 too.
    private func requireDimensions(of module: MethodModule, _ weight: ModuleWeight) throws {
        for name in components.sorted() where module.has(name) {
            let count = try module.shape(name).count
            let wanted = name == "lokr_t2" ? 4 : name == "lokr_w2" ? (weight.isStandIn ? count : weight.shape.count) : 2
            guard count == wanted else { throw module.misfit(try module.tensor(name), "\(wanted) dimensions") }
        }
    }

    /// The sides and forms of the factors are those that PEFT makes of the config.
    ///
    /// Source: `LoKrLayer.update_layer`, `factorization` in peft/tuners/lokr/layer.py.
    private func requireForm(of module: MethodModule, _ weight: ModuleWeight) throws {
        let factor = try module.number("decompose_factor") ?? -1
        guard let divisor = Int(exactly: factor), divisor > 0 || divisor == -1 else {
            throw module.config.wrong("decompose_factor", "a positive whole number, or -1")
        }
        let inputs = weight.columns / max(1, weight.window)
        let (l, k) = LoKr.factorization(weight.rows, divisor), (m, n) = LoKr.factorization(inputs, divisor)
        let w1 = module.has("lokr_w1") ? "lokr_w1" : "lokr_w1_a"
        let first = try self.factor("lokr_w1", of: module)
        try module.require(
            "decompose_factor \(divisor), which makes w1 \(l) × \(m)", first.rows == l && first.columns == m,
            "w1 is \(first.rows) × \(first.columns)", of: w1)
        guard let rank = try module.count("r", pattern: "rank_pattern") else { return }
        let both = try module.config.flag("decompose_both")
        let isFirstWhole = !(both && 2 * rank < max(l, m)), isSecondWhole = 2 * rank >= max(k, n)
        try module.require(
            "r \(rank) and decompose_both \(both)", isFirstWhole == (w1 == "lokr_w1"),
            "w1 is \(isFirstWhole ? "two factors" : "one")", of: w1, pattern: "rank_pattern")
        let w2 = module.has("lokr_w2") ? "lokr_w2" : "lokr_w2_a"
        try module.require(
            "r \(rank)", isSecondWhole == (w2 == "lokr_w2"), "w2 is \(isSecondWhole ? "two factors" : "one")", of: w2,
            pattern: "rank_pattern")
        if weight.window > 1, !isSecondWhole, module.config["use_effective_conv2d"] != nil {
            let flag = try module.config.flag("use_effective_conv2d")
            try module.require(
                "use_effective_conv2d \(flag)", flag == module.has("lokr_t2"), "use_effective_conv2d is \(!flag)", of: w2)
        }
    }

    /// A number as a product of two, the smaller first: `factor` and the rest where that divides it, else the two that are nearest to
    /// each other with the first at most `factor`.
    static func factorization(_ number: Int, _ factor: Int) -> (Int, Int) {
        if factor > 0, number % factor == 0 { return (factor, number / factor) }
        let limit = factor == -1 ? number : factor
        var (m, n) = (1, number)
        var length = m + n
        while m < n {
            var next = m + 1
            while number % next != 0 { next += 1 }
            let other = number / next
            if next + other > length || next > limit { break }
            (m, n) = (next, other)
            length = m + n
        }
        return m > n ? (n, m) : (m, n)
    }

    private func factors(of module: MethodModule) throws -> (MatrixExpression, MatrixExpression) {
        (try factor("lokr_w1", of: module), try secondFactor(of: module))
    }

    private func factor(_ name: String, of module: MethodModule) throws -> MatrixExpression {
        if module.has(name) {
            for part in ["_a", "_b"] where module.has(name + part) {
                throw PeftfileError(
                    .refused, "stands beside \(name), which is the whole factor: PEFT stores one form or the other",
                    tensor: try module.tensor(name + part).name, rule: "TwoForms", help: "save the adapter again")
            }
            return try module.matrix(name)
        }
        let (left, right) = (try module.matrix(name + "_a"), try module.matrix(name + "_b"))
        guard left.columns == right.rows else {
            throw module.misfit(try module.tensor(name + "_a"), "the rank \(right.rows) of \(name)_b")
        }
        return left × right
    }

    private func secondFactor(of module: MethodModule) throws -> MatrixExpression {
        guard module.has("lokr_t2") else { return try factor("lokr_w2", of: module) }
        let (left, right) = (try module.matrix("lokr_w2_a"), try module.matrix("lokr_w2_b"))
        return try TuckerCore("lokr_t2", of: module, ranks: (left.rows, right.rows)).expanded(left: left, right: right)
    }
}

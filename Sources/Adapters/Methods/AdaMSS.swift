import ByteAccess
import Tensors

/// AdaMSS, adaptive multi-subspaces: the rows of an update are put together in clusters, each with small factors of its own.
///
///     W'[rows of cluster i, :] = W[rows of cluster i, :] + (B_i × A_i) × N[:, :in]
///     b'[rows of cluster i]    = b[rows of cluster i] + (B_i × A_i) × N[:, in]         where the layer has a bias
///
/// | keys | shape |
/// |---|---|
/// | `adamss_newB` | N: (r, in), or (r, in + 1) where the layer has a bias |
/// | `adamss_A.N` | (k, r), N from 0 on |
/// | `adamss_B.N` | (rows of the cluster, k) |
///
/// Which rows a cluster has is in no file. PEFT takes them, whenever it loads the adapter, from a seeded decomposition and
/// clustering of the base, which ``SubspaceClusters`` repeats. It refuses where its decomposition is not the stored one, and where
/// rows lie so near the border of two clusters that several ways to divide them end with as many rows as the factors have. What
/// holds then is assumed in a warning, which the receipt keeps.
///
/// The larger a matrix and the coarser its type, the more often that is so. Of adapters that PEFT 0.21.2 made on random matrices with a
/// decaying spectrum, none was divided wrongly; at 64 to 96 rows and r = 8 all 42 modules are beyond doubt in float32 and float16 and 35
/// in bfloat16, at 256 to 640 rows and r = 16 all 28 in float32, 13 in float16 and 1 in bfloat16, at 768 to 2048 rows and r = 100 none.
///
/// Config: `r`, `num_subspaces`, `random_seed`, `subspace_rank`, `use_dynamic_rank`. Order: B_i × A_i, then the product with N,
/// both in order of the inner index.
/// Source: `AdamssLayer.update_layer`, `Linear.get_delta_weight`, `get_delta_bias` in peft/tuners/adamss/layer.py.
struct AdaMSS: ModuleMethod {
    let name = "AdaMSS"
    let peftTypes = ["ADAMSS"]
    let defaultTargets = DefaultTargets.adamss
    let components: Set<String> = ["adamss_A", "adamss_B", "adamss_newB"]
    let configKeys: Set<String> = [
        "r", "num_subspaces", "random_seed", "subspace_rank", "use_dynamic_rank", "svd_threshold", "init_weights",
        // The schedule of training.
        "use_asa", "asa_importance_beta", "asa_uncertainty_beta", "asa_schedule_exponent", "asa_target_subspaces",
        "init_warmup", "final_warmup", "mask_interval",
    ]
    let requiredKeys: Set<String> = ["r", "num_subspaces", "subspace_rank", "use_dynamic_rank", "random_seed"]
    let stillPoints: [[String: Double]] = [["adamss_B": 0], ["adamss_A": 0], ["adamss_newB": 0]]

    /// Every cluster has both factors; how many there are the rows of the base tell too (`AdamssLayer.update_layer`).
    func inventory(of module: MethodModule) throws -> ModuleInventory {
        let clusters = Set(module.names.filter { !$0.hasPrefix("adamss_newB") }.compactMap { $0.split(separator: ".").last }).sorted()
        return ModuleInventory(own: ["adamss_newB"] + clusters.flatMap { ["adamss_A.\($0)", "adamss_B.\($0)"] })
    }

    func extent(of module: MethodModule) throws -> UpdateExtent { UpdateExtent(rows: try sizes(of: module).reduce(0, +)) }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side("adamss_newB", 0), nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        let sizes = try sizes(of: module)
        return [
            .init("num_subspaces", sizes.count), .init("rows", sizes.map { "\($0)" }.joined(separator: " + ")),
            .init("random_seed", try seed(module)),
        ]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        guard !weight.isConvolution, let values = weight.values else {
            throw module.refusal(
                "is no whole Linear layer, and the clusters are those of a whole one", rule: "ModuleKind")
        }
        let sizes = try sizes(of: module)
        let rank = try module.side("adamss_newB", 0)
        let width = weight.columns + (weight.hasBias ? 1 : 0)
        let projection = try module.matrix("adamss_newB", [rank, width])
        // PEFT's defaults where the config has no such keys: 100, 5 and 1.
        let configured = try module.count("r") ?? 100
        try module.require(
            "r \(configured)", min(configured, weight.rows, width) == rank, "r is \(rank)", of: "adamss_newB")
        let clusters = try module.count("num_subspaces") ?? 5
        guard min(clusters, weight.rows) == sizes.count else {
            throw module.refusal(
                "has \(sizes.count) clusters, and the config says num_subspaces \(clusters)", rule: "ClusterMismatch",
                help: "correct num_subspaces in adapter_config.json")
        }
        try requireRanks(of: module, sizes)
        let decomposition = SubspaceClusters(
            weight: try values(), rows: weight.rows, columns: width, rank: rank, count: sizes.count, seed: UInt64(try seed(module)),
            stored: try module.numbers("adamss_newB"), sizes: sizes)
        let members: [[Int]]
        do {
            members = try decomposition.members()
        } catch let error as SubspaceClusters.Undecided {
            throw module.refusal(
                error.reason, rule: "ClustersUndecided", help: "merge it with PEFT's merge_and_unload on the machine that trained it")
        }
        guard members.map(\.count) == sizes else {
            throw module.refusal(
                "has factors for \(sizes) rows, and the base's rows fall into clusters of \(members.map(\.count))",
                rule: "ClusterMismatch", help: "merge onto the base that the adapter was trained on")
        }
        let parts = try sizes.indices.map { index in
            let own = try module.side("adamss_A.\(index)", 0)
            return try module.matrix("adamss_B.\(index)", [sizes[index], own]) × module.matrix("adamss_A.\(index)", [own, rank])
        }
        // Row j of the parts below each other is that of `order[j]`.
        let order = members.flatMap { $0 }
        var places = [Int](repeating: 0, count: weight.rows)
        for (position, row) in order.enumerated() { places[row] = position }
        let left = MatrixExpression.stacked(parts).rows(at: places)
        return ModuleChanges(
            weight: .add(left × projection.columns(0..<weight.columns)),
            bias: weight.hasBias ? .add((left × projection.columns(weight.columns..<width)).transpose) : nil,
            warnings: [
                "AdaMSS: the rows of a cluster are those of torch's CPU generator, torch.svd_lowrank and scikit-learn's KMeans; "
                    + "the stored directions agree with them"
            ])
    }

    /// Each cluster's own rank is `subspace_rank`, or as many rows as it has; with `use_dynamic_rank` at most that.
    private func requireRanks(of module: MethodModule, _ sizes: [Int]) throws {
        let configured = try module.count("subspace_rank") ?? 1
        let isDynamic = try module.config.flag("use_dynamic_rank")
        for (index, rows) in sizes.enumerated() {
            let own = try module.side("adamss_A.\(index)", 0)
            let expected = min(rows, configured)
            try module.require(
                "subspace_rank \(configured)", own == expected || isDynamic && own > 0 && own <= expected,
                "the rank of the cluster's \(rows) rows is \(own)", of: "adamss_A.\(index)")
        }
    }

    /// The rows of each cluster, by its B.
    private func sizes(of module: MethodModule) throws -> [Int] {
        let count = module.names.count { $0.hasPrefix("adamss_B.") }
        guard count > 0 else { _ = try module.tensor("adamss_B.0"); return [] }
        return try (0..<count).map { try module.side("adamss_B.\($0)", 0) }
    }

    private func seed(_ module: MethodModule) throws -> Int {
        guard let value = try module.number("random_seed") else { return 0 }
        guard let seed = Int(exactly: value), seed >= 0 else { throw module.config.wrong("random_seed", "a whole number from 0 on") }
        return seed
    }
}

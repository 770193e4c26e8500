import ByteAccess
import Tensors

/// OSF, orthogonal subspace fine-tuning (arXiv:2504.07097): the largest singular directions of the base stay, the others
/// are trained.
///
///     W' = U₁·S₁·V₁ + (U ⊙ s) × V
///
/// | keys | shape |
/// |---|---|
/// | `osf_svd_params.U_low` | (out, n − k) |
/// | `osf_svd_params.S_low` | (n − k) |
/// | `osf_svd_params.V_low` | (n − k, in) |
///
/// n = min(out, in). The k largest triplets U₁·S₁·V₁ are in no file: PEFT decomposes the base when it loads the adapter.
/// Their sum is W less the n − k smallest triplets, so that is what is computed: W' = W − U₀·S₀·V₀ + (U ⊙ s) × V. The sum over
/// triplets does not depend on their signs; where σ_k and σ_(k+1) nearly agree it depends on the library, and `verify`
/// allows for that. PEFT rounds U₁, S₁ and V₁ to the base's dtype, which for a 16-bit base costs about a unit in the last
/// place of W' and is not repeated here.
///
/// Config: `effective_rank`, `rank_pattern`: k, which the tensors tell; a fraction of n where it is written with a point and at
/// most 1, cut to a whole number. A pattern is searched for anywhere in the path.
/// Order: U ⊙ s, the product in order of the triplets.
/// Source: `decompose_weight_matrix`, `reconstruct_weight_matrix` in peft/tuners/osf/utils.py.
struct OSF: ModuleMethod {
    let name = "OSF"
    let peftTypes = ["OSF"]
    let defaultTargets = DefaultTargets.osf
    let components: Set<String> = ["osf_svd_params"]
    let configKeys: Set<String> = ["effective_rank", "rank_pattern", "target_svd_config", "init_weights"]
    let requiredKeys: Set<String> = ["effective_rank"]
    let nullableKeys: Set<String> = ["effective_rank"]

    /// `OSFModel._create_and_replace` passes over every layer that is no nn.Linear.
    let skipsKernels = true

    private let left = "osf_svd_params.U_low"
    private let values = "osf_svd_params.S_low"
    private let right = "osf_svd_params.V_low"

    /// The factors begin as the base's own smallest triplets; of a module that keeps all of the base's there are none.
    func firstValues(of adapter: Adapter) throws -> [FirstValues] {
        try modules(of: adapter, in: nil).filter { try $0.side(values, 0) > 0 }.map { module in
            .singularTriplets(left: try module.tensor(left).name, values: try module.tensor(values).name, right: try module.tensor(right).name)
        }
    }

    func extent(of module: MethodModule) throws -> UpdateExtent {
        UpdateExtent(rows: try module.side(left, 0), columns: try module.side(right, 1))
    }

    /// All of the base's triplets are kept where `effective_rank` is min(out, in) or more: U (out, 0), S (0), V (0, in). A
    /// placeholder of a shard has one side.
    func isEmptyByDesign(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        func shape(_ leaf: String) -> Shape? {
            adapter.keys.first { $0.module == key.module && $0.component == key.component && $0.leaf == leaf }
                .flatMap { adapter.tensor($0.stored)?.shape }
        }
        guard let u = shape("U_low"), let s = shape("S_low"), let v = shape("V_low") else { return false }
        return s == [0] && u.count == 2 && v.count == 2 && u[0] > 0 && u[1] == 0 && v[0] == 0 && v[1] > 0
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (try module.side(values, 0), nil, nil)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        let extent = try extent(of: module)
        let kept = min(extent.rows ?? 0, extent.columns ?? 0) - (try module.side(values, 0))
        return [.init("effective_rank", kept)]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        guard !weight.isConvolution else {
            throw module.refusal("is no Linear layer, and OSF is defined for no other", rule: "ModuleKind")
        }
        let trained = try module.side(values, 0)
        let smaller = min(weight.rows, weight.columns)
        guard trained < smaller else {
            throw module.misfit(try module.tensor(values), "fewer than min(out, in) = \(smaller) values")
        }
        if let configured = try effectiveRank(module, smaller: smaller), configured != smaller - trained {
            throw PeftfileError(
                .refused, "has \(trained) values, which leaves \(smaller - trained) of the base's, and the config says "
                    + "\(configured)", tensor: try module.tensor(values).name, rule: "RankMismatch",
                help: "correct effective_rank in adapter_config.json")
        }
        let scales = try module.row(values, count: trained)
        let u = try module.matrix(left, [weight.rows, trained])
        let v = try module.matrix(right, [trained, weight.columns])
        // All of the base's triplets are kept, and nothing was trained.
        guard trained > 0 else {
            return ModuleChanges(setAside: try [left, values, right].map { (try module.tensor($0).name, "is empty") })
        }
        return ModuleChanges(weight: .add((u * scales) × v), taken: .minorComponents(rank: trained))
    }

    /// k as the config says it for a matrix whose smaller side is n.
    ///
    /// Source: `_resolve_rank` in peft/tuners/osf/model.py.
    private func effectiveRank(_ module: MethodModule, smaller: Int) throws -> Int? {
        let key: ExactString
        let value: JSONValue?
        if let own = try module.config["rank_pattern"]?.objectValue?.members.first(where: {
            try RegularExpression(searching: $0.key.text).matchesWhole(module.path.text)
        }) {
            (key, value) = ("rank_pattern", own.value)
        } else {
            (key, value) = ("effective_rank", module.config["effective_rank"])
        }
        // PEFT's default is half of n.
        guard let value else { return module.config.json["effective_rank"] == nil ? nil : smaller / 2 }
        guard case .number(let number) = value else { throw module.config.wrong(key, "a whole number, or a fraction of at most 1") }
        let rank = number.double
        guard rank > 0, rank < 1e9 else { throw module.config.wrong(key, "a positive whole number, or a fraction of at most 1") }
        return min(smaller, Int(number.int == nil && rank <= 1 ? Double(smaller) * rank : rank))
    }
}

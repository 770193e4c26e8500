import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// The low-rank factors of an adapter, module by module, with at most one defect each: what is wrong first is reported
/// once, by the one rule that owns it, and what follows from it is not.
///
/// Factors are pairs by their names: `X_A` with `X_B`, `X_a` with `X_b`. Shapes and ranks are judged for LoRA's own pairs,
/// where A is (r, in…) and B (out, r…); other pairs only for being whole, numbers and not empty.
struct FactorTable {
    /// What can be wrong with a pair.
    enum Defect: Hashable {
        case empty(TensorInfo)
        case flat(TensorInfo)
        case integer(TensorInfo)
        /// The name of the factor that is not there, and the one that is.
        case alone(missing: ExactString, present: TensorInfo)
        case transposed([TensorInfo])
        /// A and B disagree; the one that is less likely right comes first.
        case rankOfPair(TensorInfo, TensorInfo)
        /// The pair agrees, and the config says otherwise.
        case rankOfConfig(TensorInfo, stored: Int, configured: Int)
    }

    struct Pair {
        var module: ExactString
        var depth: Int
        /// `lora`, `hada_w1`: the component without what tells A from B.
        var stem: String
        var a: TensorInfo?
        var b: TensorInfo?
        var defect: Defect?

        /// Whether the shapes are (r, in…) and (out, r…).
        var isLowRank: Bool { stem == "lora" || stem == "lora_embedding" }
        var isEmbedding: Bool { stem == "lora_embedding" }
        var factors: [TensorInfo] { [a, b].compactMap { $0 } }
        /// Whether its ranks do not agree, with each other or with the config.
        var disagrees: Bool {
            switch defect {
            case .rankOfPair, .rankOfConfig: true
            default: false
            }
        }
    }

    private(set) var pairs: [Pair] = []

    /// Names whose A and B are the two factors of one module. Other methods use the letters for vectors, or share one of
    /// the two between modules (`vera_lambda_b`, `lily_A`).
    private static let paired: Set<String> = [
        "lora", "lora_embedding", "hada_w1", "hada_w2", "lokr_w1", "lokr_w2", "hira", "hira_embedding", "delora", "gralora",
    ]
    /// MLX's `lora_a`, (in, r), and `lora_b`, (r, out).
    private static let lowerCase = "mlx_lora"

    init(_ subject: CheckSubject) {
        guard let checkpoint = subject.weights.checkpoint else { return }
        struct Slot: Hashable {
            let module: ExactString
            let depth: Int
            let stem: String
        }
        var positions: [Slot: Int] = [:]
        for key in subject.keys where key.leaf == "weight" || key.leaf.isEmpty {
            guard let component = key.component, let info = checkpoint[key.stored]?.info,
                let (stem, isFirst) = FactorTable.half(component)
            else { continue }
            let slot = Slot(module: key.module, depth: key.depth, stem: stem)
            let position = positions[slot] ?? pairs.count
            if position == pairs.count {
                positions[slot] = position
                pairs.append(Pair(module: key.module, depth: key.depth, stem: stem))
            }
            if isFirst { pairs[position].a = info } else { pairs[position].b = info }
        }
        let ranks = ConfiguredRanks(subject)
        let isStacked = (try? subject.adapter())?.stacksFactors ?? false
        for index in pairs.indices { pairs[index].defect = FactorTable.defect(of: pairs[index], ranks, isStacked: isStacked) }
        // Where the config names no rank, a trial tells a wrong one from a transposed factor.
        guard pairs.contains(where: \.disagrees), let turned = subject.transposition.map({ Set($0.tensors) }) else { return }
        for index in pairs.indices where pairs[index].disagrees {
            let own = pairs[index].factors.filter(turned.contains)
            if !own.isEmpty { pairs[index].defect = .transposed(own) }
        }
    }

    /// The stem of a factor's name and whether it is the first of its pair.
    static func half(_ component: String) -> (stem: String, isFirst: Bool)? {
        guard let last = component.last, component.dropLast().last == "_" else { return nil }
        var stem = String(component.dropLast(2))
        guard paired.contains(stem) else { return nil }
        if stem == "lora", last.isLowercase { stem = lowerCase }
        switch last {
        case "A", "a": return (stem, true)
        case "B", "b": return (stem, false)
        default: return nil
        }
    }

    /// The same name for the other factor: the letter behind the stem changes.
    private static func partner(of info: TensorInfo, stem: String) -> ExactString {
        var parts = info.name.text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let swap: [Character: Character] = ["A": "B", "B": "A", "a": "b", "b": "a"]
        if let index = parts.lastIndex(where: { half($0)?.stem == stem }), let last = parts[index].last {
            parts[index] = parts[index].dropLast() + String(swap[last] ?? last)
        }
        return ExactString(parts.joined(separator: "."))
    }

    private static func defect(of pair: Pair, _ ranks: ConfiguredRanks, isStacked: Bool) -> Defect? {
        for info in pair.factors where info.elementCount == 0 { return .empty(info) }
        for info in pair.factors where !info.dtype.isMergeable { return .integer(info) }
        guard let a = pair.a, let b = pair.b else {
            return pair.factors.first.map { .alone(missing: partner(of: $0, stem: pair.stem), present: $0) }
        }
        if pair.stem == lowerCase, let rank = ranks.ofMLX, !isStacked { return mlxDefect(a, b, rank: rank) }
        guard pair.isLowRank else { return nil }
        for info in [a, b] where info.shape.count < 2 { return .flat(info) }
        return isStacked ? nil : rankDefect(a, b, pair, ranks)
    }

    /// (in, r) and (r, out), or (E, r, in) and (E, out, r) of a stack of experts.
    private static func mlxDefect(_ a: TensorInfo, _ b: TensorInfo, rank: Int) -> Defect? {
        guard a.shape.count == b.shape.count, (2...3).contains(a.shape.count) else { return nil }
        let (first, second) = a.shape.count == 2 ? (a.shape[1], b.shape[0]) : (a.shape[1], b.shape[2])
        guard first == second, first != rank else { return nil }
        let isTurned = a.shape.count == 2 && a.shape[0] == rank && b.shape[1] == rank
        return isTurned ? .transposed([a, b]) : .rankOfConfig(a, stored: first, configured: rank)
    }

    /// Ranks, where the config does not give the factors other shapes (blocks, groups, experts).
    private static func rankDefect(_ a: TensorInfo, _ b: TensorInfo, _ pair: Pair, _ ranks: ConfiguredRanks) -> Defect? {
        guard !ranks.reshapesFactors else { return nil }
        let (first, second) = (a.shape[0], b.shape[1])
        let rank = ranks.rank(of: pair)
        let isMatrix = a.shape.count == 2 && b.shape.count == 2
        if isMatrix, let turned = transposed(a, b, rank: rank) { return .transposed(turned) }
        // A grouped convolution's B has a part of the rank.
        if !isMatrix, second > 0, first % second == 0 { return nil }
        guard first == second else {
            return rank == first ? .rankOfPair(b, a) : .rankOfPair(a, b)
        }
        guard let rank, rank > 0, first != rank else { return nil }
        // The experts of a wrapped parameter lie below each other; how many there are only the base tells.
        if ranks.isWrapped(pair), first % rank == 0 { return nil }
        return .rankOfConfig(a, stored: first, configured: rank)
    }

    /// The factors that are stored as their transposes, where the shapes decide that: (in, r) and (r, out) with r the
    /// smaller. Square ones cannot be told apart.
    private static func transposed(_ a: TensorInfo, _ b: TensorInfo, rank: Int?) -> [TensorInfo]? {
        let (a0, a1, b0, b1) = (a.shape[0], a.shape[1], b.shape[0], b.shape[1])
        guard let rank else {
            return a0 != b1 && a1 == b0 && a1 < a0 && b0 < b1 ? [a, b] : nil
        }
        let turned = [
            a0 != rank && a1 == rank && a1 < a0 ? a : nil, b1 != rank && b0 == rank && b0 < b1 ? b : nil,
        ].compactMap { $0 }
        // The other factor, if it is not turned, agrees with the config.
        let agrees = (turned.contains(a) || a0 == rank) && (turned.contains(b) || b1 == rank)
        return turned.isEmpty || !agrees ? nil : turned
    }
}

/// The ranks that the config gives, as the method reads it.
private struct ConfiguredRanks {
    private var ranks: [ExactString: Int] = [:]
    private var wrapped: Set<ExactString> = []
    /// Whether an option gives A or B another shape than (r, in) and (out, r).
    var reshapesFactors = false

    init(_ subject: CheckSubject) {
        guard let config = subject.config.config, let adapter = try? subject.adapter() else { return }
        ofMLX = config.peftType == nil ? config["lora_parameters"]?["rank"]?.intValue : nil
        reshapesFactors = config["use_bdlora"].map { $0.boolValue != false } ?? false
        // A method that is not known may have its rank under another key.
        guard let method = try? MethodRegistry.method(of: adapter) else { return }
        let targets = (try? method.targets(of: adapter)) ?? []
        for target in targets {
            if target.parameter != "weight" { wrapped.insert(target.module) }
            ranks[target.module] = target.rank ?? ranks[target.module]
        }
        if config["target_parameters"] != nil { wrapped.formUnion(ranks.keys) }
        // Where the config has lost its target_parameters, that is the finding, and the ranks of the experts follow from it.
        if let loaded = try? LoadedModules(of: adapter, modelType: subject.modelType) { wrapped.formUnion(loaded.dropped.map(\.module)) }
        // Where the method cannot list its modules because one of them is broken, the config's own r is left.
        if targets.isEmpty, config["rank_pattern"]?.objectValue?.members.isEmpty ?? true {
            fallback = (try? config.count("r")) ?? nil
            mayBeWrapped = config["target_parameters"] != nil
        }
    }

    private var fallback: Int?
    private var mayBeWrapped = false
    /// `lora_parameters.rank` of mlx-lm's config, which its loader takes for all modules.
    private(set) var ofMLX: Int?

    func rank(of pair: FactorTable.Pair) -> Int? { ranks[pair.module] ?? fallback }
    func isWrapped(_ pair: FactorTable.Pair) -> Bool {
        pair.depth > 0 || wrapped.contains(pair.module) || ranks[pair.module] == nil && mayBeWrapped
    }
}

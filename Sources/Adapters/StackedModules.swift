import ByteAccess
import Tensors

/// The matrices that a wrapper of `target_parameters` is in a base that holds them one by one: an expert's gate, up and down
/// projection, each with factors that are views of the stack's.
///
///     A (E·r, in):  expert e has rows e·r …       B (out, r·E):  expert e has columns k·E + e, or e·r + k of Unsloth's
///
/// Source: `ParamWrapper.get_delta_weight` in peft/tuners/lora/layer.py.
struct StackedModules {
    private(set) var modules: [PortableAdapter.Module] = []
    private(set) var views: [ExactString: TensorView] = [:]

    /// - Throws: `.refused` where the base holds the parameter otherwise.
    init(_ module: LoRAModule, at place: ParameterPlace, config: LoRAConfig, path: String) throws {
        let key = "\(module.path).\(place.parameter)"
        let (rank, scale) = (config.rank(for: key), config.scale(for: key))
        let experts = place.shape.count == 3 ? place.shape[0] : 1
        try module.checkRank(rank, experts: experts, hasConfiguredRank: config.hasConfiguredRank)
        func refusal(_ message: String) -> PeftfileError {
            PeftfileError(
                .refused, "module \"\(module.path)\" \(message)", file: path, tensor: module.a.name, rule: "NotConvertible",
                help: "merge it instead, or keep it in PEFT's dialect: --to peft")
        }
        guard !place.updateTransposed, module.magnitude == nil, module.bias == nil, module.a.shape.count == 2, module.b.shape.count == 2 else {
            throw refusal("is a parameter (in, out), or more than two factors, for which other dialects have no form")
        }
        let (rows, inputs) = (module.b.shape[0], module.a.shape[1])
        for piece in place.pieces {
            guard piece.storedExpert == nil, !piece.transposed, piece.storedOffset == 0, piece.tensor.text.hasSuffix(".weight") else {
                throw refusal("is a stack in the base as well, \"\(piece.tensor.text.printable)\", and other dialects have the matrices one by one")
            }
            let own = ExactString(String(piece.tensor.text.dropLast(".weight".count)))
            var (a, b) = (module.a, module.b)
            if experts > 1 || piece.rows != 0..<rows {
                let expert = piece.expert ?? 0
                let first = TensorView(
                    name: ExactString("\(a.name)[\(own)]"), shape: [rank, inputs],
                    parts: [.init(a, rows: (expert * rank)..<((expert + 1) * rank))])
                let isRankMajor = config.expertOrder != .expertMajor
                var split = b
                split.shape = isRankMajor ? [rows, rank, experts] : [rows, experts, rank]
                var part = TensorView.Part(
                    split, axes: isRankMajor ? [2, 0, 1] : [1, 0, 2],
                    rows: (expert * rows + piece.rows.lowerBound)..<(expert * rows + piece.rows.upperBound))
                part.height = experts * rows
                let second = TensorView(name: ExactString("\(b.name)[\(own)]"), shape: [piece.rows.count, rank], parts: [part])
                (views[first.info.name], views[second.info.name]) = (first, second)
                (a, b) = (first.info, second.info)
            }
            modules.append(
                PortableAdapter.Module(
                    path: own, own: own, isEmbedding: false, a: a, b: b, rank: rank, alpha: config.alpha(for: key), scale: scale))
        }
    }
}

extension PortableAdapter.Module {
    /// The modules with the depths of wrappers: PEFT wraps the parameters of a module in the order of registration, each around the one before.
    static func nested(_ modules: [PortableAdapter.Module]) -> [PortableAdapter.Module] {
        func owner(_ path: ExactString) -> [Substring] { Array(path.text.dottedComponents.dropLast()) }
        func order(_ path: ExactString) -> Int {
            path.text.dottedComponents.last.flatMap { last in ExpertLayouts.registrationOrder.firstIndex { $0 == last } } ?? 0
        }
        let wrapped = Dictionary(grouping: modules.filter(\.isParameter).map(\.path), by: owner)
        return modules.map { module in
            guard module.isParameter else { return module }
            var module = module
            module.depth = (wrapped[owner(module.path)] ?? []).count { order($0) > order(module.path) }
            return module
        }
    }
}

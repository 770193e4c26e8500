public import ByteAccess
import Checkpoints
public import Tensors

/// A LoHa or LoKr as PEFT and LyCORIS both hold it: the same factors under the same names, beside a scale. What differs is
/// where the scale stands, and which shapes PEFT makes from its config: it creates the factors before it loads them.
public struct PortableProducts: Sendable {
    /// One module: its factors and a scale.
    public struct Module: Sendable {
        /// The in-memory path, or where there is no base the name in the file.
        public var path: ExactString
        /// What the file calls the part of a pipeline that the module is of; nil where it names none.
        public var component: String?
        /// The path below the component, as far as it is known: without a base kohya's names keep their underscores.
        public var own: ExactString
        /// The factors by name, `hada_w1_a` or `lokr_w1`, sorted.
        public var factors: [(name: String, info: TensorInfo)]
        /// The rank of the factors; where LoKr's are whole, one with which PEFT leaves them whole.
        public var rank: Int
        /// What the product is multiplied by.
        public var scale: Double
        /// The dtype in which the file holds alpha, where that is a tensor.
        public var alphaDType: DType?
        /// How the file's own library multiplies the factors, each of which stands here under its name above. The same factors may
        /// have two products: those of a Conv1d's LoKr do.
        public var product: MatrixExpression
    }

    /// The adapter with its views; ``AdapterNumbers`` reads the factors from it.
    public let adapter: Adapter
    /// The modules, in file order.
    public let modules: [Module]
    /// PEFT's name of the method.
    public let peftType: String
    /// Keys of PEFT's config that decide the factors' shapes.
    public let settings: JSONObject
    /// What the reader should know before the result: what was left out.
    public let warnings: [String]
    /// The components that the file names.
    public let components: [String]
    /// Tensors of components that no base is.
    public let leftOut: [(tensor: ExactString, component: String)]
    /// Tensors without a part in the update, and why.
    public private(set) var setAside: [(tensor: ExactString, reason: String)] = []

    /// - Parameters:
    ///   - bases: the models whose names the modules get, and whose kernels tell convolutions.
    ///   - toPEFT: whether PEFT is to hold it, or LyCORIS.
    ///   - isProof: whether nothing is to be written: then no form is asked for, and ``settings`` are empty.
    /// - Returns: nil where the adapter is of another method.
    /// - Throws: `.refused` where the target cannot hold it.
    public init?(
        _ adapter: Adapter, bases: [PipelineBase], options: BindingOptions, toPEFT: Bool, isProof: Bool = false
    ) throws {
        let parts = try bases.map {
            ComponentPlacement.Part(base: try BaseView(base: $0.checkpoint, adapters: []).directory, component: $0.component)
        }
        let plain = try BoundAdapter(
            adapter, bases: parts, heads: bases.lazy.compactMap { GGUFFacts($0.checkpoint).heads }.first, options: options)
        guard plain.parts.count == 1, let first = plain.parts.first, try MethodRegistry.method(of: first) is any FactorProduct else { return nil }
        let repaired = try RepairedAdapter(adapter, bases: bases, options: options)
        let bound = adapter.dialect == nil ? try BoundAdapter(repaired.adapter, bases: [], options: options) : plain
        let baseNames = try BaseNames(repaired, bound, bases: bases, options: options)
        guard bound.parts.count == 1, let part = bound.parts.first, let config = part.config,
            let method = try MethodRegistry.method(of: part) as? any FactorProduct
        else { return nil }
        try bound.requireNames(toPEFT ? .inMemory : .underscored, hasBase: !bases.isEmpty, path: adapter.path)
        if part.dialect == nil {
            try config.requireKnownKeys(method.configKeys)
            try method.requireConfig(of: part)
        }
        let found = try MethodModule.collect(from: part, config: config, components: method.components)
        var known = Set(found.flatMap { $0.known.map(\.name) })
        for key in part.keys where try !known.contains(key.stored) && baseNames.isCopy(key, of: part) {
            setAside.append((key.stored, "it is the base's own"))
            known.insert(key.stored)
        }
        if let left = part.keys.first(where: { !known.contains($0.stored) }) {
            throw PortableProducts.refusal(part, left.stored, "is no factor of a \(method.name), and no other dialect has a place for it")
        }
        var modules: [Module] = []
        for module in found {
            let scale = try LycorisScale(module)
            if let key = ["hada_w1_b", "lokr_w1_b", "lokr_w2_b"].first(where: module.has) {
                try module.requireRank(module.side(key, 0), of: key)
            }
            let name = bound.names[module.path].flatMap { $0.component == nil ? nil : $0 }
            let own = try name?.module
                ?? baseNames.own(module.path, toPEFT ? .inMemory : .underscored, part.path, tensor: part.keys.first?.stored)
                ?? bound.names[module.path]?.module ?? module.path
            let factors = try module.names.map { (name: $0, info: try module.tensor($0)) }
            modules.append(
                Module(
                    path: module.path, component: name?.component ?? (toPEFT ? nil : baseNames.component), own: own,
                    factors: factors, rank: scale.rank, scale: scale.value, alphaDType: config.moduleScales[module.path]?.alphaDType,
                    product: try method.product(of: module).naming(factors)))
        }
        let form = PEFTFactorForm(base: bases.count == 1 ? bases[0].checkpoint : nil)
        var settings = JSONObject()
        if !isProof {
            do {
                settings = toPEFT ? try form.settings(&modules, isKronecker: method is LoKr) : try form.lycoris(&modules)
            } catch let error as PeftfileError {
                throw error.inFile(part.path)
            }
        }
        if toPEFT, adapter.dialect != nil {
            for index in modules.indices {
                let place = parts.lazy.compactMap { [path = modules[index].path] in $0.base.pathInGenerator(of: path.text) }.first
                if let place { modules[index].path = ExactString(place) }
            }
        }
        self.settings = settings
        self.adapter = bound.whole
        self.modules = modules
        peftType = method.peftTypes.first ?? ""
        warnings = try bound.warnings + LoadedModules.require(repaired.adapter, modelType: bases.modelType)
        components = bound.components
        leftOut = bound.leftOut
    }

    private static func refusal(_ part: Adapter, _ tensor: ExactString, _ message: String) -> PeftfileError {
        PeftfileError(
            .refused, message, file: part.path, tensor: tensor, rule: "NotConvertible",
            help: "merge it instead, or keep the dialect that it is in")
    }
}

/// The shapes of factors that PEFT and LyCORIS make.
///
/// For LoKr both split each side of the weight in two, `factorization(side, decompose_factor)`, and keep a factor whole where
/// the rank is no less than half its larger side; w1 is only taken apart with `decompose_both`. LyCORIS tells the form from the
/// tensors, PEFT from its config. Source: `LoKrLayer.update_layer` and `factorization` in peft/tuners/lokr/layer.py,
/// `LokrModule.__init__` and `make_module_from_state_dict` in lycoris/modules/lokr.py.
public struct PEFTFactorForm {
    let base: Checkpoint?

    /// One LoKr in numbers: out = p·q, in = m·n.
    private struct Kronecker {
        var (p, q, m, n) = (0, 0, 0, 0)
        var isFirstWhole = false
        var isSecondWhole = false
        var rank = 0
    }

    /// LyCORIS sets the scale of two whole factors to 1, and its cores of Conv1d have no fourth dimension.
    func lycoris(_ modules: inout [PortableProducts.Module]) throws -> JSONObject {
        for module in modules { try requireOneProduct(module) }
        for index in modules.indices {
            let module = modules[index]
            if let core = core(of: module), core.info.shape.count == 4, core.info.shape[3] == 1 {
                throw unable(module, core.info, "may be a Conv1d's core, which LyCORIS holds with three dimensions")
            }
            guard let whole = module.factors.first(where: { $0.name == "lokr_w1" }), factor("lokr_w2", of: module) != nil else { continue }
            guard module.scale == 1 else {
                throw unable(
                    module, whole.info, "is whole, as the other factor, with scale \(module.scale); LyCORIS takes 1 there, whatever alpha says")
            }
            modules[index].rank = 1
        }
        return [:]
    }

    /// The config with which PEFT makes just these factors.
    func settings(_ modules: inout [PortableProducts.Module], isKronecker: Bool) throws -> JSONObject {
        let cores = modules.compactMap { module in core(of: module).map { (module, $0.info) } }
        if let (module, info) = cores.first(where: { $0.1.shape.count != 4 }) {
            throw unable(module, info, "is a core of \(info.shape.count) dimensions, and PEFT's have four")
        }
        if !cores.isEmpty, let module = modules.first(where: { hasKernel($0) && core(of: $0) == nil && factor("lokr_w2", of: $0) == nil }) {
            throw unable(
                module, module.factors[0].info, "is of a convolution without a core, and other modules have one; PEFT's use_effective_conv2d holds for all")
        }
        var result: JSONObject = ["use_effective_conv2d": .bool(!cores.isEmpty)]
        guard isKronecker else { return result }
        for module in modules { try requireOneProduct(module) }
        let shapes = try modules.map(kronecker)
        let decomposesBoth = shapes.contains { !$0.isFirstWhole }
        for index in modules.indices where shapes[index].isFirstWhole && shapes[index].isSecondWhole {
            // No rank is left in whole factors: one with which they stay whole.
            let shape = shapes[index]
            let side = max(shape.q, shape.n, decomposesBoth ? max(shape.p, shape.m) : 0)
            modules[index].rank = max(1, (side + 1) / 2)
        }
        for (module, shape) in zip(modules, shapes) {
            let isFirstWhole = !(decomposesBoth && 2 * module.rank < max(shape.p, shape.m))
            let isSecondWhole = 2 * module.rank >= max(shape.q, shape.n)
            guard isFirstWhole == shape.isFirstWhole, isSecondWhole == shape.isSecondWhole else {
                throw unable(
                    module, module.factors[0].info, "has a factor whole, or taken apart, where PEFT with rank \(module.rank) and "
                        + "decompose_both \(decomposesBoth) makes it otherwise")
            }
        }
        let candidates = [-1] + Set(shapes.flatMap { [$0.p, $0.m] }).sorted()
        let split = candidates.first { candidate in
            shapes.allSatisfy { shape in
                PEFTFactorForm.factorization(shape.p * shape.q, candidate) == (shape.p, shape.q)
                    && PEFTFactorForm.factorization(shape.m * shape.n, candidate) == (shape.m, shape.n)
            }
        }
        guard let split else {
            throw PeftfileError(
                .refused, "no decompose_factor makes PEFT split all modules as they are split here",
                tensor: modules.first?.factors.first?.info.name, rule: "NotConvertible", help: "merge it instead")
        }
        result["decompose_both"] = .bool(decomposesBoth)
        result["decompose_factor"] = .number(JSONNumber(split))
        result["rank_dropout_scale"] = false
        return result
    }

    /// A whole w2 of three dimensions, a Conv1d's, is multiplied in two ways: PEFT's `make_kron` gives w1 the kernel's dimension only
    /// beside a w2 of four, LyCORIS' always.
    private func requireOneProduct(_ module: PortableProducts.Module) throws {
        guard let whole = factor("lokr_w2", of: module), whole.shape.count == 3 else { return }
        throw unable(
            module, whole, "is whole with shape \(whole.shape), a Conv1d's, whose product with w1 is another one in PEFT than in LyCORIS")
    }

    private func kronecker(_ module: PortableProducts.Module) throws -> Kronecker {
        var result = Kronecker()
        func sides(_ name: String) throws -> (rows: Int, columns: Int, isWhole: Bool) {
            if let whole = factor(name, of: module) {
                guard whole.shape.count >= 2 else { throw unable(module, whole, "has shape \(whole.shape)") }
                return (whole.shape[0], whole.shape[1], true)
            }
            guard let a = factor(name + "_a", of: module), let b = factor(name + "_b", of: module), a.shape.count == 2, b.shape.count == 2
            else { throw unable(module, module.factors[0].info, "belongs to a LoKr without a whole \(name)") }
            // Beside a core both have the rank first.
            return core(of: module) != nil && name == "lokr_w2" ? (a.shape[1], b.shape[1], false) : (a.shape[0], b.shape[1], false)
        }
        let (first, second) = (try sides("lokr_w1"), try sides("lokr_w2"))
        (result.p, result.m, result.isFirstWhole) = first
        (result.q, result.n, result.isSecondWhole) = second
        // Without a core, the columns of a taken-apart w2 are those of the kernel too.
        if !second.isWhole, core(of: module) == nil, let shape = baseShape(of: module), shape.count > 2, result.m > 0, shape[1] % result.m == 0 {
            result.n = shape[1] / result.m
        }
        return result
    }

    /// PEFT's split of a side: by the factor where it divides, else by the divisors next to the square root, none above the factor.
    public static func factorization(_ side: Int, _ factor: Int) -> (Int, Int) {
        guard side > 0 else { return (0, 0) }
        if factor > 0, side % factor == 0 { return (factor, side / factor) }
        let limit = factor == -1 ? side : factor
        var (m, n) = (1, side)
        let length = m + n
        while m < n {
            guard let next = (m + 1...side).first(where: { side % $0 == 0 }), next + side / next <= length, next <= limit else { break }
            (m, n) = (next, side / next)
        }
        return m > n ? (n, m) : (m, n)
    }

    private func factor(_ name: String, of module: PortableProducts.Module) -> TensorInfo? {
        module.factors.first { $0.name == name }?.info
    }

    private func core(of module: PortableProducts.Module) -> (name: String, info: TensorInfo)? {
        module.factors.first { ["hada_t1", "hada_t2", "lokr_t2"].contains($0.name) }
    }

    private func baseShape(of module: PortableProducts.Module) -> Shape? { base?[ExactString(module.path.text + ".weight")]?.shape }

    private func hasKernel(_ module: PortableProducts.Module) -> Bool {
        (baseShape(of: module) ?? []).dropFirst(2).contains { $0 > 1 }
    }

    private func unable(_ module: PortableProducts.Module, _ info: TensorInfo, _ message: String) -> PeftfileError {
        PeftfileError(
            .refused, "of module \"\(module.path)\" \(message)", tensor: info.name, rule: "NotConvertible",
            help: "merge it instead, or keep the dialect that it is in")
    }
}

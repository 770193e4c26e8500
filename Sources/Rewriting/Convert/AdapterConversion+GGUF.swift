import Adapters
import ByteAccess
public import Checkpoints
import Containers
import Tensors

/// llama.cpp's adapters: `Formats/gguf-adapter.md`.
///
/// llama.cpp multiplies each product by α / r with one α, a float32, for all modules. So one α is chosen, that of most
/// modules for which the rest is exact, and where a module's own α is another, the quotient of the two goes into its
/// `lora_b`: each element times the quotient, in the tensor's own dtype where that holds all products exactly, in F32 where
/// that does. Nothing else is written, unless `roundsScale` allows the nearest F32.
extension AdapterConversion {
    /// What a caller may settle for llama.cpp.
    public struct GGUFOptions: Sendable {
        /// The base's architecture and heads.
        public var facts: GGUFFacts
        /// Whether scales and products that F32 does not hold exactly are rounded to it.
        public var roundsScale: Bool

        /// Facts of the base, and what to do where F32 does not hold a scale.
        public init(facts: GGUFFacts = GGUFFacts(), roundsScale: Bool = false) {
            self.facts = facts
            self.roundsScale = roundsScale
        }
    }

    /// Language models of transformers for which conversion/ of llama.cpp has no class.
    private static let unservedKinds: Set<String> = ["codegen", "gpt_neo", "gptj", "opt", "persimmon", "xglm"]

    mutating func writeGGUF(_ modules: [Module], options: GGUFOptions) throws {
        guard let architecture = options.facts.architecture else {
            if let kind = options.facts.kind, AdapterConversion.unservedKinds.contains(kind) {
                throw PeftfileError(
                    .refused, "the base is of the kind \"\(kind)\", which llama.cpp does not run", file: adapter.path,
                    rule: "ArchitectureUnknown", help: "convert it for another loader: --to peft")
            }
            if let kind = options.facts.kind {
                throw PeftfileError(
                    .refused, "the base is of the kind \"\(kind.printable)\", whose names in llama.cpp's files are not known here", file: adapter.path,
                    rule: "ArchitectureUnknown",
                    help: "llama.cpp's own converter may know them: python convert_lora_to_gguf.py \(adapter.path.shellQuoted)")
            }
            if !self.options.bases.isEmpty {
                throw PeftfileError(
                    .refused, "the base has no config.json that says its model_type, and llama.cpp's names depend on it", file: adapter.path,
                    rule: "ArchitectureUnknown",
                    help: "put it beside the weights; or --architecture NAME, one of \(GGUFArchitecture.names.joined(separator: ", "))")
            }
            throw PeftfileError(
                .refused, "the architecture of the base is not known, and llama.cpp's names depend on it", file: adapter.path,
                rule: "ArchitectureUnknown",
                help: "name the base: --base BASE; or --architecture NAME, one of \(GGUFArchitecture.names.joined(separator: ", "))")
        }
        var placed: [(module: Module, place: GGUFPlace)] = []
        for module in modules {
            try refuseForGGUF(module)
            // In memory or as the base has it: either may be the Hub's name.
            guard let place = [module.path, module.own].lazy.compactMap({ architecture.place(ofHub: $0.text + ".weight") }).first else {
                throw unable(module, "has no tensor of its own in llama.cpp's \(architecture.name)")
            }
            // llama.cpp multiplies with each stored tensor; a product of a part's own is another adapter.
            if let form = place.form, form != .turned || place.gguf.contains("_exps") {
                throw unable(module, "is a tensor that llama.cpp's \(architecture.name) has cut or turned (\(place.gguf))")
            }
            for name in [module.path, module.own] {
                guard let stored = self.options.bases.lazy.compactMap({ $0.checkpoint.gguf?.joined(ExactString(name.text + ".weight")) }).first else { continue }
                throw unable(module, "is a part of \(stored) in that base, which llama.cpp multiplies with as a whole")
            }
            if let width = options.facts.width { try requireWidth(width, of: module, place) }
            placed.append((module, place))
        }
        let scaling = try GGUFScaling(modules, adapter, roundsScale: options.roundsScale)
        let numbers = AdapterNumbers(adapters: [adapter])
        // Stacks are written where their first expert stands.
        var written: Set<String> = []
        for (module, place) in placed where written.insert(place.gguf).inserted {
            let members = placed.filter { $0.place.gguf == place.gguf }
            guard place.isStack else {
                guard members.count == 1 else { throw unable(members[1].module, "is \(place.gguf) like another module") }
                try addGGUF(module, place, scaling, numbers, options)
                continue
            }
            try addStack(members.map { ($0.module, $0.place.expert ?? 0) }, place, scaling, numbers, options)
        }
        ggufMetadata = [
            ("general.architecture", .string(architecture.name)), ("general.type", .string("adapter")),
            ("adapter.type", .string("lora")), ("adapter.lora.alpha", .float32(scaling.alpha)),
        ]
        notes += scaling.notes
        let folded = modules.filter { scaling.quotient(for: $0) != 1 }
        if !folded.isEmpty {
            notes.append(
                "alpha is \(scaling.alpha) for all modules; the rest of the scale is in lora_b of "
                    + folded.map(\.path.text).joined(separator: ", "))
        }
    }

    /// Whether F32 does not hold a scale of the adapter, or a product that it leaves to a factor.
    ///
    /// - Throws: `.refused` where llama.cpp has no form for it at all.
    func ggufNeedsRounding() throws -> Bool {
        let portable = try PortableAdapter(adapter, bases: options.bases, options: options.binding)
        for module in portable.modules { try refuseForGGUF(module) }
        do {
            let scaling = try GGUFScaling(portable.modules, portable.adapter, roundsScale: false)
            let numbers = AdapterNumbers(adapters: [portable.adapter])
            var copy = self
            for module in portable.modules {
                _ = try copy.dtype(for: [module.b], factors: [scaling.quotient(for: module)], numbers, GGUFOptions(), module)
            }
            return false
        } catch let error as PeftfileError where error.rule == "ScaleNotExact" {
            return true
        }
    }

    /// What reads the model's hidden states, and what writes them, by the last component of GGUF's name.
    private static let readers: Set<String> = ["attn_q", "attn_k", "attn_v", "attn_qkv", "ffn_up", "ffn_gate", "ffn_up_exps", "ffn_gate_exps"]
    private static let writers: Set<String> = ["attn_output", "ffn_down", "ffn_down_exps", "token_embd"]

    /// A base of which the config alone is known says one size, the model's own width.
    private func requireWidth(_ width: Int, of module: Module, _ place: GGUFPlace) throws {
        let leaf = place.gguf.split(separator: ".").dropLast().last.map(String.init) ?? ""
        let side = AdapterConversion.readers.contains(leaf) ? module.a.shape.last : AdapterConversion.writers.contains(leaf) ? module.b.shape.first : width
        guard let side, side != width else { return }
        let isReader = AdapterConversion.readers.contains(leaf)
        let info = isReader ? module.a : module.b
        throw PeftfileError(
            .refused, "has shape \(info.shape), and the base's hidden states are \(width) wide", file: adapter.path, tensor: info.name,
            rule: "ShapeMismatch", help: "give the base model that the adapter was trained on")
    }

    private func refuseForGGUF(_ module: Module) throws {
        if module.magnitude != nil { throw unable(module, "is DoRA, which llama.cpp does not have") }
        if module.bias != nil { throw unable(module, "has a trained lora_B.bias, which llama.cpp does not have") }
        if module.isConvolution { throw unable(module, "is a convolution, for which llama.cpp has no LoRA") }
    }

    // MARK: Tensors

    private mutating func addGGUF(
        _ module: Module, _ place: GGUFPlace, _ scaling: GGUFScaling, _ numbers: AdapterNumbers, _ options: GGUFOptions
    ) throws {
        let (rows, rank) = (module.b.shape[0], module.rank)
        var shape = module.b.shape
        var axes = Array(shape.indices)
        var runs: [Range<Int>]?
        if let order = place.rowOrder {
            guard let heads = options.facts.heads else {
                throw PeftfileError(
                    .refused, "module \"\(module.path)\": llama.cpp orders its rows by heads, and no config counts them",
                    file: adapter.path, tensor: module.b.name, rule: "HeadsUnknown",
                    help: "name the base: --base BASE; or --heads QUERIES,KEYS")
            }
            if let (split, turn) = order.arrangement(of: rows, heads: heads) {
                shape = turn.map { split[$0] } + [rank]
                axes = turn + [3]
            } else {
                runs = order.runs(of: rows, heads: heads)
                if runs == nil { throw unable(module, "has \(rows) rows, which \(heads.query) and \(heads.key) heads do not divide") }
            }
        }
        let isEmbedding = place.gguf == "token_embd.weight"
        let a = try dtype(for: [module.a], factors: [1], numbers, options, module)
        // An embedding's A is (r, vocab) in PEFT and (vocab, r) in llama.cpp.
        addGGUF(
            "\(place.gguf).lora_a", a, isEmbedding ? module.a.shape.reversed() : module.a.shape,
            .arranged([(module.a.name, 1)], shape: module.a.shape, axes: isEmbedding ? [1, 0] : [0, 1]))
        let factor = scaling.quotient(for: module)
        let b = try dtype(for: [module.b], factors: [factor], numbers, options, module)
        addGGUF(
            "\(place.gguf).lora_b", b, module.b.shape,
            runs.map { .gathered(module.b.name, factor, rows: $0) } ?? .arranged([(module.b.name, factor)], shape: shape, axes: axes))
    }

    /// The experts of one matrix, (E, r, in) and (E, out, r).
    private mutating func addStack(
        _ members: [(module: Module, expert: Int)], _ place: GGUFPlace, _ scaling: GGUFScaling, _ numbers: AdapterNumbers,
        _ options: GGUFOptions
    ) throws {
        let experts = members.sorted { $0.expert < $1.expert }
        let modules = experts.map(\.module)
        let first = modules[0]
        let count = options.facts.experts ?? experts.count
        guard experts.map(\.expert) == Array(0..<count) else {
            throw unable(
                first, "is one of \(experts.count) experts with an update; \(place.gguf) is one tensor for all"
                    + (options.facts.experts.map { " \($0)" } ?? ""))
        }
        if let other = modules.first(where: { $0.a.shape != first.a.shape || $0.b.shape != first.b.shape }) {
            throw unable(other, "has another rank or shape than the expert \"\(first.path)\", and they are one tensor")
        }
        let factors = modules.map { scaling.quotient(for: $0) }
        let a = try dtype(for: modules.map(\.a), factors: factors.map { _ in 1 }, numbers, options, first)
        let b = try dtype(for: modules.map(\.b), factors: factors, numbers, options, first)
        func stack(_ leaf: String, _ dtype: DType, _ tensors: [TensorInfo], _ factors: [Double]) {
            let shape = [tensors.count] + tensors[0].shape
            addGGUF(
                "\(place.gguf).\(leaf)", dtype, shape,
                .arranged(zip(tensors, factors).map { ($0.name, $1) }, shape: shape, axes: [0, 1, 2]))
        }
        stack("lora_a", a, modules.map(\.a), factors.map { _ in 1 })
        stack("lora_b", b, modules.map(\.b), factors)
    }

    private mutating func addGGUF(_ name: String, _ dtype: DType, _ shape: Shape, _ source: Output.Source) {
        outputs.append(Output(name: ExactString(name), dtype: dtype, shape: shape, source: source))
    }

    /// Whether a dtype holds each element of a tensor times a factor without an error.
    fileprivate static func holds(_ dtype: DType, _ tensor: TensorInfo, times factor: Double, _ numbers: AdapterNumbers) throws -> Bool {
        let values = try numbers.elements(of: tensor.name, adapter: 0)
        let stored = try Conversion.widened(Conversion.narrowed(values.map { $0 * factor }, to: dtype), as: dtype, count: values.count)
        // The product has no error where multiplying leaves no remainder.
        return zip(values, stored).allSatisfy { value, product in
            (-product).addingProduct(value, factor) == 0 || value.isNaN || (value.isInfinite && product == value * factor)
        }
    }

    /// The tensor's own dtype, or F32, where it holds each element times a factor; nil where neither does.
    static func exactDType(of tensor: TensorInfo, times factor: Double, _ numbers: AdapterNumbers) throws -> DType? {
        try [tensor.dtype, .f32].first { try holds($0, tensor, times: factor, numbers) }
    }

    /// The first dtype that holds all products: the tensors' own where they share one that llama.cpp computes with, else F32.
    private mutating func dtype(
        for tensors: [TensorInfo], factors: [Double], _ numbers: AdapterNumbers, _ options: GGUFOptions, _ module: Module
    ) throws -> DType {
        let own = Set(tensors.map(\.dtype))
        let isPlain = own.count == 1 && [.f32, .f16, .bf16].contains(own.first ?? .u8)
        if isPlain, let dtype = own.first, factors.allSatisfy({ $0 == 1 }) { return dtype }
        for dtype in isPlain ? [own.first ?? .f32, .f32] : [.f32] {
            let holds = try zip(tensors, factors).allSatisfy { tensor, factor in
                try AdapterConversion.holds(dtype, tensor, times: factor, numbers)
            }
            if holds { return dtype }
        }
        guard options.roundsScale else {
            throw PeftfileError(
                .refused,
                "module \"\(module.path)\": F32 does not hold its lora_B times \(factors.first { $0 != 1 } ?? 1), the part of its "
                    + "scale that llama.cpp's one alpha leaves over",
                file: adapter.path, tensor: tensors[0].name, rule: "ScaleNotExact",
                help: "round it to F32 with --round-scale, or merge it instead")
        }
        notes.append("rounded to F32: \(tensors[0].name.text.printable)")
        return .f32
    }
}

/// The one α of a file, and what it leaves over for each module.
struct GGUFScaling {
    private(set) var alpha: Float
    private(set) var notes: [String] = []
    private var quotients: [ExactString: Double] = [:]

    /// The α of most modules with which F32 holds all products of the rest; with `roundsScale` that of most where there is none.
    ///
    /// - Throws: `.refused` with rule `ScaleNotExact` for a module that does not fit.
    init(_ modules: [AdapterConversion.Module], _ adapter: Adapter, roundsScale: Bool) throws {
        var alphas = try modules.map { try AdapterConversion.alpha(for: $0) }
        if let (module, alpha) = zip(modules, alphas).first(where: { Double(Float($1)) != $1 }) {
            guard roundsScale else {
                throw GGUFScaling.refusal(
                    module, "has the scale \(module.scale), and llama.cpp's alpha / rank is "
                        + "\(Double(Float(alpha)) / Double(module.rank)) at the nearest", adapter)
            }
            notes.append("scales are rounded to F32, in which llama.cpp computes: alpha \(alpha) is \(Float(alpha))")
            alphas = alphas.map { Double(Float($0)) }
        }
        // llama.cpp takes 0 for "no alpha": a scale of 1. A quotient by 1 is exact.
        let counts = Dictionary(alphas.filter { $0 != 0 }.map { ($0, 1) }, uniquingKeysWith: +)
        let candidates = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key) + (counts[1] == nil ? [1] : [])
        let numbers = AdapterNumbers(adapters: [adapter])
        func misfit(_ candidate: Double) throws -> (module: AdapterConversion.Module, alpha: Double)? {
            // Numbers alone tell of most that they do not fit; elements are read after them.
            let others = zip(modules, alphas).filter { $1 != candidate }
            if let other = others.first(where: { (-$1).addingProduct($1 / candidate, candidate) != 0 }) { return (other.0, other.1) }
            return try others.first { try !AdapterConversion.holds(.f32, $0.b, times: $1 / candidate, numbers) }.map { ($0.0, $0.1) }
        }
        var blamed: (module: AdapterConversion.Module, alpha: Double)?
        var chosen: Double?
        for candidate in candidates where chosen == nil {
            let found = try misfit(candidate)
            blamed = blamed ?? found
            if found == nil { chosen = candidate }
        }
        if chosen == nil, !roundsScale, let (module, own) = blamed {
            throw GGUFScaling.refusal(
                module, "has the alpha \(own), and llama.cpp one for all modules, \(candidates[0]) for \(counts[candidates[0]] ?? 0) of "
                    + "\(modules.count); F32 does not hold its lora_B times \(own) / \(candidates[0])", adapter)
        }
        let settled = chosen ?? candidates[0]
        alpha = Float(settled)
        for (module, own) in zip(modules, alphas) { quotients[module.path] = own / settled }
    }

    private static func refusal(_ module: AdapterConversion.Module, _ reason: String, _ adapter: Adapter) -> PeftfileError {
        PeftfileError(
            .refused, "module \"\(module.path)\" \(reason)", file: adapter.path, tensor: module.b.name, rule: "ScaleNotExact",
            help: "round it to F32 with --round-scale, or merge it instead")
    }

    /// What `lora_b` is multiplied by.
    func quotient(for module: AdapterConversion.Module) -> Double { quotients[module.path] ?? 1 }
}

import Adapters
import ByteAccess
import Tensors

/// mlx-lm's adapters: `Formats/mlx.md`.
///
/// The config has one rank and one scale for all modules. So one scale is chosen, that of most modules for which the rest is
/// exact: where a module's own is another, `lora_b` is multiplied by the quotient of the two, each product in the tensor's
/// dtype or in F32 without a rounding. The rank is the largest of all: behind smaller factors stand rows of zeros in A and
/// columns of zeros in B, whose products are zero.
///
/// The matrices of experts, which transformers holds one by one, are one SwitchLinear there: `lora_a` (E, r, in) and
/// `lora_b` (E, out, r) of `switch_mlp`. Source: `sanitize` in mlx_lm/models/mixtral.py and qwen3_moe.py, `LoRASwitchLinear`
/// in tuner/lora.py.
extension AdapterConversion {
    mutating func writeMLX(_ modules: [Module]) throws {
        guard let first = modules.first else { return }
        for module in modules {
            try refuse(module, in: "MLX'", embeddings: false, biases: true)
            guard !module.isConvolution else { throw unable(module, "is a convolution, for which mlx-lm has no LoRA") }
            guard (module.magnitude == nil) == (first.magnitude == nil) else {
                let (one, other) = module.magnitude == nil ? ("no magnitude", "one") : ("a magnitude", "none")
                throw unable(module, "has \(one) and \"\(first.path)\" \(other); MLX' config says for all modules whether they are DoRA")
            }
        }
        let rank = modules.map(\.rank).max() ?? first.rank
        let scaling = try MLXScaling(modules, adapter)
        if let module = scaling.inexact {
            throw unable(
                module, "has scale \(module.scale), most modules \(scaling.scale); MLX' config has one for all, and lora_b does not hold "
                    + "the rest exactly")
        }
        var keys: Set<String> = []
        var written: Set<String> = []
        for module in modules {
            guard let expert = ExpertPath(module.path.text) else {
                add("\(module.path)", [module], scaling, rank: rank, isStack: false)
                if let magnitude = module.magnitude { add("\(module.path).m", magnitude, shape: [magnitude.elementCount]) }
                keys.insert(AdapterConversion.mlxKey(module.path.text))
                continue
            }
            guard written.insert(expert.stack).inserted else { continue }
            try addSwitch(expert.stack, modules.filter { ExpertPath($0.path.text)?.stack == expert.stack }, scaling, rank: rank)
            keys.insert(AdapterConversion.mlxKey(expert.stack))
        }
        let folded = modules.filter { scaling.quotient(for: $0) != 1 }
        if !folded.isEmpty {
            notes.append(
                "scale is \(scaling.scale) for all modules; the rest of the scale is in lora_b of " + folded.map(\.path.text).joined(separator: ", "))
        }
        let padded = modules.filter { $0.rank != rank }
        if !padded.isEmpty {
            notes.append(
                "rank is \(rank) for all modules; zeros that change no update are behind the factors of "
                    + padded.map { "\($0.path.text) (\($0.rank))" }.joined(separator: ", "))
        }
        config = [
            "fine_tune_type": first.magnitude == nil ? "lora" : "dora", "num_layers": .number(JSONNumber(-1)),
            "lora_parameters": [
                "rank": .number(JSONNumber(rank)), "scale": .number(JSONNumber(scaling.scale)),
                "dropout": .number(JSONNumber(0.0)), "keys": .array(keys.sorted().map { .string($0) }),
            ],
        ]
    }

    /// Refuses embeddings that mean another model in mlx-lm than elsewhere: an update of one that a head is tied to, and DoRA's
    /// magnitudes, which are one for each row there and one for each column in PEFT.
    ///
    /// Source: `LoRAEmbedding.as_linear` in mlx_lm/tuner/lora.py, `DoRAEmbedding.set_embedding` in dora.py; `DoraEmbeddingLayer` in
    /// peft/tuners/lora/dora.py.
    mutating func requireSameEmbeddings(_ modules: [Module]) throws {
        for module in modules where module.isEmbedding || adapter.isEmbedding(module.path) {
            guard module.magnitude == nil else {
                throw unable(module, "is an embedding with DoRA, whose magnitudes are one for each row in mlx-lm and one for each column in PEFT",
                    help: "merge it instead")
            }
            guard adapter.movesTiedHead != (target == .mlx) else { continue }
            if try options.bases.contains(where: { try $0.tiesHead(to: module.path) }) {
                throw unable(
                    module, "is tied to the output head, which "
                        + (target == .mlx ? "mlx-lm would move with it" : "its update moves too, and would not in what is written"),
                    help: "merge it instead")
            }
            if options.bases.isEmpty {
                notes.append("\(module.path.text): in a model that ties its head to the embedding mlx-lm moves both, and others the embedding alone; "
                    + "--base BASE tells whether it does")
            }
        }
    }

    /// Keys count from the layer where there is one.
    private static func mlxKey(_ path: String) -> String {
        let parts = path.split(separator: ".").map(String.init)
        let layer = parts.indices.dropLast(2).first { parts[$0] == "layers" && Int(parts[$0 + 1]) != nil }
        return layer.map { parts[($0 + 2)...].joined(separator: ".") } ?? path
    }

    private mutating func addSwitch(_ path: String, _ members: [Module], _ scaling: MLXScaling, rank: Int) throws {
        let experts = members.sorted { (ExpertPath($0.path.text)?.expert ?? 0) < (ExpertPath($1.path.text)?.expert ?? 0) }
        let first = experts[0]
        guard experts.enumerated().allSatisfy({ ExpertPath($1.path.text)?.expert == $0 }), experts.allSatisfy({ $0.magnitude == nil }) else {
            throw unable(first, "is one of \(experts.count) experts with an update; MLX holds all experts of a layer in one tensor")
        }
        func isUnlike(_ other: Module) -> Bool {
            other.a.shape[1] != first.a.shape[1] || other.b.shape[0] != first.b.shape[0] || other.a.dtype != first.a.dtype || other.b.dtype != first.b.dtype
        }
        if let other = experts.first(where: isUnlike) {
            throw unable(other, "has another shape or dtype than the expert \"\(first.path)\", and they are one tensor")
        }
        add(path, experts, scaling, rank: rank, isStack: true)
    }

    /// A and B of one module, turned, or of experts one behind the other; each with zeros behind it up to the rank, B with what the
    /// scale leaves over.
    private mutating func add(_ path: String, _ modules: [Module], _ scaling: MLXScaling, rank: Int, isStack: Bool) {
        let (inputs, rows) = (modules[0].a.shape[1], modules[0].b.shape[0])
        let dtypes = modules.map { scaling.dtypes[$0.path] ?? $0.b.dtype }
        func blocks(_ matrix: (Module) -> TensorInfo, height: Int, factor: (Module) -> Double) -> Output.Source {
            .blocks(
                modules.enumerated().map { index, module in
                    let info = matrix(module)
                    return Output.Block(
                        tensor: info.name, factor: factor(module), row: index * height, column: 0, columns: info.shape[1], isTurned: !isStack)
                })
        }
        let count = modules.count
        outputs.append(
            Output(
                name: ExactString("\(path).lora_a"), dtype: modules[0].a.dtype, shape: isStack ? [count, rank, inputs] : [inputs, rank],
                source: blocks(\.a, height: rank) { _ in 1 }))
        outputs.append(
            Output(
                name: ExactString("\(path).lora_b"), dtype: dtypes.first { $0 == .f32 } ?? dtypes[0],
                shape: isStack ? [count, rows, rank] : [rank, rows], source: blocks(\.b, height: rows, factor: scaling.quotient)))
    }
}

/// `….experts.N.gate_proj`, and the path of the stack that MLX has for all N.
struct ExpertPath {
    let stack: String
    let expert: Int

    /// Mixtral's names of an expert's matrices, and MLX'.
    private static let leaves = ["w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"]

    init?(_ path: String) {
        let parts = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count > 2, parts[parts.count - 3] == "experts", let expert = Int(parts[parts.count - 2]), expert >= 0,
            "\(expert)" == parts[parts.count - 2]
        else { return nil }
        self.expert = expert
        let leaf = parts[parts.count - 1]
        stack = (parts.dropLast(3) + ["switch_mlp", ExpertPath.leaves[leaf] ?? leaf]).joined(separator: ".")
    }
}

/// The one scale of a file, and what it leaves over for each module.
struct MLXScaling {
    private(set) var scale = 1.0
    private(set) var dtypes: [ExactString: DType] = [:]
    private var quotients: [ExactString: Double] = [:]
    /// A module whose scale no factor holds beside that of most.
    private(set) var inexact: AdapterConversion.Module?

    init(_ modules: [AdapterConversion.Module], _ adapter: Adapter) throws {
        let counts = Dictionary(modules.map { ($0.scale, 1) }, uniquingKeysWith: +)
        var candidates = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key).filter { $0 != 0 }
        // Where all have the scale 0 it goes into lora_b too, as that of a few does.
        if candidates.isEmpty { candidates = [1] }
        scale = candidates[0]
        let numbers = AdapterNumbers(adapters: [adapter])
        for candidate in candidates {
            let failed = try fold(modules, into: candidate, numbers)
            inexact = inexact ?? failed
            guard failed == nil else { continue }
            (scale, inexact) = (candidate, nil)
            return
        }
    }

    /// - Returns: a module that does not take the scale exactly.
    private mutating func fold(
        _ modules: [AdapterConversion.Module], into scale: Double, _ numbers: AdapterNumbers
    ) throws -> AdapterConversion.Module? {
        (quotients, dtypes) = ([:], [:])
        for module in modules where module.scale != scale {
            let quotient = module.scale / scale
            guard (-module.scale).addingProduct(quotient, scale) == 0,
                let dtype = try AdapterConversion.exactDType(of: module.b, times: quotient, numbers)
            else { return module }
            (quotients[module.path], dtypes[module.path]) = (quotient, dtype)
        }
        return nil
    }

    /// What `lora_b` is multiplied by.
    func quotient(for module: AdapterConversion.Module) -> Double { quotients[module.path] ?? 1 }
}

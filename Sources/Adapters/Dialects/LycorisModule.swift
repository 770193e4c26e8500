import ByteAccess
import Tensors

/// The tensors of one module in the vocabulary of LyCORIS, of which kohya's LoRA is the first word.
///
/// | tensors | method |
/// |---|---|
/// | `lora_down.weight`, `lora_up.weight` | LoRA: A and B |
/// | and `lora_mid.weight` (r, r, k…) | LoRA with a Tucker core (``LoCon``) |
/// | `lora_down.N.weight`, `lora_up.N.weight` | one LoRA for each part of a fused output, parts below each other |
/// | `hada_…` | ``LoHa`` |
/// | `lokr_…` | ``LoKr``; where both factors are whole the scale is 1, whatever `alpha` says |
/// | `diff`, `diff_b`, and of norms `w_norm`, `b_norm` | ``FullDifference`` |
/// | `set_weight`, ComfyUI's | ``WeightReplacement`` |
/// | `weight`, `on_input` | ``LycorisIA3`` |
/// | `oft_blocks` (n, b, b), `rescale` | ``BlockRotation`` |
/// | `oft_blocks` (m, n, b, b), `rescale` | ``ButterflyRotation`` |
/// | `a1.weight`, `a2.weight`, `b1.weight`, `b2.weight`, `bm.weight` | ``LycorisGLoRA`` |
/// | `dora_scale` | a weight decomposition around any of the first four; by output or by input (``WeightDecomposition``) |
///
/// `alpha` is divided by the rank; with `rs_lora` LyCORIS has folded the root into it. Source: lycoris/modules.
struct LycorisModule {
    static let tensorNames: Set<String> = [
        "lora_down.weight", "lora_up.weight", "lora_mid.weight", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b",
        "hada_t1", "hada_t2", "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
        "diff", "diff_b", "w_norm", "b_norm", "set_weight", "on_input", "oft_blocks", "a1.weight", "dora_scale",
    ]

    /// The name in messages.
    let name: String
    let tensors: [String: TensorInfo]
    let isKohyaRotation: Bool
    /// Whether anything but kohya's own tensors was there.
    private(set) var isLycoris = false
    private(set) var consumed: [(tensor: ExactString, reason: String)] = []

    init(name: String, tensors: [String: TensorInfo], isKohyaRotation: Bool = false) {
        self.name = name
        self.tensors = tensors
        self.isKohyaRotation = isKohyaRotation
    }

    static func isSplit(_ tensor: String) -> Bool { splitIndex(tensor) != nil }

    /// N of `lora_down.N.weight` and `lora_up.N.weight`.
    private static func splitIndex(_ tensor: String) -> (name: String, index: Int)? {
        let parts = tensor.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "lora_down" || parts[0] == "lora_up", parts[2] == "weight",
            let index = Int(parts[1]), index >= 0
        else { return nil }
        return (String(parts[0]), index)
    }

    private func has(_ tensor: String) -> Bool { tensors[tensor] != nil }

    /// The module in the terms of its method.
    mutating func read(
        _ file: DialectFile, as module: ExactString, naming: DialectModule.Naming, component: String?
    ) throws -> DialectModule {
        var result = DialectModule(name: module, naming: naming, component: component, form: .lora)
        let alpha = try tensors["alpha"].map { try file.number($0) }
        if let info = tensors["alpha"] { consumed.append((info.name, "its number is in the scale")) }
        isLycoris = true
        if has("lora_down.weight") || has("lora_up.weight") {
            isLycoris = has("lora_mid.weight")
            try readLoRA(&result, alpha, file)
        } else if tensors.keys.contains(where: LycorisModule.isSplit) {
            isLycoris = false
            try readSplit(&result, alpha, file)
        } else if tensors.keys.contains(where: { $0.hasPrefix("hada_") }) {
            result.form = .loha
            add(["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"], to: &result)
            try setScale(of: &result, rank: rank(file, "hada_w1_b"), alpha, file)
        } else if tensors.keys.contains(where: { $0.hasPrefix("lokr_") }) {
            try readLoKr(&result, alpha, file)
        } else if let blocks = tensors["oft_blocks"] {
            let isButterfly = blocks.shape.count == 4
            result.form = isButterfly
                ? DialectForm(name: "boft", method: ButterflyRotation())
                : DialectForm(
                    name: isKohyaRotation ? "kohya oft" : "diag-oft", method: BlockRotation(isKohya: isKohyaRotation))
            add(["oft_blocks", "rescale"], to: &result)
            if isKohyaRotation, alpha == nil {
                throw file.refusal(
                    "module \"\(name)\" has no alpha, and the constraint on its rotation depends on it", blocks.name,
                    rule: "AlphaMissing", help: "add the network_alpha of the training run")
            }
            result.scale = ModuleScale(rank: blocks.shape.last ?? 1, value: alpha ?? 0)
        } else if has("a1.weight") {
            result.form = DialectForm(name: "glora", method: LycorisGLoRA())
            for name in ["a1", "a2", "b1", "b2", "bm"] {
                if let info = tensors["\(name).weight"] { result.add(name, "weight", TensorView(info)) }
            }
            try setScale(of: &result, rank: rank(file, "a2.weight"), alpha, file)
        } else if let info = tensors["on_input"], let weight = tensors["weight"] {
            let onInput = try file.number(info) != 0
            consumed.append((info.name, "it says that the module scales its \(onInput ? "input" : "output")"))
            result.form = DialectForm(
                name: onInput ? "ia3 input" : "ia3 output", method: LycorisIA3(scalesInput: onInput))
            result.add("weight", "", TensorView(weight))
        } else if has("diff") || has("diff_b") || has("w_norm") || has("b_norm") {
            result.form = DialectForm(name: "difference", method: FullDifference())
            for (stored, own) in [("diff", "diff"), ("w_norm", "diff"), ("diff_b", "diff_b"), ("b_norm", "diff_b")] {
                if let info = tensors[stored] { result.add(own, "", TensorView(info)) }
            }
        } else if let info = tensors["set_weight"] {
            result.form = DialectForm(name: "replacement", method: WeightReplacement())
            result.add("set_weight", "", TensorView(info))
        } else {
            throw file.refusal(
                "module \"\(name)\" has no tensors of a method that is known", tensors.values.map(\.name).min(),
                rule: "UnclaimedTensor")
        }
        try addDecomposition(&result, file)
        try requireAllUsed(by: result, file)
        return result
    }

    // MARK: Methods

    private func readLoRA(_ result: inout DialectModule, _ alpha: Double?, _ file: DialectFile) throws {
        let down = try tensor("lora_down.weight", file)
        let up = try tensor("lora_up.weight", file)
        // Both libraries make lora_up over the whole rank, in no groups.
        if down.shape.count > 2, up.shape.count > 1, up.shape[1] != down.shape[0] {
            throw file.refusal(
                "has shape \(up.shape), and lora_down \(down.shape): the two share their rank", up.name, rule: "RankMismatch",
                help: "save the adapter again")
        }
        result.add("lora_A", "weight", TensorView(down))
        // DyLoRA saves the lora_up of a convolution as a matrix (`DyLoraModule.custom_state_dict`).
        let isMatrix = up.shape.count == 2 && down.shape.count > 2
        let shape = isMatrix ? up.shape + [Int](repeating: 1, count: down.shape.count - 2) : up.shape
        result.add("lora_B", "weight", TensorView(up, shape: shape))
        if let mid = tensors["lora_mid.weight"] {
            result.form = .locon
            result.add("lora_mid", "weight", TensorView(mid))
        }
        if let scalar = tensors["scalar"] {
            throw file.refusal(
                "is a factor that LyCORIS folds into lora_up when it saves; this file has both", scalar.name,
                rule: "UnclaimedTensor")
        }
        try setScale(of: &result, rank: rank(file, "lora_down.weight"), alpha, file)
    }

    /// Kohya's `split_dims`: the output of a fused layer in parts, each with factors of its own.
    ///
    /// Source: `LoRAModule.__init__` and `merge_to` in networks/lora_flux.py.
    private func readSplit(_ result: inout DialectModule, _ alpha: Double?, _ file: DialectFile) throws {
        var (downs, ups): ([Int: TensorInfo], [Int: TensorInfo]) = ([:], [:])
        for (key, info) in tensors {
            guard let (name, index) = LycorisModule.splitIndex(key) else { continue }
            if name == "lora_down" { downs[index] = info } else { ups[index] = info }
        }
        guard Set(downs.keys) == Set(ups.keys), Set(downs.keys) == Set(0..<downs.count), let first = downs[0] else {
            throw file.refusal(
                "module \"\(name)\" has \(downs.count) parts of lora_down and \(ups.count) of lora_up",
                (downs.values.first ?? ups.values.first)?.name, rule: "MissingPair")
        }
        var (rank, rows) = (0, 0)
        var (aParts, bParts): ([TensorView.Part], [TensorView.Part]) = ([], [])
        for index in 0..<downs.count {
            guard let a = downs[index], let b = ups[index], a.shape.count == 2, b.shape.count == 2,
                a.shape[1] == first.shape[1], b.shape[1] == a.shape[0], a.shape[0] == first.shape[0]
            else { throw file.refusal("the parts of module \"\(name)\" do not fit", first.name, rule: "FactorShape") }
            aParts.append(.init(a, row: rank))
            bParts.append(.init(b, row: rows, column: rank))
            rank += a.shape[0]
            rows += b.shape[0]
        }
        func joined(_ tensor: String, _ shape: Shape, _ parts: [TensorView.Part]) -> TensorView {
            TensorView(name: ExactString("\(name).\(tensor)"), shape: shape, parts: parts)
        }
        result.add("lora_A", "weight", joined("lora_down", [rank, first.shape[1]], aParts))
        result.add("lora_B", "weight", joined("lora_up", [rows, rank], bParts))
        let own = first.shape[0]
        let factor = try checked(alpha, file) ?? Double(own)
        result.scale = ModuleScale(rank: rank, value: factor / Double(max(1, own)))
    }

    /// With both factors whole there is no rank to divide by: LyCORIS then sets alpha to it.
    ///
    /// Source: `LokrModule.__init__` in lycoris/modules/lokr.py ("use scale = 1").
    private func readLoKr(_ result: inout DialectModule, _ alpha: Double?, _ file: DialectFile) throws {
        result.form = .lokr
        add(
            ["lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"], to: &result)
        if has("lokr_w1"), has("lokr_w2") {
            result.scale = ModuleScale(rank: 1, value: 1)
            return
        }
        try setScale(of: &result, rank: rank(file, has("lokr_w1_b") ? "lokr_w1_b" : "lokr_w2_b"), alpha, file)
    }

    private func addDecomposition(_ result: inout DialectModule, _ file: DialectFile) throws {
        guard let info = tensors["dora_scale"] else { return }
        switch result.form.name {
        case "lora", "locon": result.form = .decomposed(LoCon(), name: "locon")
        case "loha": result.form = .decomposed(LoHa(), name: "loha")
        case "lokr": result.form = .decomposed(LoKr(), name: "lokr")
        default:
            throw file.refusal(
                "is a weight decomposition around \(result.form.name), for which none is defined", info.name,
                rule: "VariantLayout")
        }
        result.add("dora_scale", "", TensorView(info))
    }

    // MARK: Help

    private func add(_ names: [String], to result: inout DialectModule) {
        for name in names {
            if let info = tensors[name] { result.add(name, "", TensorView(info)) }
        }
    }

    private func tensor(_ key: String, _ file: DialectFile) throws -> TensorInfo {
        if let info = tensors[key] { return info }
        throw file.refusal(
            "module \"\(name)\" has no \(key)", tensors.values.map(\.name).min(), rule: "MissingPair",
            help: "save the adapter again; half of a pair is no update")
    }

    private func rank(_ file: DialectFile, _ key: String) throws -> Int {
        let info = try tensor(key, file)
        guard let rank = info.shape.first, rank > 0 else {
            throw file.refusal("has shape \(info.shape), and its first dimension is the rank", info.name, rule: "FactorShape")
        }
        return rank
    }

    private func setScale(of result: inout DialectModule, rank: Int, _ alpha: Double?, _ file: DialectFile) throws {
        result.scale = ModuleScale(rank: rank, alpha: try checked(alpha, file) ?? Double(rank), dtype: tensors["alpha"]?.dtype)
    }

    /// No trainer writes 0, which its own loader would read as "not given": sd-scripts and LyCORIS take the rank then,
    /// their merge scripts take 0.
    private func checked(_ alpha: Double?, _ file: DialectFile) throws -> Double? {
        if alpha == 0 {
            throw file.refusal(
                "is 0, which one loader takes for no update and another for the rank", tensors["alpha"]?.name,
                rule: "AlphaValue", help: "write the alpha of the training run, or remove the tensor to have scale 1")
        }
        return alpha
    }

    private func requireAllUsed(by result: DialectModule, _ file: DialectFile) throws {
        var used = Set(consumed.map(\.tensor))
        for tensor in result.tensors { used.formUnion(tensor.view.parts.map(\.stored.name)) }
        if let left = tensors.values.map(\.name).filter({ !used.contains($0) }).min() {
            throw file.refusal(
                "has no part in \(result.form.name) of module \"\(name)\"", left, rule: "UnclaimedTensor",
                help: "nothing is skipped silently: remove the tensor if it has no part in the update")
        }
    }
}

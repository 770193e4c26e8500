import ByteAccess
import Checkpoints
import Tensors

/// Adapters that torchtune saved under its own names: `layers.N.attn.q_proj.lora_a.weight`.
///
/// | torchtune | transformers |
/// |---|---|
/// | `layers.N.attn.q_proj`, `k_proj`, `v_proj`, `output_proj` | `model.layers.N.self_attn.q_proj`, `k_proj`, `v_proj`, `o_proj` |
/// | `layers.N.mlp.w1`, `w2`, `w3` | `model.layers.N.mlp.gate_proj`, `down_proj`, `up_proj` |
/// | `output`, `tok_embeddings` | `lm_head`, `model.embed_tokens` |
/// | `lora_a.weight` (r, in), `lora_b.weight` (out, r), `magnitude` (out) | A, B, DoRA's m |
///
/// Rows of q and k stand in the order of Meta's rotary embedding, pairs side by side: row h·d + 2i + g of a head of d
/// rows is transformers' h·d + g·d/2 + i. So B, and m, are turned by the heads that the base's config counts.
///
/// The scale is α / r of the PEFT config that torchtune writes beside the file, or `--scale`.
/// Source: `_FROM_HF`, `tune_to_peft_adapter_weights` in torchtune/models/convert_weights.py.
struct Torchtune: Dialect {
    let name = "torchtune"
    let acceptsPEFTConfig = true

    private static let names = [
        "attn.q_proj": "self_attn.q_proj", "attn.k_proj": "self_attn.k_proj", "attn.v_proj": "self_attn.v_proj",
        "attn.output_proj": "self_attn.o_proj", "mlp.w1": "mlp.gate_proj", "mlp.w2": "mlp.down_proj",
        "mlp.w3": "mlp.up_proj",
    ]
    private static let leaves = [".lora_a.weight": "a", ".lora_b.weight": "b", ".magnitude": "m", ".magnitude.weight": "m"]

    func openQuestions(_ file: DialectFile) -> Set<OpenQuestion> { file.config?.peftType == nil ? [.scale] : [] }

    func recognises(_ file: DialectFile) -> Bool {
        !file.tensors.isEmpty && file.tensors.allSatisfy { Torchtune.key($0.name) != nil }
    }

    /// The module in transformers' names, and which of its tensors this is.
    private static func key(_ name: ExactString) -> (module: String, leaf: String)? {
        guard let (ending, leaf) = leaves.first(where: { name.text.hasSuffix($0.key) }).map({ ($0.key, $0.value) }) else { return nil }
        let path = String(name.text.dropLast(ending.count))
        if path == "output" { return ("lm_head", leaf) }
        let parts = path.dottedComponents.map(String.init)
        guard parts.count == 4, parts[0] == "layers", let layer = Int(parts[1]), layer >= 0,
            let own = names["\(parts[2]).\(parts[3])"]
        else { return nil }
        return ("model.layers.\(layer).\(own)", leaf)
    }

    func read(_ file: DialectFile, context: DialectContext) throws -> DialectReading {
        var order: [String] = []
        var tensors: [String: [String: TensorInfo]] = [:]
        for info in file.tensors {
            guard let key = Torchtune.key(info.name) else { continue }
            if tensors[key.module] == nil { order.append(key.module) }
            tensors[key.module, default: [:]][key.leaf] = info
        }
        var reading = DialectReading()
        for path in order {
            guard let a = tensors[path]?["a"], let b = tensors[path]?["b"], a.shape.count == 2, b.shape.count == 2 else {
                throw file.refusal(
                    "module \"\(path)\" has half of a pair", tensors[path]?.values.map(\.name).min(), rule: "MissingPair")
            }
            let rank = a.shape[0]
            var module = DialectModule(name: ExactString(path), naming: .path, component: nil, form: .lora)
            module.scale = try scale(rank, file, context, &reading)
            let heads = try heads(of: path, rows: b.shape[0], tensor: b.name, file, context, &reading)
            module.add("lora_A", "weight", TensorView(a))
            module.add("lora_B", "weight", Torchtune.turned(b, heads: heads))
            if let m = tensors[path]?["m"] {
                module.form = .dora
                module.add("lora_magnitude_vector", "", Torchtune.turned(m, heads: heads))
            }
            reading.modules.append(module)
        }
        return reading
    }

    private func scale(
        _ rank: Int, _ file: DialectFile, _ context: DialectContext, _ reading: inout DialectReading
    ) throws -> ModuleScale {
        if let alpha = try file.config?.number("lora_alpha") {
            let configured = try file.config?.count("r") ?? rank
            guard configured == rank, rank > 0 else {
                throw file.refusal(
                    "the factors have rank \(rank), and the config says \(configured): the scale would be wrong", nil,
                    rule: "RankMismatch")
            }
            return ModuleScale(rank: rank, alpha: alpha)
        }
        guard let scale = context.options.scale else {
            let refusal = file.refusal(
                "no config says the scale of the update", nil, rule: "ScaleMissing",
                help: "put torchtune's adapter_config.json beside the file, or give the factor with --scale")
            if context.hasBase { throw refusal }
            reading.unsettled = refusal
            return ModuleScale(rank: rank, value: 1)
        }
        return ModuleScale(rank: rank, value: scale)
    }

    /// The heads whose rows are turned; nil for any other module, or where no base is there to tell.
    private func heads(
        of path: String, rows: Int, tensor: ExactString, _ file: DialectFile, _ context: DialectContext,
        _ reading: inout DialectReading
    ) throws -> Int? {
        let isKey = path.hasSuffix(".k_proj")
        guard isKey || path.hasSuffix(".q_proj") else { return nil }
        let own = isKey ? context.heads?.key : context.heads?.query
        guard let heads = own, heads > 0, rows % heads == 0, rows / heads % 2 == 0 else {
            let refusal = file.refusal(
                "its rows are turned by heads, and the base's config does not count heads that divide \(rows) rows", tensor,
                rule: "HeadsUnknown",
                help: context.hasBase
                    ? "put the base's config.json beside its weights"
                    : "name the base, whose config.json counts them: --base BASE; or --heads QUERIES,KEYS")
            if context.hasBase || context.heads != nil { throw refusal }
            reading.unsettled = refusal
            return nil
        }
        return heads
    }

    /// (heads, d/2, 2, …) to (heads, 2, d/2, …).
    private static func turned(_ info: TensorInfo, heads: Int?) -> TensorView {
        guard let heads, let rows = info.shape.first, info.shape.count <= 2 else { return TensorView(info) }
        var pairs = info
        pairs.shape = [heads, rows / heads / 2, 2] + info.shape.dropFirst()
        return TensorView(pairs, axes: [0, 2, 1] + pairs.shape.indices.dropFirst(3), shape: info.shape)
    }
}

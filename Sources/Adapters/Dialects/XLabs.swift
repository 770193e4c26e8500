import ByteAccess
import Tensors

/// XLabs' LoRA of FLUX.1: attention processors named after the model's own blocks.
///
/// | tensor | layer in the original model | in diffusers |
/// |---|---|---|
/// | `double_blocks.N.processor.qkv_lora1` | `double_blocks.N.img_attn.qkv` | `transformer_blocks.N.attn.to_q`, `to_k`, `to_v` |
/// | `…qkv_lora2` | `double_blocks.N.txt_attn.qkv` | `…attn.add_q_proj`, `add_k_proj`, `add_v_proj` |
/// | `…proj_lora1`, `…proj_lora2` | `…img_attn.proj`, `…txt_attn.proj` | `…attn.to_out.0`, `…attn.to_add_out` |
/// | `single_blocks.N.processor.qkv_lora` | the first 3h of 7h rows of `single_blocks.N.linear1` | `single_transformer_blocks.N.attn.to_q`, `to_k`, `to_v` |
/// | `…proj_lora` | `single_blocks.N.linear2` | `single_transformer_blocks.N.proj_out` |
///
/// Each has `.down.weight` (r, in) and `.up.weight` (out, r), and the scale is 1. Where diffusers has three layers, the
/// rows of `up` are cut in three and `down` serves all. Source: `_convert_xlabs_flux_lora_to_diffusers` in
/// src/diffusers/loaders/lora_conversion_utils.py.
struct XLabs: Dialect {
    let name = "xlabs"

    func recognises(_ file: DialectFile) -> Bool {
        !file.tensors.isEmpty && file.config == nil && file.tensors.allSatisfy { XLabs.key($0.name) != nil }
    }

    private struct Key: Hashable {
        let isDouble: Bool
        let block: Int
        /// `qkv_lora1`, `proj_lora`.
        let layer: String
    }

    private static func key(_ name: ExactString) -> (key: Key, tensor: String)? {
        var parts = name.text.dottedComponents.map(String.init)
        if parts.first == "diffusion_model" { parts.removeFirst() }
        guard parts.count == 6, parts[0] == "double_blocks" || parts[0] == "single_blocks", let block = Int(parts[1]),
            block >= 0, parts[2] == "processor", parts[4] == "down" || parts[4] == "up", parts[5] == "weight"
        else { return nil }
        let isDouble = parts[0] == "double_blocks"
        let layers = isDouble ? ["qkv_lora1", "qkv_lora2", "proj_lora1", "proj_lora2"] : ["qkv_lora", "proj_lora"]
        guard layers.contains(parts[3]) else { return nil }
        return (Key(isDouble: isDouble, block: block, layer: parts[3]), parts[4])
    }

    func read(_ file: DialectFile, context: DialectContext) throws -> DialectReading {
        var order: [Key] = []
        var tensors: [Key: [String: TensorInfo]] = [:]
        for info in file.tensors {
            guard let (key, tensor) = XLabs.key(info.name) else { continue }
            if tensors[key] == nil { order.append(key) }
            if let other = tensors[key, default: [:]].updateValue(info, forKey: tensor) {
                throw file.refusal("means the same as \"\(other.name.text.printable)\"", info.name, rule: "AmbiguousKey")
            }
        }
        var reading = DialectReading()
        for key in order {
            guard let down = tensors[key]?["down"], let up = tensors[key]?["up"], down.shape.count == 2,
                up.shape.count == 2, up.shape[1] == down.shape[0], down.shape[0] > 0
            else {
                throw file.refusal(
                    "\(key.layer) of block \(key.block) has no pair of factors that fit", tensors[key]?.values.map(\.name).min(),
                    rule: "MissingPair")
            }
            reading.modules.append(try module(key, down, up, file))
        }
        return reading
    }

    private func module(_ key: Key, _ down: TensorInfo, _ up: TensorInfo, _ file: DialectFile) throws -> DialectModule {
        let rank = down.shape[0]
        func one(_ path: String, _ b: TensorView, number: Int? = nil) -> DialectModule {
            var module = DialectModule(name: ExactString(path), naming: .path, component: "transformer", form: .lora)
            var a = TensorView(down)
            // One tensor for three modules has a name in each.
            if let number { a.info.name = ExactString("\(down.name)[\(number)]") }
            module.add("lora_A", "weight", a)
            module.add("lora_B", "weight", b)
            module.scale = ModuleScale(rank: rank, value: 1)
            return module
        }
        let isText = key.layer.hasSuffix("2")
        let block = key.isDouble ? "transformer_blocks.\(key.block)" : "single_transformer_blocks.\(key.block)"
        guard key.layer.hasPrefix("qkv") else {
            let original = key.isDouble
                ? "double_blocks.\(key.block).\(isText ? "txt" : "img")_attn.proj" : "single_blocks.\(key.block).linear2"
            let other = key.isDouble ? "\(block).attn.\(isText ? "to_add_out" : "to_out.0")" : "\(block).proj_out"
            var module = one(original, TensorView(up))
            module.elsewhere = [one(other, TensorView(up))]
            return module
        }
        guard up.shape[0] % 3 == 0 else {
            throw file.refusal("has shape \(up.shape), and three layers share its rows", up.name, rule: "FactorShape")
        }
        let width = up.shape[0] / 3
        var module: DialectModule
        if key.isDouble {
            module = one("double_blocks.\(key.block).\(isText ? "txt" : "img")_attn.qkv", TensorView(up))
        } else {
            // The rest of linear1 is the MLP, four times as wide as the model.
            module = one(
                "single_blocks.\(key.block).linear1",
                TensorView(name: up.name, shape: [7 * width, rank], parts: [.init(up)]))
        }
        let layers = isText ? ["add_q_proj", "add_k_proj", "add_v_proj"] : ["to_q", "to_k", "to_v"]
        module.elsewhere = layers.enumerated().map { number, layer in
            let rows = (number * width)..<((number + 1) * width)
            return one(
                "\(block).attn.\(layer)",
                TensorView(
                    name: ExactString("\(up.name)[\(number)]"), shape: [width, rank], parts: [.init(up, rows: rows)]),
                number: number)
        }
        return module
    }
}

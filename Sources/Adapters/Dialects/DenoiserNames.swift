/// The UNet of Stable Diffusion under the names of its own repository and of diffusers.
///
/// sd-scripts trains SDXL's UNet under the first (`input_blocks.4.1.…`) and SD 1 and 2's under the second
/// (`down_blocks.1.attentions.0.…`), and a base is stored under either. The blocks correspond one to one:
///
/// | diffusers | Stability AI |
/// |---|---|
/// | `down_blocks.i.resnets.j`, `.attentions.j` | `input_blocks.{3i + j + 1}.0`, `.1` |
/// | `down_blocks.i.downsamplers.0.conv` | `input_blocks.{3i + 3}.0.op` |
/// | `mid_block.resnets.0`, `.attentions.0`, `.resnets.1` | `middle_block.0`, `.1`, `.2` |
/// | `up_blocks.i.resnets.j`, `.attentions.j` | `output_blocks.{3i + j}.0`, `.1` |
/// | `up_blocks.i.upsamplers.0.conv` | `output_blocks.{3i + 2}.{1 or 2}.conv` |
/// | in a resnet `norm1`, `conv1`, `time_emb_proj`, `norm2`, `conv2`, `conv_shortcut` | `in_layers.0`, `in_layers.2`, `emb_layers.1`, `out_layers.0`, `out_layers.3`, `skip_connection` |
/// | `conv_in`, `time_embedding.linear_1`, `linear_2` | `input_blocks.0.0`, `time_embed.0`, `time_embed.2` |
/// | `add_embedding.linear_1`, `linear_2` | `label_emb.0.0`, `label_emb.0.2` |
/// | `conv_norm_out`, `conv_out` | `out.0`, `out.2` |
///
/// Source: `make_unet_conversion_map` in library/sdxl_model_util.py, `convert_unet_state_dict_to_sd` in
/// library/model_util.py of sd-scripts.
enum DenoiserNames {
    private static let single = [
        ("conv_in", "input_blocks.0.0"), ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"), ("add_embedding.linear_1", "label_emb.0.0"),
        ("add_embedding.linear_2", "label_emb.0.2"), ("conv_norm_out", "out.0"), ("conv_out", "out.2"),
    ]
    private static let inResnet = [
        ("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1"),
        ("norm2", "out_layers.0"), ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection"),
    ]

    /// The other names of a module; none where it is no part of such a UNet.
    static func aliases(of path: String) -> [String] {
        if let pair = single.first(where: { $0.0 == path }) { return [pair.1] }
        if let pair = single.first(where: { $0.1 == path }) { return [pair.0] }
        let parts = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count > 2, let first = parts.first else { return [] }
        switch first {
        case "down_blocks", "up_blocks", "mid_block": return fromDiffusers(parts)
        case "input_blocks", "output_blocks", "middle_block": return toDiffusers(parts)
        default: return []
        }
    }

    /// A path of diffusers' under the names of Stability AI's SDXL; itself where it is another.
    static func original(_ path: String) -> String {
        let isDiffusers = single.contains { $0.0 == path } || ["down_blocks.", "up_blocks.", "mid_block."].contains(where: path.hasPrefix)
        return isDiffusers ? aliases(of: path).last ?? path : path
    }

    private static func fromDiffusers(_ parts: [String]) -> [String] {
        let isMiddle = parts[0] == "mid_block"
        let start = isMiddle ? 1 : 2
        guard parts.count > start + 1, let block = isMiddle ? 0 : Int(parts[1]), let index = Int(parts[start + 1]),
            (0..<100).contains(block), (0..<100).contains(index)
        else { return [] }
        let rest = Array(parts[(start + 2)...])
        let front = parts[0] == "down_blocks" ? "input_blocks" : "output_blocks"
        let number = parts[0] == "down_blocks" ? 3 * block + index + 1 : 3 * block + index
        switch parts[start] {
        case "resnets":
            guard let inner = inResnet.first(where: { [$0.0] == rest })?.1 else { return [] }
            return isMiddle ? ["middle_block.\(2 * index).\(inner)"] : ["\(front).\(number).0.\(inner)"]
        case "attentions":
            let inner = rest.joined(separator: ".")
            return isMiddle ? ["middle_block.1.\(inner)"] : ["\(front).\(number).1.\(inner)"]
        case "downsamplers" where rest == ["conv"]: return ["input_blocks.\(3 * block + 3).0.op"]
        case "upsamplers" where rest == ["conv"]: return (1...2).map { "output_blocks.\(3 * block + 2).\($0).conv" }
        default: return []
        }
    }

    private static func toDiffusers(_ parts: [String]) -> [String] {
        guard let number = Int(parts[1]), (0..<1000).contains(number) else { return [] }
        if parts[0] == "middle_block" {
            if number == 1 { return ["mid_block.attentions.0." + parts[2...].joined(separator: ".")] }
            let inner = parts[2...].joined(separator: ".")
            return inResnet.filter { $0.1 == inner }.map { "mid_block.resnets.\(number / 2).\($0.0)" }
        }
        guard parts.count > 3, let slot = Int(parts[2]) else { return [] }
        let inner = parts[3...].joined(separator: ".")
        let isDown = parts[0] == "input_blocks"
        guard !isDown || number > 0 else { return [] }
        let (block, index) = isDown ? ((number - 1) / 3, (number - 1) % 3) : (number / 3, number % 3)
        let front = isDown ? "down_blocks.\(block)" : "up_blocks.\(block)"
        if slot == 0, isDown, inner == "op" { return ["\(front).downsamplers.0.conv"] }
        if slot == 0 { return inResnet.filter { $0.1 == inner }.map { "\(front).resnets.\(index).\($0.0)" } }
        if inner == "conv", !isDown { return ["\(front).upsamplers.0.conv"] }
        return ["\(front).attentions.\(index).\(inner)"]
    }
}

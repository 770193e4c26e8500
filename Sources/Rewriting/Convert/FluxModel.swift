import Adapters
import ByteAccess
import Checkpoints
import Containers

/// Whether the transformer that an adapter of diffusers' is for is FLUX.1.
enum FluxModel {
    /// How many blocks FLUX.1 has (`depth`, `depth_single_blocks` in src/flux/util.py of black-forest-labs/flux). diffusers calls those of other
    /// models the same: HunyuanVideo has 20 and 40, Stable Diffusion 3 has 24 or 38 of two streams, Qwen-Image 60.
    private static let blocks = [("transformer_blocks.", 19), ("single_transformer_blocks.", 38)]

    /// The base's class tells, else the class in PEFT's config or the trainer's metadata, else the names: all of them FLUX.1's, blocks of one
    /// stream among them or every block of two streams, and none beyond its last.
    static func isOne(_ modules: [(component: String?, own: ExactString)], _ bases: [PipelineBase], _ adapter: Adapter) -> Bool {
        let own = modules.filter { module in
            module.component.map { PipelineComponent($0) == .denoiser && !PipelineComponent.isKohya($0) } ?? true
        }.map(\.own.text)
        guard !own.isEmpty, own.allSatisfy({ OriginalLayer(flux: $0) != nil }) else { return false }
        if let name = bases.compactMap({ $0.checkpoint.config?["_class_name"]?.stringValue }).first { return name == className }
        if let name = adapter.config?["auto_mapping"]?["base_model_class"]?.stringValue { return name == className }
        if let version = said(by: adapter) { return version == "flux1" || version == "flux-1" || version.hasPrefix("flux-1-") }
        let numbers = blocks.map { front, _ in
            Set(own.filter { $0.hasPrefix(front) }.map { Int($0.dropFirst(front.count).prefix { $0 != "." }) ?? .max })
        }
        guard zip(numbers, blocks).allSatisfy({ found, block in found.allSatisfy { $0 < block.1 } }) else { return false }
        return !numbers[1].isEmpty || numbers[0].count == blocks[0].1
    }

    private static let className = "FluxTransformer2DModel"

    /// The model that the trainer named, without what it said of the adapter (`flux-1-dev/lora`).
    ///
    /// Source: `ARCH_FLUX_1_DEV`, `build_metadata` in library/sai_model_spec.py, `MODEL_VERSION_FLUX_V1` in library/flux_utils.py of sd-scripts.
    private static func said(by adapter: Adapter) -> String? {
        let entries = adapter.checkpoint.shards.flatMap { $0.file.metadata ?? [] }
        for key in ["modelspec.architecture", "ss_base_model_version"] {
            guard let value = entries.first(where: { $0.key.text == key })?.value else { continue }
            return String(value.prefix { $0 != "/" }).lowercased()
        }
        return nil
    }
}

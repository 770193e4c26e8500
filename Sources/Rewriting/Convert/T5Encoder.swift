import Adapters
import ByteAccess
import Checkpoints
import Containers

/// Which text encoder of its pipeline T5 is.
///
/// | pipeline | sd-scripts | diffusers |
/// |---|---|---|
/// | FLUX.1: CLIP-L, T5 | `lora_te1`, `lora_te3` | `text_encoder`, `text_encoder_2` |
/// | Stable Diffusion 3: CLIP-L, CLIP-G, T5 | `lora_te1`, `lora_te2`, `lora_te3` | `text_encoder`, `text_encoder_2`, `text_encoder_3` |
///
/// sd-scripts has one name for T5, whatever stands before it, and diffusers counts. So the folder of the pipeline tells that holds a T5, else
/// what the transformer is, else what the trainer wrote of itself; where nothing tells it is the third.
///
/// Source: `LORA_PREFIX_TEXT_ENCODER_T5` of `LoRANetwork` in networks/lora_flux.py and networks/lora_sd3.py of sd-scripts; `FluxPipeline` and
/// `StableDiffusion3Pipeline` of diffusers; `ARCH_FLUX_1_DEV` in library/sai_model_spec.py.
struct T5Encoder {
    /// The components all of whose modules are T5's.
    private let components: Set<String?>
    /// Its number among diffusers' text encoders.
    private let number: Int

    init(_ modules: [(component: String?, path: String)], _ bases: [PipelineBase], _ adapter: Adapter) {
        let others = Set(modules.filter { !PipelineComponent.isT5Path($0.path) }.map(\.component))
        components = Set(modules.map(\.component)).subtracting(others)
        guard !components.isEmpty else {
            number = 3
            return
        }
        number = T5Encoder.folder(bases) ?? (T5Encoder.isFlux(modules.map(\.path), bases, adapter) ? 2 : 3)
    }

    /// The number of the text encoder that a component is, in the words of the target.
    func part(_ part: PipelineComponent, of component: String?, in target: ConversionTarget) -> PipelineComponent {
        guard components.contains(component) else { return part }
        switch (part, target) {
        case (.textEncoder(2), .kohya): return .textEncoder(3)
        case (.textEncoder(3), .diffusers): return .textEncoder(number)
        default: return part
        }
    }

    /// The folder of a pipeline that holds a T5.
    private static func folder(_ bases: [PipelineBase]) -> Int? {
        for base in bases {
            guard let component = base.component, case .textEncoder(let number) = PipelineComponent(component),
                base.checkpoint.tensors.contains(where: { PipelineComponent.isT5Path($0.name.text) })
            else { continue }
            return number
        }
        return nil
    }

    /// Whether the transformer is FLUX.1's: by its class, by blocks of two streams and of one, or by the trainer's word.
    private static func isFlux(_ paths: [String], _ bases: [PipelineBase], _ adapter: Adapter) -> Bool {
        let classes = bases.compactMap { $0.checkpoint.config?["_class_name"]?.stringValue }.filter { $0.contains("Transformer") }
        if let name = classes.first { return name == "FluxTransformer2DModel" }
        let blocks = ["double_blocks", "single_blocks", "single_transformer_blocks"]
        if paths.contains(where: { path in blocks.contains(where: path.hasPrefix) }) { return true }
        // Of what is not written the file has the names all the same.
        let fronts = ["lora_unet_", "lora_transformer_"].flatMap { front in blocks.map { front + $0 } }
        let files = [adapter.checkpoint] + bases.map(\.checkpoint)
        if files.contains(where: { $0.tensors.contains { tensor in (fronts + blocks).contains(where: tensor.name.text.hasPrefix) } }) { return true }
        return adapter.checkpoint.shards.flatMap { $0.file.metadata ?? [] }.contains { entry in
            entry.key == "ss_network_module" && entry.value.hasSuffix("_flux")
                || entry.key == "modelspec.architecture" && entry.value.hasPrefix("flux-1")
        }
    }
}

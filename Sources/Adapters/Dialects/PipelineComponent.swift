public import ByteAccess
public import Checkpoints

/// A part of a diffusion pipeline, in the words of kohya's files and of diffusers'.
///
/// | part | kohya | diffusers |
/// |---|---|---|
/// | the denoiser | `lora_unet`; `lora_transformer`, `lycoris`, `oft_unet` and the like | `unet`, `transformer`, `diffusion_model` |
/// | the first text encoder | `lora_te` where it is the only one, else `lora_te1` | `text_encoder` |
/// | the second, the third | `lora_te2`, `lora_te3` | `text_encoder_2`, `text_encoder_3` |
///
/// T5 is `lora_te3` in kohya's files of FLUX.1 too, whose pipeline has it as its second (``isT5Path(_:)``).
///
/// Source: `_convert_non_diffusers_lora_to_diffusers` and `_convert_kohya_flux_lora_to_diffusers` in
/// src/diffusers/loaders/lora_conversion_utils.py, which take `lora_te` and `lora_te1` for `text_encoder` and FLUX.1's
/// `lora_unet` for `transformer`; `LoRANetwork` in networks/lora.py, lora_flux.py and lora_sd3.py of sd-scripts.
public enum PipelineComponent: Sendable, Hashable {
    /// What takes the noise out: a UNet or a transformer.
    case denoiser
    /// A text encoder, by its number from 1.
    case textEncoder(Int)
    /// A part that kohya's files have no word for: `prior`, `controlnet`, `transformer_2`.
    case other(String)

    private static let denoisers: Set<String> = [
        "unet", "transformer", "diffusion_model", "lora_unet", "lora_transformer", "lora_diffusers", "lycoris", "oft_unet",
        "oft_diffusers",
    ]

    /// The part that a name of either vocabulary stands for.
    public init(_ name: String) {
        if let number = BaseModules.encoder(name) {
            self = .textEncoder(number)
        } else {
            self = PipelineComponent.denoisers.contains(name) ? .denoiser : .other(name)
        }
    }
}

extension PipelineComponent {
    /// Whether diffusers' files may begin a name with this.
    public static func isDiffusers(_ name: String) -> Bool { Diffusers.components.contains(name) }

    /// Whether diffusers' own models begin a name with this: `diffusion_model` is ComfyUI's word for whatever takes the noise out, and no
    /// loader of diffusers finds metadata under it.
    public static func isWrittenByDiffusers(_ name: String) -> Bool { isDiffusers(name) && name != "diffusion_model" }

    /// Whether kohya's files may begin a name with this.
    public static func isKohya(_ name: String) -> Bool { Kohya.prefixes.contains(name + "_") }

    /// A path of the UNet under the names of Stability AI's repository, under those of diffusers; itself where it is another.
    public static func diffusersPath(_ path: String) -> String {
        let isOriginal = ["input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out."].contains(where: path.hasPrefix)
        return isOriginal ? DenoiserNames.aliases(of: path).first ?? path : path
    }

    /// A path of a text encoder under the names of OpenCLIP, which SD 2's and SDXL's own files have, under those of transformers, which
    /// trainers and diffusers have; itself where it is another.
    public static func transformersPath(_ path: String) -> String { OpenCLIPNames.aliases(of: path).first ?? path }

    /// Whether a path, with dots or with underscores for them, is that of a block of T5's encoder: no other text encoder has such names.
    ///
    /// Source: `T5Stack` in src/transformers/models/t5/modeling_t5.py, which `T5EncoderModel` holds as `encoder`.
    public static func isT5Path(_ path: String) -> Bool { path.hasPrefix("encoder.block.") || path.hasPrefix("encoder_block_") }

    /// Whether a path is that of a layer which the model's own repository cuts or calls otherwise than diffusers.
    public static func isOriginalPath(_ path: String) -> Bool { DiffusersLayers.isOriginal(path) }

    /// Whether a path lies in a numbered block of a diffusion transformer, as its own repository or diffusers has it.
    public static func isTransformerPath(_ path: String) -> Bool { DiffusersLayers.isInBlock(path) }

    /// Whether paths are of layers of FLUX.1 as its own repository has them and of nothing else, a block's among them.
    public static func areFluxPaths(_ paths: [String]) -> Bool { DiffusersLayers.areFlux(paths) }

    /// Whether some model of diffusers has layers of such a path, as far as names alone tell.
    public static func isDiffusersPath(_ path: String) -> Bool { DiffusersLayers.isKnown(path) }

    /// A path as sd-scripts spells it when it trains the model: CLIP's text model with its own name in front, the UNet of Stable Diffusion
    /// XL under Stability AI's names, and those of other versions under diffusers'.
    ///
    /// Source: `LoRANetwork.__init__` in networks/lora.py; `SdxlUNet2DConditionModel` in library/sdxl_original_unet.py and
    /// `UNet2DConditionModel` in library/original_unet.py, whose modules it names; `make_unet_conversion_map` in library/sdxl_model_util.py,
    /// where all upsamplers are `output_blocks.N.2`.
    public static func kohyaPath(_ path: String, of part: PipelineComponent, isLarge: Bool) -> String {
        switch part {
        case .textEncoder:
            let path = transformersPath(path)
            return path.hasPrefix("encoder.layers.") ? "text_model." + path : path
        case .denoiser: return isLarge ? DenoiserNames.original(path) : diffusersPath(path)
        case .other: return path
        }
    }
}

/// A model whose names a conversion looks up, and which part of a pipeline it is, where its place says so.
public struct PipelineBase: Sendable {
    /// The model.
    public var checkpoint: Checkpoint
    /// Its folder in diffusers' pipeline, `text_encoder_2`; nil for a model of its own.
    public var component: String?

    /// A model whose names the adapter's modules get. Without a component it stands for itself and is no part of a pipeline.
    public init(_ checkpoint: Checkpoint, component: String? = nil) {
        self.checkpoint = checkpoint
        self.component = component
    }
}

extension PipelineBase {
    /// Whether the model ties a head to the embedding `module`.
    ///
    /// - Throws: what reading the base's names throws.
    public func tiesHead(to module: ExactString) throws -> Bool {
        let names = NameResolver(base: try BaseView(base: checkpoint, adapters: []).directory)
        let end = (module.text.dottedComponents.last.map(String.init) ?? "") + ".weight"
        return names.storedNames.contains { $0.text.hasSuffix(end) && !names.tiedPartners(of: $0).isEmpty }
    }
}

extension [PipelineBase] {
    /// `model_type` of the one model; nil where there is none, or more than one.
    var modelType: String? { count == 1 ? self[0].checkpoint.config?["model_type"]?.stringValue : nil }
}

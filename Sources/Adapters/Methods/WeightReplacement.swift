/// A weight that stands in the file as it shall be: ComfyUI's `set_weight`, and the norms of Black Forest Labs' control LoRA of FLUX.1.
///
///     W' = set_weight
///
/// | keys | shape |
/// |---|---|
/// | `set_weight` (file: `set_weight`, and of `query_norm` and `key_norm` `scale`) | the weight's |
///
/// Source: `load_lora` in comfy/lora.py of ComfyUI, whose patch "set" copies the tensor; `_convert_bfl_flux_control_lora_to_diffusers` in
/// src/diffusers/loaders/lora_conversion_utils.py and `FluxLoraLoaderMixin._load_norm_into_transformer` in lora_pipeline.py of diffusers, which loads
/// the norms in place of the model's.
struct WeightReplacement: ModuleMethod {
    let name = "replacement"
    let peftTypes: [String] = []
    let components: Set<String> = ["set_weight"]
    let configKeys: Set<String> = []

    /// Both sides are the base's own.
    func extent(of module: MethodModule) throws -> UpdateExtent { UpdateExtent() }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let values = weight.shape.count == 1
            ? try module.row("set_weight", count: weight.shape[0]) : try module.matrix("set_weight", weight.shape)
        return ModuleChanges(weight: .become(values))
    }
}

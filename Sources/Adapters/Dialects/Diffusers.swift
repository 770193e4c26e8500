import ByteAccess
import Tensors

/// The files of diffusers and of the interfaces around it: `<component>.<path>.<tensor>`.
///
/// | tensor | written by | factor |
/// |---|---|---|
/// | `lora_A.weight`, `lora_B.weight`, `lora_B.bias`, `lora_magnitude_vector` | diffusers with PEFT | as PEFT's |
/// | `lora.down.weight`, `lora.up.weight` | diffusers 0.18 to 0.25, UNet | A, B |
/// | `lora_linear_layer.down.weight`, `.up.weight` | the same, text encoder | A, B |
/// | `processor.to_q_lora.down.weight`, `to_q_lora.up.weight` | before, attention processors | A, B of `to_q` |
/// | `lora_down.weight`, `lora_up.weight`, `lora_mid.weight`, `dora_scale`, `diff`… | ai-toolkit, ComfyUI, SAI | as LyCORIS' |
/// | `lora_A.default.weight`, `lora_B.default.weight` | DiffSynth | A, B |
/// | `diff_b` beside factors; `diff_m` of a block | lightx2v | bias' = bias + diff_b; Wan's modulation + diff_m |
/// | `set_weight`; `query_norm.scale`, `key_norm.scale` of FLUX.1 | ComfyUI; Black Forest Labs | the weight itself |
/// | `alpha` | any | α of α / r |
///
/// `to_out_lora` is the module `to_out.0`, and in a text encoder `to_q_lora` is `q_proj`, `to_out_lora` `out_proj`.
///
/// The scale: `lora_adapter_metadata` in the container's metadata holds PEFT's config of each component, its keys with
/// the component's name in front. Without it, α / r where the module has an `alpha`, and else 1: each module with its
/// own rank, as `get_peft_kwargs` has it since mixed ranks are right there.
///
/// An `alpha` that contradicts the metadata is refused, as diffusers refuses files with both.
///
/// Source: src/diffusers/utils/state_dict_utils.py (`UNET_TO_DIFFUSERS`, `DIFFUSERS_OLD_TO_PEFT`), `get_peft_kwargs` in
/// utils/peft_utils.py, `_pack_dict_with_prefix` in loaders/lora_base.py.
struct Diffusers: Dialect {
    let name = "diffusers"

    static let components = [
        "unet", "transformer", "transformer_2", "text_encoder", "text_encoder_2", "text_encoder_3", "diffusion_model",
        "prior", "controlnet", "image_encoder",
    ]

    /// First names below `transformer.` in language models, whose bare files are not of diffusers.
    private static let languageModels: Set<String> = ["h", "wte", "wpe", "word_embeddings", "ln_f"]

    func recognises(_ file: DialectFile) -> Bool {
        guard !file.tensors.isEmpty, file.config == nil || file.config?.json["_class_name"] != nil else { return false }
        if isOfModel(file) || isBare(file) { return true }
        var hasOld = false
        for info in file.tensors {
            guard let key = Diffusers.key(info.name) else { return false }
            if key.component == nil {
                guard key.isOld else { return false }
                hasOld = true
            }
            if key.component == "transformer",
                let first = key.module.dottedComponents.first, Diffusers.languageModels.contains(String(first))
            {
                return false
            }
        }
        // Names without a component are diffusers' only in the form of attention processors.
        return hasOld || file.tensors.contains { Diffusers.key($0.name)?.component != nil }
    }

    /// Whether the file is of one model, `save_lora_adapter` of `PeftAdapterMixin` in src/diffusers/loaders/peft.py: its keys begin with the
    /// model's own modules, and PEFT's config stands in the metadata with no component before its keys.
    private func isOfModel(_ file: DialectFile) -> Bool {
        guard DiffusersMetadata.isOfModel(file) else { return false }
        return file.tensors.allSatisfy { info in Diffusers.key(info.name).map { $0.component == nil && !$0.isOld } ?? false }
    }

    /// Whether the file is of a diffusion transformer with nothing before the names of its blocks: as Lightning's files of Qwen-Image and
    /// DiffSynth's of Wan are, as Black Forest Labs writes FLUX.1's, or behind PEFT's front without a config, as fal does. ComfyUI takes such names
    /// for every model, diffusers for those whose converter does not ask for a front.
    ///
    /// The scale is α / r where there is an `alpha`, and else 1, which both take.
    ///
    /// Source: `model_lora_keys_unet` in comfy/lora.py of ComfyUI (the "generic lora format"), `LoRAAdapter.calculate_weight` in
    /// comfy/weight_adapter/lora.py; `_convert_non_diffusers_qwen_lora_to_diffusers`, `_convert_bfl_flux_control_lora_to_diffusers`,
    /// `_convert_fal_kontext_lora_to_diffusers` in loaders/lora_conversion_utils.py of diffusers; src/flux/modules/lora.py of
    /// black-forest-labs/flux; `GeneralLoRALoader.get_name_dict` in diffsynth/lora of DiffSynth-Studio.
    private func isBare(_ file: DialectFile) -> Bool {
        var hasBlock = false
        for info in file.tensors {
            guard let key = Diffusers.key(info.name), key.component == nil, !key.isOld else { return false }
            hasBlock = hasBlock || info.name.text.hasPrefix(Diffusers.diffSynthFront) || DiffusersLayers.isInBlock(key.module)
        }
        return hasBlock
    }

    /// DiffSynth's front of the denoiser, whatever its blocks are called.
    private static let diffSynthFront = "pipe.dit."

    private struct Key {
        var component: String?
        var module: String
        /// `lora_A.weight`, or a name of LyCORIS' vocabulary.
        var tensor: String
        var isOld = false
    }

    /// What stands for a factor at the end of a name.
    private static let suffixes: [(suffix: String, tensor: String)] = [
        (".lora_A.weight", "lora_A.weight"), (".lora_B.weight", "lora_B.weight"), (".lora_B.bias", "lora_B.bias"),
        (".lora_magnitude_vector.weight", "lora_magnitude_vector"), (".lora_magnitude_vector", "lora_magnitude_vector"),
        (".lora.down.weight", "lora_A.weight"), (".lora.up.weight", "lora_B.weight"),
        (".lora_linear_layer.down.weight", "lora_A.weight"), (".lora_linear_layer.up.weight", "lora_B.weight"),
        ("_lora.down.weight", "lora_A.weight"), ("_lora.up.weight", "lora_B.weight"),
        (".lora_down.weight", "lora_A.weight"), (".lora_up.weight", "lora_B.weight"),
        // PEFT's name of the adapter, which DiffSynth leaves in.
        (".lora_A.default.weight", "lora_A.weight"), (".lora_B.default.weight", "lora_B.weight"), (".lora_B.default.bias", "lora_B.bias"),
    ]

    /// How names of FLUX.1's and FLUX.2's repositories begin, which may stand behind PEFT's front without a config.
    ///
    /// Source: `is_fal_kontext` in `FluxLoraLoaderMixin.lora_state_dict`, `is_peft_format` in `Flux2LoraLoaderMixin.lora_state_dict`.
    private static let fluxFronts = [
        "double_blocks.", "single_blocks.", "img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in.", "final_layer.",
        "double_stream_modulation_img.", "double_stream_modulation_txt.", "single_stream_modulation.",
    ]

    private static func key(_ name: ExactString) -> Key? {
        var text = name.text
        if text.hasPrefix(diffSynthFront) { text = String(text.dropFirst(diffSynthFront.count)) }
        let front = "base_model.model."
        if text.hasPrefix(front), fluxFronts.contains(where: text.dropFirst(front.count).hasPrefix) { text = String(text.dropFirst(front.count)) }
        let component = components.first { text.hasPrefix($0 + ".") }
        if let component { text = String(text.dropFirst(component.count + 1)) }
        if let (suffix, tensor) = suffixes.first(where: { text.hasSuffix($0.suffix) }) {
            let module = String(text.dropLast(suffix.count))
            guard !module.isEmpty else { return nil }
            guard suffix.hasPrefix("_lora.") else { return Key(component: component, module: module, tensor: tensor) }
            let isEncoder = component?.hasPrefix("text_encoder") == true
            guard let own = processorModule(module, isEncoder: isEncoder) else { return nil }
            return Key(component: component, module: own, tensor: tensor, isOld: true)
        }
        if text.hasSuffix(".alpha") {
            let module = String(text.dropLast(".alpha".count))
            for ending in [".lora", ".lora_linear_layer", ""] where module.hasSuffix(ending) {
                return Key(component: component, module: String(module.dropLast(ending.count)), tensor: "alpha")
            }
        }
        // lightx2v's extraction: the difference of a parameter without a module of its own.
        if text.hasSuffix(".diff_m") {
            return Key(component: component, module: text.dropLast("diff_m".count) + "modulation", tensor: "diff")
        }
        // Norms of FLUX.1 in its own repository, whole.
        if text.hasSuffix("_norm.scale"), LayerTable.flux.isOwn(String(text.dropLast(".scale".count))) {
            return Key(component: component, module: String(text.dropLast(".scale".count)), tensor: "set_weight")
        }
        for tensor in LycorisModule.tensorNames.sorted() where text.hasSuffix("." + tensor) {
            return Key(component: component, module: String(text.dropLast(tensor.count + 1)), tensor: tensor)
        }
        return nil
    }

    /// `….processor.to_q` of `….processor.to_q_lora`, under the name of the layer that it acts on.
    private static func processorModule(_ module: String, isEncoder: Bool) -> String? {
        var parts = module.dottedComponents.map(String.init)
        guard let last = parts.popLast() else { return nil }
        if parts.last == "processor" { parts.removeLast() }
        let own: String
        switch (last, isEncoder) {
        case ("to_out", false): own = "to_out.0"
        case ("to_q", true): own = "q_proj"
        case ("to_k", true): own = "k_proj"
        case ("to_v", true): own = "v_proj"
        case ("to_out", true): own = "out_proj"
        case ("to_q", false), ("to_k", false), ("to_v", false): own = last
        default: return nil
        }
        return (parts + [own]).joined(separator: ".")
    }

    func takesScale(_ file: DialectFile) -> Bool { isBare(file) }

    /// Whether a file that has no scale of its own is of a language model: the base says which one of transformers it is, and the file names no
    /// text encoder of a pipeline. `transformer.encoder.layers.0` of ChatGLM and `blocks.0.ffn` of RWKV begin as names of diffusers do.
    static func isOfLanguageModel(_ file: DialectFile, _ base: BaseDirectory) -> Bool {
        guard !base.modelTypes.isEmpty, file.metadata("lora_adapter_metadata") == nil else { return false }
        return file.tensors.allSatisfy { info in
            guard let key = key(info.name), !key.isOld, key.tensor != "alpha" else { return false }
            return key.component == nil || key.component == "transformer"
        }
    }

    func openQuestions(_ file: DialectFile) -> Set<OpenQuestion> {
        isBare(file) && !file.tensors.contains { $0.name.text.hasSuffix(".alpha") } ? [.scale] : []
    }

    func read(_ file: DialectFile, context: DialectContext) throws -> DialectReading {
        struct Slot: Hashable {
            let component: String
            let module: ExactString
        }
        var order: [Slot] = []
        var tensors: [Slot: [String: TensorInfo]] = [:]
        var isOld = false
        let isBare = isBare(file)
        let ofModel = isBare || isOfModel(file)
        for info in file.tensors {
            guard let key = Diffusers.key(info.name) else { continue }
            isOld = isOld || key.isOld || !key.tensor.hasPrefix("lora_A") && !key.tensor.hasPrefix("lora_B")
            let slot = Slot(component: key.component ?? (ofModel ? "" : "unet"), module: ExactString(key.module))
            if tensors[slot] == nil { order.append(slot) }
            if let other = tensors[slot, default: [:]].updateValue(info, forKey: key.tensor) {
                throw file.refusal("means the same as \"\(other.name.text.printable)\"", info.name, rule: "AmbiguousKey")
            }
        }
        let configs = try DiffusersMetadata(file)
        var reading = DialectReading()
        for slot in order {
            var own = tensors[slot] ?? [:]
            let bias = LycorisModule.separateBias(&own)
            defer { reading.addBias(bias) }
            let component = slot.component.isEmpty ? nil : slot.component
            guard let a = own["lora_A.weight"], let b = own["lora_B.weight"] else {
                // Anything but two plain factors is in LyCORIS' vocabulary.
                if let half = own["lora_A.weight"] ?? own["lora_B.weight"] {
                    throw file.refusal(
                        "module \"\(slot.module)\" has half of a pair", half.name, rule: "MissingPair",
                        help: "save the adapter again; half of a pair is no update")
                }
                var lycoris = LycorisModule(name: "\(slot.component).\(slot.module)", tensors: own)
                reading.modules.append(
                    try lycoris.read(file, as: slot.module, naming: .path, component: component))
                reading.consumed += lycoris.consumed
                continue
            }
            if own["lora_mid.weight"] != nil || own["dora_scale"] != nil {
                (own["lora_down.weight"], own["lora_up.weight"]) = (a, b)
                (own["lora_A.weight"], own["lora_B.weight"]) = (nil, nil)
                var lycoris = LycorisModule(name: "\(slot.component).\(slot.module)", tensors: own)
                reading.modules.append(
                    try lycoris.read(file, as: slot.module, naming: .path, component: component))
                reading.consumed += lycoris.consumed
                continue
            }
            var module = DialectModule(name: slot.module, naming: .path, component: component, form: .lora)
            module.add("lora_A", "weight", TensorView(a))
            module.add("lora_B", "weight", TensorView(b))
            if let bias = own["lora_B.bias"] { module.add("lora_B", "bias", TensorView(bias)) }
            if let magnitude = own["lora_magnitude_vector"] {
                module.form = .dora
                module.add("lora_magnitude_vector", "", TensorView(magnitude))
            }
            guard let rank = a.shape.first, rank > 0 else {
                throw file.refusal("has shape \(a.shape)", a.name, rule: "FactorShape")
            }
            module.scale = try configs.scale(of: slot.module, component: slot.component, rank: rank, tensor: a.name)
            if isBare, let scale = context.options.scale { module.scale = ModuleScale(rank: rank, value: scale) }
            if let info = own["alpha"] {
                reading.consumed.append((info.name, "its number is in the scale"))
                let own = ModuleScale(rank: rank, alpha: try file.number(info), dtype: info.dtype)
                // diffusers takes one or the other: "`network_alphas` and `metadata` cannot be specified both at the same time".
                if configs.describes(slot.component), let said = module.scale, said.value != own.value {
                    throw file.refusal(
                        "gives module \"\(slot.module)\" the scale \(own.value), and lora_adapter_metadata \(said.value)", info.name,
                        rule: "AlphaValue", help: "remove the one that the training did not have")
                }
                module.scale = own
            }
            let known: Set<String> = ["lora_A.weight", "lora_B.weight", "lora_B.bias", "lora_magnitude_vector", "alpha"]
            if let left = own.filter({ !known.contains($0.key) }).values.map(\.name).min() {
                throw file.refusal("has no part in LoRA of module \"\(slot.module)\"", left, rule: "UnclaimedTensor")
            }
            reading.modules.append(module)
        }
        return reading
    }
}

/// `lora_adapter_metadata`: PEFT's config of each component.
///
/// Source: `_pack_dict_with_prefix` and `save_lora_weights` in src/diffusers/loaders/lora_base.py.
struct DiffusersMetadata {
    private let configs: [String: (json: AdapterConfig, config: LoRAConfig)]
    private let path: String

    init(_ file: DialectFile) throws {
        path = file.path
        guard let text = file.metadata("lora_adapter_metadata") else {
            configs = [:]
            return
        }
        guard case .object(let object) = try JSONValue.parse(Array(text.utf8), file: file.path, allowing: .python) else {
            throw file.refusal("lora_adapter_metadata is no JSON object", nil, rule: "ConfigObject")
        }
        var members: [String: JSONObject] = [:]
        if DiffusersMetadata.isOfModel(object) { members[""] = object }
        for member in object.members where members[""] == nil {
            guard let component = Diffusers.components.first(where: { member.key.text.hasPrefix($0 + ".") }) else {
                throw file.refusal(
                    "lora_adapter_metadata has \"\(member.key.text.printable)\", which names no component", nil,
                    rule: "UnknownConfigKey")
            }
            members[component, default: [:]][ExactString(String(member.key.text.dropFirst(component.count + 1)))] =
                member.value
        }
        var configs: [String: (json: AdapterConfig, config: LoRAConfig)] = [:]
        for (component, json) in members {
            let config = try AdapterConfig(json: json, path: file.path)
            try config.requireKnownKeys(LoRA().configKeys)
            configs[component] = (config, try LoRAConfig(config, options: BindingOptions()))
        }
        self.configs = configs
    }

    /// Whether the metadata holds the config of one model: `peft_type` without a component before it.
    static func isOfModel(_ file: DialectFile) -> Bool {
        guard let text = file.metadata("lora_adapter_metadata"),
            case .object(let object)? = try? JSONValue.parse(Array(text.utf8), file: file.path, allowing: .python)
        else { return false }
        return isOfModel(object)
    }

    private static func isOfModel(_ object: JSONObject) -> Bool { object["peft_type"] != nil }

    /// Whether there is a config of the component.
    func describes(_ component: String) -> Bool { configs[component] != nil }

    /// The scale that the component's config gives a module; 1 where there is none.
    func scale(of module: ExactString, component: String, rank: Int, tensor: ExactString) throws -> ModuleScale {
        guard let (_, config) = configs[component] else { return ModuleScale(rank: rank, alpha: Double(rank)) }
        let configured = config.rank(for: module.text)
        guard configured == rank || !config.hasConfiguredRank else {
            throw PeftfileError(
                .refused, "has rank \(rank), and lora_adapter_metadata says \(configured): the scale would be wrong",
                file: path, tensor: tensor, rule: "RankMismatch", help: "correct the metadata, or remove it to have scale 1")
        }
        var scale = ModuleScale(rank: rank, alpha: config.alpha(for: module.text))
        if config.usesRankStabilisedScale { scale.value = scale.alpha.map { $0 / Double(rank).squareRoot() } ?? scale.value }
        return scale
    }
}

import Adapters
import ByteAccess
import Checkpoints
import Containers

/// What the parts of a pipeline are called in the file that is written.
///
/// A part keeps its name within a dialect, and gets the other vocabulary's between two (``PipelineComponent``). A file of
/// one model names no part: then it is the one that the caller gives, else the denoiser, or the first text encoder where all
/// modules lie below `text_model`, or base or adapter say that it is CLIP's text model, which transformers 5 has without that front.
struct ComponentNames {
    private let target: ConversionTarget
    private let given: GivenNames
    private let isTransformer: Bool
    private let hasSeveralEncoders: Bool
    private let unnamed: PipelineComponent
    private let isLarge: Bool
    private let t5: T5Encoder
    /// Whether the denoiser is FLUX.1 under diffusers' names, whose layers kohya's files name and cut otherwise.
    let isFlux: Bool
    /// Whether what is written has the names that sd-scripts' network for FLUX.1 has, from whatever dialect.
    let isTrainedAsFlux: Bool
    /// Whether names were found in a model of diffusers.
    private let isFound: Bool
    private let path: String

    /// - Parameters:
    ///   - modules: what is written: the component that the file names, and the path below it.
    ///   - components: all components that the file names.
    /// - Throws: `.usage` where a given name is none of the target's, or would be that of several parts.
    init(
        _ target: ConversionTarget, given: String?, modules: [(component: String?, own: ExactString, width: Int?)], components: [String],
        bases: [PipelineBase], adapter: Adapter
    ) throws {
        self.target = target
        path = adapter.path
        let known = components + bases.compactMap(\.component)
        isTransformer = known.contains { ["transformer", "lora_transformer"].contains($0) }
            || bases.contains { base in
                let name = base.checkpoint.config?["_class_name"]?.stringValue ?? ""
                return name.hasSuffix("Transformer2DModel") || name.hasSuffix("Transformer3DModel") || name.hasSuffix("TransformerModel")
            }
            || modules.contains { module in
                ["transformer_blocks.", "single_transformer_blocks.", "blocks.", "double_blocks.", "single_blocks.", "joint_blocks."]
                    .contains(where: module.own.text.hasPrefix) || PipelineComponent.isTransformerPath(module.own.text)
            }
        isFlux = target == .kohya && FluxModel.isOne(modules.map { ($0.component, $0.own) }, bases, adapter)
        isTrainedAsFlux = isFlux || PipelineComponent.areFluxPaths(modules.filter { $0.component.map { PipelineComponent($0) == .denoiser } ?? true }.map(\.own.text))
        t5 = T5Encoder(modules.map { ($0.component, $0.own.text) }, bases, adapter)
        isLarge = !isTransformer && LargeDiffusion.isOne(modules, bases, adapter)
        isFound = bases.contains { base in
            base.component.map { PipelineComponent($0) == .denoiser } ?? (base.checkpoint.config?["_class_name"] != nil)
        }
        hasSeveralEncoders = isTransformer || isLarge
            || known.contains { ![PipelineComponent.denoiser, .textEncoder(1)].contains(PipelineComponent($0)) && BaseParts.isEncoder($0) }
        let isEncoder = modules.allSatisfy { $0.own.text.hasPrefix("text_model.") } || BaseParts.isTextModel(bases, adapter)
        unnamed = isEncoder ? .textEncoder(1) : .denoiser
        self.given = try GivenNames(given ?? "", parts: modules.map(\.component), path: path)
    }

    /// The name of a component of the file, or of what it does not name.
    ///
    /// - Throws: `.refused` where the target has no name for it.
    func name(of component: String?) throws -> String {
        let isOwn = target == .kohya ? PipelineComponent.isKohya : PipelineComponent.isWrittenByDiffusers
        let given = given.name(of: component)
        if let given, isOwn(given) { return given }
        if given == nil, let component, isOwn(component) { return component }
        let part = given.map { PipelineComponent($0) } ?? component.map { PipelineComponent($0) } ?? unnamed
        switch (t5.part(part, of: component, in: target), target) {
        case (.denoiser, .kohya): return "lora_unet"
        case (.denoiser, _): return isTransformer ? "transformer" : "unet"
        case (.textEncoder(1), .kohya): return hasSeveralEncoders ? "lora_te1" : "lora_te"
        case (.textEncoder(let number), .kohya) where number <= 3: return "lora_te\(number)"
        case (.textEncoder(1), _): return "text_encoder"
        case (.textEncoder(let number), _) where number <= 3: return "text_encoder_\(number)"
        default:
            throw PeftfileError(
                .refused, "its component \((component ?? given ?? "").printable) has no name in \(target.rawValue)'s dialect", file: path,
                rule: "NotConvertible", help: "take another with --component, or name it: --as lora_unet")
        }
    }

    /// The name of a module in kohya's files.
    ///
    /// - Throws: `.refused` where they have none for its component.
    func underscored(_ own: ExactString, _ component: String?) throws -> String {
        try name(of: component) + "_" + String(path(of: own, component: component).map { $0 == "." ? "_" : $0 })
    }

    /// The layer of the model's own repository that a module is, or is a part of, where kohya's files have that.
    func layer(of own: ExactString, _ component: String?) -> OriginalLayer? {
        guard isFlux, (component.map { PipelineComponent($0) } ?? unnamed) == .denoiser else { return nil }
        return OriginalLayer(flux: own.text)
    }

    /// The path of a module below its component.
    ///
    /// - Throws: `.refused` where diffusers has other layers than the model's own repository, or nothing tells that it has this one.
    func path(of own: ExactString, component: String?) throws -> String {
        let part = (component ?? given.name(of: nil)).map { PipelineComponent($0) } ?? unnamed
        if target == .kohya {
            // Within a dialect a name stays.
            if let component, PipelineComponent.isKohya(component) {
                if case .textEncoder = part { return PipelineComponent.transformersPath(own.text) }
                return own.text
            }
            return layer(of: own, component)?.name ?? PipelineComponent.kohyaPath(own.text, of: part, isLarge: isLarge)
        }
        let isOwn = component.map { PipelineComponent.isWrittenByDiffusers($0) } ?? false
        let path = isOwn ? own.text : PipelineComponent.diffusersPath(own.text)
        if case .textEncoder = part { return PipelineComponent.transformersPath(path) }
        guard part == .denoiser, !isFound else { return path }
        let isForeign = PipelineComponent.isOriginalPath(path) || component != nil && !isOwn && !PipelineComponent.isDiffusersPath(path)
        guard !isForeign else {
            throw PeftfileError(
                .refused,
                "module \"\(own)\" has a name of the model's own repository, and what diffusers has in its place is not known: no loader of it "
                    + "would find the name", file: self.path, rule: "NotConvertible",
                help: "name the model as diffusers has it: --base PIPELINE; or keep the dialect that it is in")
        }
        return path
    }
}

/// What the caller calls the parts: one name for all that is written, or `PART=NAME` for each, with commas between.
private struct GivenNames {
    private var single: String?
    private var named: [String: String] = [:]

    init(_ text: String, parts: [String?], path: String) throws {
        let known = parts.reduce(into: [String]()) { known, part in
            if let part, !known.contains(part) { known.append(part) }
        }
        for entry in text.split(separator: ",").map(String.init) {
            let sides = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let name = sides[sides.count - 1]
            guard PipelineComponent.isKohya(name) || PipelineComponent.isDiffusers(name) else {
                throw PeftfileError(
                    .usage, "--as \(entry): a component's name is needed", file: path, rule: "ComponentName",
                    help: "unet, transformer, text_encoder, text_encoder_2, or kohya's lora_unet, lora_te, lora_te1, lora_te2")
            }
            guard sides.count == 2 else {
                single = name
                continue
            }
            let own = known.filter { $0 == sides[0] || !known.contains(sides[0]) && PipelineComponent($0) == PipelineComponent(sides[0]) }
            guard own.count == 1 else {
                throw PeftfileError(
                    .usage, "--as \(entry): the adapter has \(known.isEmpty ? "no components" : known.joined(separator: ", "))", file: path,
                    rule: "ComponentName")
            }
            named[own[0]] = name
        }
        let several = Set(parts).count
        if let single, several > 1 || !named.isEmpty {
            throw PeftfileError(
                .usage, "--as \(single) is one name, and what is written is of \(several) components", file: path, rule: "ComponentName",
                help: "name each, --as \(known.map { "\($0)=\(single)" }.first ?? "PART=NAME"), or take one with --component")
        }
        if Set(named.values).count < named.count {
            throw PeftfileError(
                .usage, "--as \(text): two components would have one name", file: path, rule: "ComponentName", help: "name them apart")
        }
    }

    func name(of component: String?) -> String? { component.flatMap { named[$0] } ?? single }
}

/// Stable Diffusion XL, whose first text encoder is `lora_te1` even where the second has no LoRA.
private enum LargeDiffusion {
    /// Whether anything says so: a base, the trainer's metadata, or the UNet itself, which alone has several transformer
    /// blocks in one attention and text 2048 wide.
    ///
    /// Source: unet/config.json of stabilityai/stable-diffusion-xl-base-1.0 (`transformer_layers_per_block`,
    /// `cross_attention_dim`); `LoRANetwork.__init__` in networks/lora.py of sd-scripts, which counts encoders where it is given two.
    static func isOne(
        _ modules: [(component: String?, own: ExactString, width: Int?)], _ bases: [PipelineBase], _ adapter: Adapter
    ) -> Bool {
        if bases.contains(where: { $0.checkpoint.config?["addition_embed_type"]?.stringValue == "text_time" }) { return true }
        // A whole SDXL in one file has OpenCLIP's text encoder behind the first.
        if bases.contains(where: { base in base.checkpoint.tensors.contains { $0.name.text.hasPrefix("conditioner.embedders.1.") } }) { return true }
        let entries = adapter.checkpoint.shards.flatMap { $0.file.metadata ?? [] }
        let said = entries.contains { entry in
            entry.key == "modelspec.architecture" && entry.value.hasPrefix("stable-diffusion-xl")
                || entry.key == "ss_base_model_version" && entry.value.hasPrefix("sdxl")
        }
        return said || modules.contains { module in
            let parts = module.own.text.split { $0 == "." || $0 == "_" }
            guard let first = parts.first, ["down", "up", "mid", "input", "output", "middle"].contains(first) else { return false }
            let isDeep = zip(parts, parts.dropFirst(2)).contains { $0 == "transformer" && (Int($1) ?? 0) > 0 }
            let readsText = parts.contains("attn2") && (parts.last == "k" || parts.last == "v")
            return isDeep || readsText && module.width == 2048
        }
    }
}

private enum BaseParts {
    static func isEncoder(_ name: String) -> Bool {
        if case .textEncoder = PipelineComponent(name) { return true }
        return false
    }

    /// Whether the one base is CLIP's text model by its config.json, or where there is none the adapter was trained on it by its own.
    static func isTextModel(_ bases: [PipelineBase], _ adapter: Adapter) -> Bool {
        let classes: Set<String> = ["CLIPTextModel", "CLIPTextModelWithProjection"]
        guard let base = bases.first else {
            return adapter.config?["auto_mapping"]?["base_model_class"]?.stringValue.map(classes.contains) ?? false
        }
        let config = base.checkpoint.config
        return bases.count == 1
            && (config?["model_type"]?.stringValue == "clip_text_model"
                || config?["architectures"]?.arrayValue?.contains { $0.stringValue.map(classes.contains) ?? false } ?? false)
    }
}

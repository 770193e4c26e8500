import Adapters
import ByteAccess
import Checkpoints

/// What the parts of a pipeline are called in the file that is written.
///
/// A part keeps its name within a dialect, and gets the other vocabulary's between two (``PipelineComponent``). A file of
/// one model names no part: then it is the one that the caller gives, else the denoiser, or the first text encoder where all
/// modules lie below `text_model`.
struct ComponentNames {
    private let target: ConversionTarget
    private let given: String?
    private let isTransformer: Bool
    private let hasSeveralEncoders: Bool
    private let unnamed: PipelineComponent
    private let path: String

    /// - Parameters:
    ///   - modules: what is written: the component that the file names, and the path below it.
    ///   - components: all components that the file names.
    /// - Throws: `.usage` where a given name is none of the target's, or would be that of several parts.
    init(
        _ target: ConversionTarget, given: String?, modules: [(component: String?, own: ExactString)], components: [String],
        bases: [PipelineBase], path: String
    ) throws {
        self.target = target
        self.given = given
        self.path = path
        let known = components + bases.compactMap(\.component)
        isTransformer = known.contains { ["transformer", "lora_transformer"].contains($0) }
            || bases.contains { base in
                let name = base.checkpoint.config?["_class_name"]?.stringValue ?? ""
                return name.hasSuffix("Transformer2DModel") || name.hasSuffix("Transformer3DModel") || name.hasSuffix("TransformerModel")
            }
            || modules.contains { module in
                ["transformer_blocks.", "single_transformer_blocks."].contains(where: module.own.text.hasPrefix)
            }
        hasSeveralEncoders = isTransformer
            || known.contains { ![PipelineComponent.denoiser, .textEncoder(1)].contains(PipelineComponent($0)) && BaseParts.isEncoder($0) }
        unnamed = modules.allSatisfy { $0.own.text.hasPrefix("text_model.") } ? .textEncoder(1) : .denoiser
        guard let given else { return }
        guard PipelineComponent.isKohya(given) || PipelineComponent.isDiffusers(given) else {
            throw PeftfileError(
                .usage, "--as \(given): a component's name is needed", file: path, rule: "ComponentName",
                help: "unet, transformer, text_encoder, text_encoder_2, or kohya's lora_unet, lora_te, lora_te1, lora_te2")
        }
        let parts = Set(modules.map(\.component))
        if parts.count > 1 {
            throw PeftfileError(
                .usage, "--as \(given) is one name, and what is written is of \(parts.count) components", file: path, rule: "ComponentName",
                help: "take one of them with --component, or leave --as out: each component keeps its own")
        }
    }

    /// The name of a component of the file, or of what it does not name.
    ///
    /// - Throws: `.refused` where the target has no name for it.
    func name(of component: String?) throws -> String {
        let isOwn = target == .kohya ? PipelineComponent.isKohya : PipelineComponent.isDiffusers
        if let given, isOwn(given) { return given }
        if given == nil, let component, isOwn(component) { return component }
        let part = given.map { PipelineComponent($0) } ?? component.map { PipelineComponent($0) } ?? unnamed
        switch (part, target) {
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

    /// The path of a module below its component.
    ///
    /// - Throws: `.refused` where diffusers cuts the model into other layers.
    func path(of own: ExactString, component: String?) throws -> String {
        guard target == .diffusers, component.map({ !PipelineComponent.isDiffusers($0) }) ?? true else { return own.text }
        if ["double_blocks.", "single_blocks.", "joint_blocks."].contains(where: own.text.hasPrefix) {
            throw PeftfileError(
                .refused, "module \"\(own)\" is a layer as the model's own repository cuts it; diffusers has others in its place", file: path,
                rule: "NotConvertible", help: "merge it instead, or keep the dialect that it is in")
        }
        return PipelineComponent.diffusersPath(own.text)
    }
}

private enum BaseParts {
    static func isEncoder(_ name: String) -> Bool {
        if case .textEncoder = PipelineComponent(name) { return true }
        return false
    }
}

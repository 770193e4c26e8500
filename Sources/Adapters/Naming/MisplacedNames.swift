public import ByteAccess
public import Checkpoints
import Tensors

/// Names of an adapter that stand a level too deep, too high, or in another family's place: a merge finds by them what was meant,
/// and PEFT nothing.
///
/// PEFT looks its keys up in the module tree as they stand: what is not there is an unexpected key, of which it warns
/// (`set_peft_model_state_dict` in peft/utils/save_and_load.py, `load_state_dict(…, strict=False)`). The tree of a class with a head
/// has the bare model under its `base_model_prefix` (`model.layers`), that of the bare model has not (`layers`), and only multimodal
/// models have a level for their language model, which has had several names (`MultimodalStyle`): those are not told apart here.
public struct MisplacedNames: Sendable {
    /// A tensor of such a name.
    public struct Entry: Sendable {
        /// As the file names it.
        public var tensor: ExactString
        /// Its module, as the name says it.
        public var module: ExactString
        /// The module in memory.
        public var place: ExactString
        /// Whether no other model can be meant: somebody's own class may have any names, and where the config names no class,
        /// names without a prefix may be the bare model's.
        public var isCertain: Bool
    }

    /// In file order.
    public private(set) var entries: [Entry] = []
    /// The class that the adapter was trained on, for messages.
    public let className: String

    /// - Returns: nil where the names are not PEFT's, or the base does not tell their places.
    public init?(_ adapter: Adapter, base: Checkpoint) {
        guard adapter.dialect == nil, let config = adapter.config, config.peftType != nil,
            let view = try? BaseView(base: base, adapters: [adapter])
        else { return nil }
        let keys = adapter.keys.filter { $0.hadPrefix && !$0.isPrompt && $0.depth == 0 && !$0.module.text.isEmpty }
        let requests = keys.map { key in
            ParameterRequest(
                module: key.module, parameter: key.component == nil ? .named(key.leaf) : .weight,
                isEmbedding: key.component?.utf8Contains("embedding") ?? false)
        }
        var seen: Set<ParameterRequest> = []
        let resolver = NameResolver(base: view.directory)
        guard let found = try? resolver.survey(requests.filter { seen.insert($0).inserted }) else { return nil }
        let placed = zip(keys, requests).filter { found.places[$1] != nil }
        let tree = ModuleTree(view.directory, MemoryClass(config), form: found.form, modules: placed.map(\.0.module.text))
        className = tree.loadingClass.name
        for (key, request) in placed {
            let isStored = request.tensorNames.contains { view.directory.shape($0.tensor) != nil }
            guard let place = tree.place(of: key.module.text, isStored: isStored) else { continue }
            entries.append(
                Entry(tensor: key.stored, module: key.module, place: ExactString(place.path), isCertain: place.isCertain))
        }
    }
}

/// The fronts that names have in the model that an adapter is loaded into.
private struct ModuleTree {
    let loadingClass: MemoryClass
    private let directory: BaseDirectory
    private let form: PrefixForm
    private let isMultimodal: Bool
    /// Whether some names have the prefix that the form adds to others: no class has the bare model in both places.
    private let isMixed: Bool

    init(_ directory: BaseDirectory, _ loadingClass: MemoryClass, form: PrefixForm, modules: [String]) {
        (self.directory, self.loadingClass, self.form) = (directory, loadingClass, form)
        isMultimodal = directory.visionModelType != nil || directory.textModelType != nil
            // The language model of one, as a class of its own.
            || directory.modelType?.hasSuffix("_text") == true
            || directory.names.contains { name in name.text.dottedComponents.contains { ModuleTree.parts.contains(String($0)) } }
        if case .adding(let prefix) = form.kind {
            let layers = modules.filter { LayerPath($0) != nil }
            isMixed = layers.contains { $0.hasPrefix(prefix + ".") } && layers.contains { !$0.hasPrefix(prefix + ".") }
        } else {
            isMixed = false
        }
    }

    /// Components that multimodal models alone have.
    private static let parts = Set(MultimodalStyle.parts + ["language_model", "text_model", "audio_tower"])

    /// Where the class has the module, if not under this name.
    ///
    /// - Parameter isStored: whether the base has the name as it stands.
    func place(of module: String, isStored: Bool) -> (path: String, isCertain: Bool)? {
        guard let path = path(of: module, isStored: isStored) else { return nil }
        switch (loadingClass, form.kind) {
        case (.custom, _): return (path, false)
        case (.unknown, .adding): return (path, isMixed)
        default: return (path, true)
        }
    }

    private func path(of module: String, isStored: Bool) -> String? {
        if isStored {
            // Files of the bare model, in which a class with a head has each layer a level deeper.
            guard case .head = loadingClass else { return nil }
            return directory.pathUnderHead(of: module)
        }
        let formed = form.apply(module)
        guard formed != module else { return nil }
        switch form.kind {
        case .kept: return nil
        case .restyling: return isMultimodal ? nil : formed
        case .dropping(let prefix):
            guard module.hasPrefix(prefix + "."), !BasePrefixes.optional.contains(prefix) else { return nil }
            if formed.hasPrefix(prefix + ".") { return formed }
            if isMultimodal { return nil }
            if case .bare = loadingClass { return formed }
            return baseHas(prefix) ? formed : nil
        case .adding(let prefix):
            guard !isMultimodal, !BasePrefixes.optional.contains(prefix) else { return nil }
            if case .bare = loadingClass, !isMixed { return nil }
            return formed
        }
    }

    private func baseHas(_ prefix: String) -> Bool { directory.names.contains { $0.text.hasPrefix(prefix + ".") } }
}

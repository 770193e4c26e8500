public import Adapters
public import ByteAccess
public import Checkpoints
public import Containers
public import Tensors

/// A conversion before anything is written: every tensor of the result with where its numbers come from, the config
/// beside it, and what was changed.
public struct AdapterConversion: Sendable {
    /// One tensor of the result.
    public struct Output: Sendable {
        /// Where its numbers come from.
        public enum Source: Sendable {
            /// The elements of an adapter tensor, or their transpose.
            case tensor(ExactString, transposed: Bool)
            /// The bytes of a stored tensor.
            case copy(StoredTensor)
            /// A number.
            case number(Double)
            /// Adapter tensors one behind the other, each times its factor, read in a shape and with the axes permuted.
            case arranged([(tensor: ExactString, factor: Double)], shape: Shape, axes: [Int])
            /// Rows of an adapter's matrix, those of one range behind those of the one before, times a factor.
            case gathered(ExactString, Double, rows: [Range<Int>])
            /// Matrices of the adapter in places of one that is zero everywhere else.
            case blocks([Block])
        }
        /// A matrix of the adapter, times a factor, and where its first element stands in another.
        public struct Block: Sendable {
            /// The adapter's tensor.
            public var tensor: ExactString
            /// What each element is multiplied with.
            public var factor: Double
            /// The row and the column of its first element.
            public var row: Int, column: Int
            /// So many columns it has.
            public var columns: Int
            /// How far each column stands behind the one before.
            public var step = 1
            /// Whether its rows stand as columns.
            public var isTurned = false
        }
        /// The name in the target's dialect.
        public var name: ExactString
        /// The dtype that is written: the source's.
        public var dtype: DType
        /// The shape that is written.
        public var shape: Shape
        /// Where its numbers come from.
        public var source: Source
    }

    /// What is converted.
    public let adapter: Adapter
    /// The dialect that is written.
    public let target: ConversionTarget
    /// What was said beside it.
    public let options: ConversionOptions
    /// Every tensor of the result.
    public internal(set) var outputs: [Output] = []
    /// `adapter_config.json`, where the dialect has one.
    public internal(set) var config: JSONObject?
    /// `__metadata__` of the result.
    public internal(set) var metadata: [(key: ExactString, value: String)] = [(key: "format", value: "pt")]
    /// The metadata of a GGUF file.
    public internal(set) var ggufMetadata: [(key: ExactString, value: GGUFValue)] = []
    /// What was changed or folded, for the reader.
    public internal(set) var notes: [String] = []
    /// What the reader should know before the result: what was left out, and why.
    public internal(set) var warnings: [String] = []
    /// Tensors of components that no base is, or that were not asked for.
    public internal(set) var leftOut: [(tensor: ExactString, component: String)] = []
    /// Tensors without a part in the result, and why.
    public internal(set) var setAside: [(tensor: ExactString, reason: String)] = []
    /// How the base holds square matrices, where the file has to say so.
    private(set) var squareOrientation: BindingOptions.Orientation?
    /// What lora_B is multiplied by, and the dtype that holds it, by the tensor; its module's scale is 1 then.
    var folded: [ExactString: (factor: Double, dtype: DType)] = [:]

    /// The name of the weights' file.
    public var fileName: String {
        switch target {
        case .peft: "adapter_model.safetensors"
        case .kohya: "adapter.safetensors"
        case .diffusers: "pytorch_lora_weights.safetensors"
        case .mlx: "adapters.safetensors"
        case .gguf: "adapter.gguf"
        }
    }

    /// Plans a conversion.
    ///
    /// - Parameters:
    ///   - base: the base, where names must be found in it.
    ///   - gguf: what names and rows of llama.cpp's files depend on; the base's own where a base is given.
    /// - Throws: `.refused` with the reason where the target cannot hold what the adapter does.
    public init(
        _ adapter: Adapter, to target: ConversionTarget, base: Checkpoint? = nil, gguf: GGUFOptions? = nil
    ) throws {
        try self.init(adapter, to: target, options: ConversionOptions(bases: base.map { [PipelineBase($0)] } ?? [], gguf: gguf))
    }

    /// Plans a conversion.
    ///
    /// - Throws: `.refused` with the reason where the target cannot hold what the adapter does.
    public init(_ adapter: Adapter, to target: ConversionTarget, options: ConversionOptions) throws {
        self.target = target
        self.options = options
        let gguf = options.gguf ?? GGUFOptions(facts: options.bases.first.map { GGUFFacts($0.checkpoint) } ?? GGUFFacts())
        let isPEFT = adapter.dialectName == nil && adapter.config?.peftType != nil
        if let component = options.binding.component, adapter.dialectName == nil {
            throw PeftfileError(
                .usage, "--component \(component): the adapter names no components", file: adapter.path, rule: "Component",
                help: "to name what is written: --as \(component.shellQuoted)")
        }
        if options.componentName != nil, target != .kohya, target != .diffusers {
            throw PeftfileError(
                .usage, "--as with --to \(target.rawValue), whose names have no component", rule: "ComponentName", help: "leave it out")
        }
        if target == .peft, isPEFT {
            self.adapter = adapter
            try repair()
            keepMetadata()
            return
        }
        if target == .peft || target == .kohya,
            let products = try PortableProducts(adapter, bases: options.bases, options: options.binding, toPEFT: target == .peft)
        {
            self.adapter = products.adapter
            (warnings, leftOut, setAside) = (products.warnings, products.leftOut, products.setAside)
            notes += setAside.map { "left out \($0.tensor.text.printable): \($0.reason)" }
            if target == .peft {
                try writePEFT(products)
            } else {
                try writeLycoris(products, names(products.modules.map { ($0.component, $0.own, nil) }, products.components))
            }
            try finish()
            return
        }
        let portable: PortableAdapter
        do {
            portable = try PortableAdapter(
                adapter, bases: options.bases, heads: gguf.facts.heads, options: options.binding,
                names: target == .kohya ? .underscored : target == .diffusers ? .dotted : .inMemory)
        } catch let refusal as PeftfileError where refusal.rule == "NotConvertible" && target == .kohya && options.componentName == nil {
            guard let file = try LycorisFile(adapter, bases: options.bases, options: options.binding) else { throw refusal }
            self.adapter = adapter
            (warnings, leftOut) = (file.warnings, file.leftOut)
            for name in file.tensors {
                guard let stored = adapter.checkpoint[name] else { continue }
                outputs.append(Output(name: name, dtype: stored.dtype, shape: stored.shape, source: .copy(stored)))
            }
            notes.append("each tensor is as it was: methods that other dialects have no form for stay in this one")
            try finish()
            return
        }
        self.adapter = portable.adapter
        (notes, squareOrientation) = (portable.notes, portable.squareOrientation)
        (warnings, leftOut, setAside) = (portable.warnings, portable.leftOut, portable.setAside)
        guard !portable.modules.isEmpty else {
            guard !leftOut.isEmpty else {
                throw PeftfileError(.refused, "holds no update", file: adapter.path, rule: "NotConvertible")
            }
            let asked = options.binding.component.map { $0.split(separator: ",").map { PipelineComponent(String($0)) } }
            let missing = leftOut.filter { asked?.contains(PipelineComponent($0.component)) ?? true }
            let components = Set(missing.map(\.component)).sorted()
            throw PeftfileError(
                .refused, "all of its updates are of \(components.map(\.printable).joined(separator: ", ")), and no base is that",
                file: adapter.path, tensor: missing.first?.tensor, rule: "MissingTarget", help: "name the model that it was trained on: --base BASE")
        }
        if target != .peft, let wrapped = portable.modules.first(where: \.isParameter) {
            throw unable(
                wrapped, "is a stack in the base as well, and other dialects have the matrices one by one",
                help: "merge it instead, or keep it in PEFT's dialect: --to peft")
        }
        try requireSameEmbeddings(portable.modules)
        let names = try names(portable.modules.map { ($0.component, $0.own, $0.a.shape.count == 2 ? $0.a.shape[1] : nil) }, portable.components)
        switch target {
        case .peft: try writePEFT(portable.modules)
        case .kohya: try writeKohya(portable.modules, names)
        case .diffusers: try writeDiffusers(portable.modules, names)
        case .mlx: try writeMLX(portable.modules)
        case .gguf: try writeGGUF(portable.modules, options: gguf)
        }
        try finish()
    }

    private func names(
        _ modules: [(component: String?, own: ExactString, width: Int?)], _ components: [String]
    ) throws -> ComponentNames {
        try ComponentNames(
            target, given: options.componentName, modules: modules, components: components, bases: options.bases, adapter: adapter)
    }

    private mutating func finish() throws {
        warnings += [adapter.stateNote].compactMap { $0 }
        outputs.sort { $0.name < $1.name }
        try requireDistinctNames()
        keepMetadata()
        guard let squareOrientation, target != .peft else { return }
        // PEFT's config has a word for it; no other dialect has.
        let (key, text) = (SquareOrientation.key, squareOrientation.rawValue)
        if target == .gguf { ggufMetadata.append((key, .string(text))) } else { metadata.append((key: key, value: text)) }
        notes.append("square matrices are held as (in, out) by the base: the file's metadata says so, and a merge asks it")
    }

    /// Entries of the source's metadata that are not true of the file that is written: what a dialect says of itself, and
    /// digests of the source.
    private static let ownMetadata: Set<ExactString> = [
        "format", "lora_adapter_metadata", "sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256", SquareOrientation.key,
    ]

    /// What trainers say of an adapter (`ss_*`, `modelspec.*`) goes with it, where both files have metadata.
    private mutating func keepMetadata() {
        guard target != .gguf else { return }
        for shard in adapter.checkpoint.shards where shard.file.kind == .safetensors {
            for entry in shard.file.metadata ?? [] where !Self.ownMetadata.contains(entry.key) {
                if entry.key == "ss_network_module", target != .kohya { continue }
                // The trainer's own name of its network says more than ours.
                if let index = metadata.firstIndex(where: { $0.key == entry.key }) {
                    if target == .kohya { metadata[index].value = entry.value }
                } else {
                    metadata.append((key: entry.key, value: entry.value))
                }
            }
        }
    }

    /// PEFT's own adapter under the names that PEFT loads, and the base has; its config stays.
    private mutating func repair() throws {
        var renamed: [(from: ExactString, to: ExactString)] = []
        let repaired = try RepairedAdapter(adapter, bases: options.bases, options: options.binding, isRepair: true)
        let experts = try UnslothExperts(of: adapter)
        let order = try experts.order(options.binding)
        let stacks = Dictionary(experts.stacks.map { ($0.tensor, $0) }) { first, _ in first }
        for key in repaired.names {
            guard let stored = repaired.adapter.checkpoint[key.stored] else { continue }
            guard let name = key.name else {
                setAside.append((key.stored, "a copy of the base's own parameter"))
                continue
            }
            if name != key.stored { renamed.append((key.stored, name)) }
            var source = Output.Source.copy(stored)
            if order == .expertMajor, let stack = stacks[key.stored] {
                source = .arranged([(stored.name, 1)], shape: [stored.shape[0], stack.experts, stack.rank], axes: [0, 2, 1])
            }
            outputs.append(Output(name: name, dtype: stored.dtype, shape: stored.shape, source: source))
        }
        warnings += [repaired.adapter.stateNote].compactMap { $0 }
        setAside += repaired.debris.map { ($0, "it is the state of a trainer") }
        setAside += adapter.copies.map { ($0, "the same values stand under another name") }
        notes += setAside.map { "dropped \($0.tensor.text.printable): \($0.reason)" }
        notes += renamed.map { "renamed \($0.from.text.printable) to \($0.to.text.printable)" }
        notes += repaired.configNotes
        config = repaired.adapter.config?.json
        if let order {
            // Written in PEFT's order, the columns leave nothing open.
            if var mapping = config?["auto_mapping"]?.objectValue {
                mapping["unsloth_fixed"] = nil
                config?["auto_mapping"] = .object(mapping)
            }
            notes.append(
                "\(stacks.count) stacks of experts by Unsloth, read as \(order.rawValue), are written rank-major as PEFT reads them")
        }
        outputs.sort { $0.name < $1.name }
        try requireDistinctNames()
    }

    private func requireDistinctNames() throws {
        for (first, second) in zip(outputs, outputs.dropFirst()) where first.name == second.name {
            throw PeftfileError(
                .refused, "two tensors would have this name", file: adapter.path, tensor: first.name, rule: "AmbiguousKey")
        }
    }

    // MARK: Dialects

    typealias Module = PortableAdapter.Module

    mutating func add(_ name: String, _ info: TensorInfo, shape: Shape? = nil, transposed: Bool = false) {
        let shape = shape ?? (transposed ? Array(info.shape.reversed()) : info.shape)
        outputs.append(
            Output(name: ExactString(name), dtype: info.dtype, shape: shape, source: .tensor(info.name, transposed: transposed)))
    }

    /// The alpha whose quotient by the rank is the scale, to the last bit.
    static func alpha(for module: Module) throws -> Double {
        try alpha(scale: module.scale, rank: module.rank, near: module.alpha, tensor: module.a.name)
    }

    static func alpha(scale: Double, rank: Int, near known: Double? = nil, tensor: ExactString?) throws -> Double {
        let near = scale * Double(rank)
        for alpha in [near, known ?? near, near.nextUp, near.nextDown] where alpha / Double(rank) == scale { return alpha }
        throw PeftfileError(
            .refused, "is of a module whose scale \(scale) is no quotient of a number by its rank \(rank)", tensor: tensor,
            rule: "NotConvertible")
    }

    /// A whole number without a fraction, as trainers write it.
    static func number(_ value: Double) -> JSONNumber { Int(exactly: value).map { JSONNumber($0) } ?? JSONNumber(value) }

    private static func mostCommon<Value: Hashable & Comparable>(_ values: [Value]) -> Value? {
        let counts = Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +)
        return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }

    /// The commonest rank and alpha, and what differs from them by the whole path.
    static func patterns(
        _ modules: [(path: ExactString, rank: Int, alpha: Double)]
    ) -> (rank: Int, alpha: Double, ranks: JSONObject, alphas: JSONObject) {
        let rank = mostCommon(modules.map(\.rank)) ?? 1
        let alpha = mostCommon(modules.map(\.alpha)) ?? 1
        var (ranks, alphas) = (JSONObject(), JSONObject())
        for module in modules {
            // `^` holds the entry to the whole path: without it `a.b` is also the end of `c.a.b`.
            let key = ExactString("^" + module.path.text.split(separator: ".", omittingEmptySubsequences: false).joined(separator: "\\."))
            if module.rank != rank { ranks[key] = .number(JSONNumber(module.rank)) }
            if module.alpha != alpha { alphas[key] = .number(number(module.alpha)) }
        }
        return (rank, alpha, ranks, alphas)
    }

    func unable(_ module: Module, _ message: String, help: String = "keep it in PEFT's dialect: --to peft") -> PeftfileError {
        PeftfileError(
            .refused, "module \"\(module.path)\" \(message)", file: adapter.path, tensor: module.a.name,
            rule: "NotConvertible", help: help)
    }
}

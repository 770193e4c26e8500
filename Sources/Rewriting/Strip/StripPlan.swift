public import Adapters
public import ByteAccess
public import Checkpoints
import Containers
public import Tensors

/// A strip before it happens: every output file with every byte range, and what each tensor comes from.
///
/// As a ``RewritePlan`` for a merge it is a plain value: nothing is written before all of it is known and accepted.
public struct StripPlan: Sendable {
    /// What an output tensor comes from.
    public enum Content: Sendable {
        /// A prompt, computed in float64 and rounded once.
        case computed(PromptFormula)
        /// A stored tensor, byte for byte.
        case copied(StoredTensor)
    }

    /// One output tensor and the bytes it has in its file.
    public struct Tensor: Sendable {
        /// Name, dtype, shape and byte range in the output file.
        public var info: TensorInfo
        /// Where its elements come from.
        public var content: Content
    }

    /// One output file that holds tensors.
    public struct File: Sendable {
        /// The name in the output directory.
        public var name: String
        /// The first bytes: length, JSON, padding.
        public var header: [UInt8]
        /// The tensors, in the order of their bytes.
        public var tensors: [Tensor]
        /// The size of the whole file.
        public var byteCount: UInt64
    }

    /// What is stripped.
    public let source: PromptSource
    /// Whose names the result has.
    public let layout: StripOptions.Layout
    /// The files with tensors.
    public let files: [File]
    /// The files beside them.
    public let sidecars: [RewritePlan.Sidecar]
    /// Tensors of the source that are not prompts and are not written.
    public let leftOut: [ExactString]
    /// Files of the source that are not written.
    public let filesLeftOut: [String]
    /// The config that is written; nil where the source has none and the layout asks for none.
    public let config: JSONObject?
    /// The options that entered the result, for the receipt.
    public let options: JSONObject
    /// What a reader should know before it is carried out.
    public let warnings: [String]
    /// The same inputs and options give the same 16 hex digits.
    public let id: String

    /// Bytes written, headers and the files beside included.
    public var bytesWritten: UInt64 {
        files.reduce(UInt64(0)) { $0 + $1.byteCount } + sidecars.reduce(0) { $0 + $1.byteCount }
    }
    /// Bytes of the receipt, where no result is NaN or infinite.
    ///
    /// - Parameter hashing: whether it names the SHA-256 of every file.
    public func receiptBytes(hashing: Bool = true) -> UInt64 {
        var receipt = StripReceipt(
            plan: self, digests: hashing ? InputDigests(measuring: source.checkpoint, config: source.config) : nil)
        let digest = hashing ? String(repeating: "0", count: 64) : nil
        for file in files {
            for tensor in file.tensors { if case .computed = tensor.content { receipt.add(tensor: tensor.info, values: []) } }
            receipt.add(subject: file.name, digest: digest)
        }
        for sidecar in sidecars { receipt.add(subject: sidecar.name, digest: digest) }
        return receipt.document.fileSize
    }
    /// Bytes read from the source: the prompt's tensors, and those that are copied beside them.
    public var bytesRead: UInt64 {
        let others = Set(source.others.map(\.name))
        return files.flatMap(\.tensors).reduce(before.bytes) { sum, tensor in
            guard case .copied(let stored) = tensor.content, others.contains(stored.name) else { return sum }
            return sum + stored.byteCount
        }
    }

    /// An upper estimate of the memory that execution takes, in bytes: the prompt in float64 four times over, for each worker three
    /// panels of a layer's weight, what is read whole, as stored and widened, and 64 MiB for the process.
    public func peakMemory(jobs: Int) -> UInt64 {
        var (prompt, panel, whole): (UInt64, UInt64, UInt64) = (0, 0, 0)
        for tensor in files.flatMap(\.tensors) {
            guard case .computed(let formula) = tensor.content else { continue }
            let layers = Set(formula.layerWeights)
            let tensors = formula.tensors.compactMap { source.checkpoint[$0] }
            let sizes = tensors.filter { !layers.contains($0.name) }.map { $0.byteCount + 8 * UInt64($0.info.elementCount) }
            let panels = tensors.filter { layers.contains($0.name) }.map { min(UInt64($0.info.elementCount), UInt64(PromptEvaluator.panel)) }
            // Slots are put side by side; of other formulas one tensor after the other is used and let go.
            if case .slots = formula.whole { whole = max(whole, sizes.reduce(0, +)) } else { whole = max(whole, sizes.max() ?? 0) }
            panel = max(panel, panels.max() ?? 0)
            // Where columns of one prompt are several tensors, all of it is computed at once.
            if case .columns = formula { prompt = after.parameters } else { prompt = max(prompt, UInt64(tensor.info.elementCount)) }
        }
        return 32 * prompt + UInt64(max(1, jobs)) * 24 * panel + whole + (64 << 20)
    }

    /// Elements and bytes of the prompt's tensors in the source.
    public var before: (parameters: UInt64, bytes: UInt64) { source.size }
    /// Elements and bytes of the prompt's tensors in the output.
    public var after: (parameters: UInt64, bytes: UInt64) {
        let others = Set(source.others.map(\.name))
        return files.lazy.flatMap(\.tensors).reduce((0, 0)) { sum, tensor in
            if case .copied(let stored) = tensor.content, others.contains(stored.name) { return sum }
            return (sum.0 + UInt64(tensor.info.elementCount), sum.1 + tensor.info.byteCount)
        }
    }
}

extension StripPlan {
    /// What is to be done about a source.
    public enum Outcome: Sendable {
        /// What to write.
        case plan(StripPlan)
        /// The source is what inference loads; the text says why.
        case alreadyStripped(String)
    }

    /// Plans a strip.
    ///
    /// - Returns: `alreadyStripped` where nothing would be computed or renamed and `writesStripped` is off.
    /// - Throws: `.refused` where the layout cannot hold the prompts, or a number that PEFT's config needs is unknown:
    ///   the option that gives it is named.
    public static func make(_ source: PromptSource, _ options: StripOptions = StripOptions()) throws -> Outcome {
        if let dtype = options.dtype, !dtype.isMergeable {
            throw PeftfileError(
                .usage, "--dtype \(dtype.rawValue): a prompt is written as F64, F32, F16 or BF16", rule: "OutputDType")
        }
        let layout = chosenLayout(source, options)
        do {
            let outputs = try layout == .peft ? StripOutputs(peft: source, options) : StripOutputs(source: source, options)
            if !outputs.changes, !options.writesStripped {
                return .alreadyStripped(reason(source, layout, options))
            }
            if layout == .peft { try requireKind(source.modules[0]) }
            return .plan(try StripPlan(source, layout, outputs, options))
        } catch let error as PeftfileError {
            throw error.inFile(source.path)
        }
    }

    /// A config is written for a known method only: `prompt_embeddings` alone may be a prefix or a prompt.
    private static func requireKind(_ module: PromptModule) throws {
        guard module.isPEFT, module.config == nil, module.kind == .prompt, !module.isReparametrized else { return }
        throw PeftfileError(
            .refused, "of shape \(module.sourceShape) is a prefix or a prompt; without a config that names the method the two look alike",
            tensor: module.sourceName, rule: "PromptTypeMissing", help: "put PEFT's adapter_config.json beside the file")
    }

    /// Without a word from the user, what is stripped already and has names of its own keeps them.
    private static func chosenLayout(_ source: PromptSource, _ options: StripOptions) -> StripOptions.Layout {
        if let layout = options.layout { return layout }
        return source.isReparametrized || source.modules.contains(where: \.isPEFT) ? .peft : .source
    }

    private static func reason(_ source: PromptSource, _ layout: StripOptions.Layout, _ options: StripOptions) -> String {
        let form = source.modules.first?.form ?? "prompt"
        var text = "already stripped: \(form) without a reparametrization"
        if source.modules.contains(where: { $0.factors != nil }) {
            text = "already stripped: \(form) of \(source.modules[0].factors?.tasks ?? 0) tasks; --task T bakes one of them"
        } else if layout == .source, options.layout == nil {
            text += "; --layout peft makes a PEFT adapter of it"
        }
        return text
    }

    private init(
        _ source: PromptSource, _ layout: StripOptions.Layout, _ outputs: StripOutputs, _ options: StripOptions
    ) throws {
        var files: [File] = []
        for shard in outputs.shards where !shard.tensors.isEmpty {
            let layout = try SafetensorsLayout(
                metadata: shard.metadata, tensors: shard.tensors.map { (name: $0.name, dtype: $0.dtype, shape: $0.shape) })
            files.append(
                File(
                    name: shard.name, header: layout.headerBytes,
                    tensors: zip(layout.tensors, shard.tensors).map { Tensor(info: $0, content: $1.content) },
                    byteCount: layout.totalBytes))
        }
        let beside = try StripSidecars(source, layout, config: outputs.config, files: files)
        self.source = source
        self.layout = layout
        self.files = files
        sidecars = beside.sidecars
        filesLeftOut = beside.leftOut
        leftOut = outputs.leftOut
        config = outputs.config
        warnings = outputs.warnings
        var record = JSONObject()
        record["layout"] = .string(layout.rawValue)
        record["task"] = options.task.map { .number(JSONNumber($0)) } ?? .null
        record["dtype"] = options.dtype.map { .string($0.rawValue) } ?? .null
        record["base"] = options.base.map { .string($0.name) } ?? .null
        self.options = record
        id = try StripPlan.identity(source, record, config: outputs.config, files: files)
    }

    private static func identity(
        _ source: PromptSource, _ options: JSONObject, config: JSONObject?, files: [File]
    ) throws -> String {
        var hash = SHA256()
        func add(_ text: String) { hash.update(Array((text + "\n").utf8)) }
        add("strip")
        add(JSONValue.object(options).serialized())
        for shard in source.checkpoint.shards {
            add("\(shard.fileName) \(shard.file.reader.size) \(SHA256.hex(try shard.file.headerSHA256()))")
        }
        add(config.map { JSONValue.object($0).serialized() } ?? "")
        for file in files { add("\(file.name) \(file.byteCount)") }
        return String(SHA256.hex(hash.finalize()).prefix(16))
    }
}

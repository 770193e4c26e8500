import ByteAccess
import Containers
import Checkpoints
import Tensors

/// A convention of tensor names, layouts and scales in adapter files that are not PEFT's.
///
/// A dialect is one file in `Dialects/` and one line in ``DialectRegistry``. It tells its files by their tensors, and
/// says of each tensor which module and which tensor of a method it is; the arithmetic is the method's. Nothing
/// downstream knows which dialect an adapter came in.
protocol Dialect: Sendable {
    /// What pages and the receipt call it.
    var name: String { get }

    /// Whether files of this dialect may have a config of PEFT beside them.
    var acceptsPEFTConfig: Bool { get }

    /// Whether a pair called lora_A and lora_B may be several pairs in one, so that the two ranks differ.
    var stacksFactors: Bool { get }

    /// Whether an update of the input embedding is one of the output head too, where the model ties the two.
    var movesTiedHead: Bool { get }

    /// Whether a module of this path is an embedding although its factors have a linear layer's names.
    func isEmbedding(_ module: ExactString) -> Bool

    /// What of the config enters the update; nil where all of it may.
    func settings(of config: AdapterConfig) -> JSONObject?

    /// What a file of the dialect leaves open.
    func openQuestions(_ file: DialectFile) -> Set<OpenQuestion>

    /// Whether `--scale` has a say in what a file of the dialect means.
    func takesScale(_ file: DialectFile) -> Bool

    /// Whether the file is in this dialect.
    func recognises(_ file: DialectFile) -> Bool

    /// Every tensor of the file, by module.
    ///
    /// - Throws: `.refused` where the file leaves open what it means; the message names the option that settles it.
    func read(_ file: DialectFile, context: DialectContext) throws -> DialectReading
}

extension Dialect {
    var acceptsPEFTConfig: Bool { false }
    var stacksFactors: Bool { false }
    var movesTiedHead: Bool { false }
    func isEmbedding(_ module: ExactString) -> Bool { false }
    func settings(of config: AdapterConfig) -> JSONObject? { nil }
    func openQuestions(_ file: DialectFile) -> Set<OpenQuestion> { [] }
    func takesScale(_ file: DialectFile) -> Bool { openQuestions(file).contains(.scale) }
}

/// What is known beside the file when it is read.
struct DialectContext: Sendable {
    var options = BindingOptions()
    /// The heads that the base or the caller counts; nil where nobody does.
    var heads: GGUFHeads?
    /// The bases, none where the adapter is looked at alone.
    private let resolvers: [NameResolver]
    private let directories: [BaseDirectory]

    init(options: BindingOptions = BindingOptions(), heads: GGUFHeads? = nil, bases: [BaseDirectory] = []) {
        self.options = options
        self.heads = heads
        directories = bases
        resolvers = bases.map { NameResolver(base: $0) }
    }

    /// Whether there is a base: what only a base can tell is an error then, and left open otherwise.
    var hasBase: Bool { !directories.isEmpty }

    /// Where a base has a parameter; nil where none has it.
    func place(_ request: ParameterRequest) -> ParameterPlace? { resolvers.lazy.compactMap { (try? $0.survey([request]))?.places[request] }.first }

    /// The shape that a module's weight has in memory, where a base tells.
    func weightShape(_ module: ExactString) -> Shape? { place(ParameterRequest(module: module, parameter: .weight))?.shape }

    /// Whether one of the bases is as the caller asks.
    func anyBase(_ isMeant: (BaseDirectory) -> Bool) -> Bool { directories.contains(where: isMeant) }
}

/// What a dialect made of a file.
struct DialectReading: Sendable {
    var modules: [DialectModule] = []
    /// Tensors whose values went into scales and settings, or that have no part in the update, each with the reason.
    var consumed: [(tensor: ExactString, reason: String)] = []
    /// What the reader should know.
    var warnings: [String] = []
    /// The name of the dialect in this file, where its own is too broad.
    var name: String?
    /// What is open without a base, for an adapter that is looked at alone: whoever writes it anew must settle it first.
    var unsettled: PeftfileError?
}

/// An adapter file before it is known what it is.
struct DialectFile: Sendable {
    let path: String
    let checkpoint: Checkpoint
    /// A config beside the file that names no `peft_type`.
    let config: AdapterConfig?

    /// Its tensors, taken one by one: headers may name a hundred thousand.
    var tensors: some Collection<TensorInfo> { checkpoint.tensors.lazy.map(\.info) }

    /// An entry of the container's metadata.
    func metadata(_ key: ExactString) -> String? {
        for shard in checkpoint.shards {
            if let entry = shard.file.metadata?.first(where: { $0.key == key }) { return entry.value }
        }
        return nil
    }

    /// The number that a tensor of one element holds.
    ///
    /// - Throws: `.refused` where the tensor has more elements, or the number is not finite.
    func number(_ info: TensorInfo) throws -> Double {
        guard let stored = checkpoint[info.name], info.elementCount == 1 else {
            throw PeftfileError(
                .refused, "has shape \(info.shape), and a single number is needed", file: path, tensor: info.name,
                rule: "ScalarShape")
        }
        let bytes = try checkpoint.read(stored)
        let value: Double? =
            switch info.dtype {
            case .i64, .i32, .i16, .i8, .u8, .bool: DialectFile.integer(bytes)
            case _ where info.dtype.isMergeable: try Conversion.widened(bytes, as: info.dtype, count: 1).first
            default: nil
            }
        guard value?.isFinite ?? true else {
            throw PeftfileError(
                .refused, "must hold a finite number, and is NaN or infinite", file: path, tensor: info.name, rule: "ScalarNotFinite",
                help: "train again, or publish an earlier checkpoint")
        }
        guard let value else {
            throw PeftfileError(
                .refused, "must hold a number, and has dtype \(info.dtype.rawValue)", file: path,
                tensor: info.name, rule: "ScalarValue")
        }
        return value
    }

    /// Little-endian two's complement of up to 8 bytes.
    private static func integer(_ bytes: [UInt8]) -> Double? {
        guard let last = bytes.last, bytes.count <= 8 else { return nil }
        var value: Int64 = last & 0x80 != 0 && bytes.count > 1 ? -1 : 0
        for byte in bytes.reversed() { value = value << 8 | Int64(byte) }
        return Double(value)
    }

    func refusal(_ message: String, _ tensor: ExactString?, rule: String, help: String? = nil) -> PeftfileError {
        PeftfileError(.refused, message, file: path, tensor: tensor, rule: rule, help: help)
    }
}

extension Adapter {
    /// The file before it was known what it is.
    var dialectFile: DialectFile { DialectFile(path: path, checkpoint: checkpoint, config: config) }
}

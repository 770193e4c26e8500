public import Adapters
public import ByteAccess
public import Checkpoints
import Containers
public import Tensors

/// A rewrite before it happens: every output file with every byte range, and what is computed for each.
///
/// A plan is a value that can be printed, tested and refused. All offsets are known before the first byte is written,
/// so tensors can be written in any order and any part of an output can be computed alone.
public struct RewritePlan: Sendable {
    /// One output tensor and the bytes it has in its file.
    public struct Tensor: Sendable {
        /// How its elements come about.
        public var recipe: TensorRecipe
        /// Name, dtype, shape and byte range in the output file; in a GGUF file several matrices of one stack have parts of one tensor.
        public var info: TensorInfo
        /// Whether the base has no tensor of this name.
        public var isAdded: Bool
        /// What a GGUF file has of it beside; nil in safetensors. Held by reference: a plan has as many as the model has tensors.
        let gguf: GGUFTensorForm?

        init(recipe: TensorRecipe, info: TensorInfo, isAdded: Bool, gguf: GGUFTensorForm? = nil) {
            (self.recipe, self.info, self.isAdded, self.gguf) = (recipe, info, isAdded, gguf)
        }

        /// How the numbers are written into a GGUF file; nil in safetensors.
        public var encoding: GGUFEncoding? { gguf?.encoding }
        /// The base's tensor whose bytes are taken as they are stored, into a GGUF file.
        var copied: StoredTensor? { gguf?.copied }
        /// Zero bytes behind it.
        var padding: Int { gguf?.padding ?? 0 }

        /// The type that the file has for its elements: `BF16`, `Q8_0`.
        public var typeName: String { encoding?.type.name ?? info.dtype.rawValue }
    }

    /// What a tensor of a GGUF file is made by.
    final class GGUFTensorForm: Sendable {
        let encoding: GGUFEncoding?
        let copied: StoredTensor?
        let padding: Int

        init(encoding: GGUFEncoding? = nil, copied: StoredTensor? = nil, padding: Int) {
            (self.encoding, self.copied, self.padding) = (encoding, copied, padding)
        }
    }

    /// One output file that holds tensors.
    public struct File: Sendable {
        /// The file's name in the output directory; for a single-file output that of the target.
        public var name: String
        /// The first bytes: length, JSON, padding.
        public var header: [UInt8]
        /// The tensors, in the order of their bytes.
        public var tensors: [Tensor]
        /// The size of the whole file.
        public var byteCount: UInt64
    }

    /// A file beside the tensors: tokenizer, config, index.
    public struct Sidecar: Sendable {
        /// What is in it.
        public enum Content: Sendable {
            /// The bytes of another file.
            case copy(path: String)
            /// These bytes.
            case bytes([UInt8])
            /// Bytes that say what rounding left of all updates, which is known when the tensors are written; always as many.
            case figures(@Sendable (UpdateStatistics) -> [UInt8])
        }
        /// The name in the output directory.
        public var name: String
        /// What is in it.
        public var content: Content
        /// Where it comes from: `base`, `adapter` or `peftfile`.
        public var origin: String
        /// Its size.
        public var byteCount: UInt64
    }

    /// What the plan does: `merge` or `convert`.
    public var operation: String
    /// Which update goes where. Its outputs are the tensors of ``files``, and it has none itself.
    public var binding: Binding
    /// The files with tensors.
    public var files: [File]
    /// The files beside them.
    public var sidecars: [Sidecar]
    /// Whether the output is one file at the target's own path, and not a directory.
    public var isSingleFile: Bool
    /// The options that entered the result, for the receipt.
    public var options: JSONObject
    /// What a reader should know before it is carried out.
    public var warnings: [String]
    /// Keys of config.json that change, for the receipt.
    public var configChanges: [Binding.ConfigChange] = []
    /// Tensors of the input that are not written because they are another one under a second name, with that other.
    public var dropped: [(tensor: ExactString, kept: ExactString)] = []
    /// The same inputs and options give the same 16 hex digits.
    public var id: String

    /// Bytes read from the inputs: every source tensor once, and the adapters' tensors once.
    public var bytesRead: UInt64 {
        let sources = binding.base.quantisation == nil
            ? files.lazy.flatMap(\.tensors).reduce(UInt64(0)) { $0 + $1.info.byteCount } : binding.base.tensorBytes
        return sources + binding.adapters.reduce(0) { $0 + $1.checkpoint.tensors.reduce(0) { $0 + $1.info.byteCount } }
    }
    /// Bytes written, headers and sidecar files included.
    public var bytesWritten: UInt64 {
        files.reduce(UInt64(0)) { $0 + $1.byteCount } + sidecars.reduce(0) { $0 + $1.byteCount }
    }
    /// What the output takes on a disk with blocks of 4 KiB, the receipt left out.
    var bytesOnDisk: UInt64 {
        (files.map(\.byteCount) + sidecars.map(\.byteCount)).reduce(8192) { $0 + ($1 + 4095) / 4096 * 4096 }
    }
    /// Bytes of the receipt, at most: its figures are known when everything is written.
    ///
    /// - Parameter hashing: whether it names the SHA-256 of every file.
    public func receiptBytes(hashing: Bool = true) -> UInt64 {
        var receipt = Receipt(
            plan: self, digests: hashing ? binding.adapters.map { InputDigests(measuring: $0.checkpoint, config: $0.config) } : nil)
        let digest = hashing ? String(repeating: "0", count: 64) : nil
        for file in files { receipt.add(file: file, digest: digest, statistics: file.tensors.map { .widest(of: $0.recipe) }) }
        for sidecar in sidecars { receipt.add(sidecar: sidecar, digest: digest) }
        return receipt.document(target: "").fileSize
    }
    /// Tensors whose bytes are computed; all others are copied.
    public var computedCount: Int { files.lazy.flatMap(\.tensors).filter { !$0.recipe.isCopy || $0.encoding != nil }.count }

    /// An upper estimate of the memory that execution takes, in bytes: for each worker one panel in float64 four times over, and
    /// the widened factors of the largest tensor; what its expressions hold; whole matrices where the base is decomposed.
    ///
    /// Beside these numbers 64 MiB for the process. Where there are so many tensors that the plan itself is large, it counts as three
    /// times its headers, 1 KiB a tensor and 32 MiB (measured: a merge of 100 000 tensors with 12 MB of header takes 144 MB, and this says 172),
    /// 1 KiB more for each that is computed, and 1.5 KiB for each tensor of an adapter (measured: 50 000 modules, each a tensor of the base
    /// with two of the adapter, take 182 MB, and this says 308).
    public func peakMemory(jobs: Int) -> UInt64 {
        var largest: UInt64 = 0
        for tensor in files.lazy.flatMap(\.tensors) where !tensor.recipe.isCopy {
            let recipe = tensor.recipe
            // A matrix that is turned is held whole.
            let turned = tensor.encoding?.cut.flatMap { $0.isTurned ? $0.width : nil }
            let rows = turned ?? Panels.rows(of: recipe)
            let panel = UInt64(rows) * UInt64(recipe.columns) * 8 * (turned != nil ? 8 : 4)
            var factors: UInt64 = 0
            for placed in recipe.updates {
                switch placed.update {
                case .lowRank(let left, let right, _):
                    factors += 2 * 8 * UInt64(left.rows * left.columns + right.rows * right.columns)
                case .computed(let expression, _): factors += held(expression, recipe, jobs)
                case .dense(let values, _): factors += 2 * 8 * UInt64(values.rows * values.columns)
                case .composed(let composition, _):
                    factors += 8 * UInt64(recipe.rows) * UInt64(recipe.columns)
                    factors += 2 * 8 * UInt64(composition.rank) * UInt64(recipe.rows + recipe.columns)
                case .decomposed: factors += 6 * 8 * UInt64(recipe.rows) * UInt64(recipe.columns)
                }
            }
            for transform in recipe.transforms { factors += held(transform.expression, recipe, jobs) }
            largest = max(largest, UInt64(max(1, jobs)) * panel + factors)
        }
        var headers = files.reduce(UInt64(0)) { $0 + 3 * UInt64($1.header.count) + 1024 * UInt64($1.tensors.count) }
        headers += 1024 * UInt64(computedCount) + RewritePlan.memory(ofTensorsIn: binding.adapters)
        return largest + max(64 << 20, headers + (32 << 20))
    }

    /// What an adapter's tensors take beside their numbers: entries of the header, names in memory, modules, what is bound to them.
    static func memory(ofTensorsIn adapters: [Adapter]) -> UInt64 {
        adapters.reduce(0) { $0 + 1536 * UInt64($1.checkpoint.tensors.count) }
    }

    private func held(_ expression: MatrixExpression, _ recipe: TensorRecipe, _ jobs: Int) -> UInt64 {
        8 * UInt64(expression.heldNumbers(panelRows: Panels.rows(of: recipe), workers: jobs))
    }
}

/// How tensors are cut into row panels.
///
/// The cut depends on the tensor alone and not on the number of workers, so that sums over panels (update survival)
/// are the same for every `--jobs`. Output bytes do not depend on the cut at all.
public enum Panels {
    /// Elements of a panel: 2^18 float64 numbers are 2 MiB, which stays in a core's share of the cache while it is
    /// widened, updated and narrowed.
    public static let elements = 1 << 18

    static func rows(of recipe: TensorRecipe, elements: Int = Panels.elements) -> Int {
        guard recipe.rows > 0, recipe.columns > 0 else { return 1 }
        // Sub-byte elements are only ever copied; whole tensors keep their rows on byte boundaries.
        guard recipe.columns * recipe.sourceDType.bits % 8 == 0 else { return recipe.rows }
        return min(recipe.rows, max(1, elements / recipe.columns))
    }
}

extension RewritePlan.Tensor {
    /// The rows that are computed together, in the order in which they lie in the file.
    func pieces(elements: Int = Panels.elements) -> [Range<Int>] {
        let step = Panels.rows(of: recipe, elements: elements)
        return (encoding ?? GGUFEncoding(type: .f32, isVector: false, shift: 0)).pieces(of: recipe.rows, step: step)
    }

    /// The bytes of a piece in the output file.
    func range(of rows: Range<Int>) -> Range<UInt64> {
        if let cut = encoding?.cut, cut.count > 0 {
            // A whole number of blocks: a piece is one of stored rows.
            let elements = cut.elements(of: rows)
            let (bytes, count) = (info.byteCount, UInt64(cut.count))
            return (info.begin + bytes * UInt64(elements.lowerBound) / count)..<(info.begin + bytes * UInt64(elements.upperBound) / count)
        }
        let rowBytes = info.byteCount / UInt64(max(1, recipe.rows))
        let begin = info.begin + rowBytes * UInt64(encoding?.firstRow(of: rows) ?? rows.lowerBound)
        return begin..<(begin + rowBytes * UInt64(rows.count))
    }
}

public import ByteAccess
public import Tensors

/// How a checkpoint's weights are quantised: the scheme, each weight with the tensors it is made of, and what is left out.
///
/// A checkpoint with a quantisation shows each weight under its plain name and shape, with F64 elements that are computed when
/// they are read. So whoever reads tensors by name sees a plain checkpoint.
public struct Quantisation: Sendable {
    /// The scheme with its settings: `GPTQ, 4 bits`.
    public let scheme: String
    /// The quantised weights, in the order of their codes in the files.
    public let weights: [any QuantisedWeight]
    /// Tensors without a place in a plain checkpoint: scales of activations and of the key and value cache.
    public let dropped: [StoredTensor]
    /// What a person should know: contested zero points, settings that were guessed.
    public let warnings: [String]
    /// The dtype that the dequantised weights are written in unless another is asked for.
    public let dtype: DType
    /// Why the weights cannot be read; then the tensors are shown as they are stored, and whoever computes refuses.
    public let problem: PeftfileError?
    /// Whether the weights are stored in 16 bits and taken through NF4 on the way, as QLoRA saw them.
    public var isSimulated: Bool { simulation != nil }
    /// How they are taken through it.
    public let simulation: NF4Simulation?
    /// The component tensors' bytes.
    public let components: ComponentReader?

    init(
        scheme: String, weights: [any QuantisedWeight] = [], dropped: [StoredTensor] = [], warnings: [String] = [],
        dtype: DType = .bf16, problem: PeftfileError? = nil, simulation: NF4Simulation? = nil, components: ComponentReader? = nil
    ) {
        self.scheme = scheme
        self.weights = weights
        self.dropped = dropped
        self.warnings = warnings
        self.dtype = dtype
        self.problem = problem
        self.simulation = simulation
        self.components = components
    }

    /// Bytes of the quantised weights as they are stored, with their companions and what is dropped.
    public var storedBytes: UInt64 {
        (weights.flatMap(\.components) + dropped).reduce(0) { $0 + $1.byteCount }
    }
    /// Bytes of the same weights in `dtype`.
    public var plainBytes: UInt64 {
        weights.reduce(0) { $0 + UInt64($1.shape.elementCount ?? 0) * UInt64(($1.plainDType ?? dtype).bits / 8) }
    }

    /// The dtype that config.json names for the model's weights; BF16 where it names none that weights are written in.
    static func dtype(of config: JSONObject?) -> DType {
        let parts = [config, config?["text_config"]?.objectValue]
        for part in parts {
            for key: ExactString in ["dtype", "torch_dtype"] {
                guard let text = part?[key]?.stringValue else { continue }
                let name = text.hasPrefix("torch.") ? String(text.dropFirst(6)) : text
                if let dtype = DType(spelling: name) { return dtype }
            }
        }
        return .bf16
    }

    /// An error with the scheme before its message.
    func ofScheme(_ error: PeftfileError) -> PeftfileError {
        var error = error
        if error.code == .refused, !error.message.hasPrefix(scheme) { error.message = "\(scheme): \(error.message)" }
        return error
    }

    /// Fills `buffer` with the little-endian F64 bytes of a weight from byte `offset` on.
    func read(_ weight: Int, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard let components, weights.indices.contains(weight), !buffer.isEmpty else { return }
        guard let begin = Int(exactly: offset) else { throw PeftfileError(.io, "cannot read that far into a tensor") }
        let elements = (begin / 8)..<((begin + buffer.count + 7) / 8)
        do {
            if begin % 8 == 0, buffer.count % 8 == 0, let base = buffer.baseAddress,
                UInt(bitPattern: base) % UInt(MemoryLayout<Double>.alignment) == 0
            {
                // Aligned for float64 as the line above checked; nothing else holds the buffer while it is filled.
                let values = base.bindMemory(to: Double.self, capacity: elements.count)
                try weights[weight].read(
                    elements, from: components, into: UnsafeMutableBufferPointer(start: values, count: elements.count))
                return
            }
            let values = try [Double](unsafeUninitializedCapacity: elements.count) { values, count in
                values.initialize(repeating: 0)
                try weights[weight].read(
                    elements, from: components,
                    into: UnsafeMutableBufferPointer(rebasing: values[..<elements.count]))
                count = elements.count
            }
            values.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[(begin % 8)..<(begin % 8 + buffer.count)])) }
        } catch var error as PeftfileError {
            if error.tensor == nil { error.tensor = weights[weight].name }
            throw ofScheme(error)
        }
    }
}

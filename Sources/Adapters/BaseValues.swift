public import ByteAccess
public import Checkpoints
public import Tensors

/// Which values an adapter was trained on: those that the base's file has, or what NF4 leaves of them.
///
/// QLoRA trains on NF4(W). Adding the update to W makes another model than the one that was trained, and a legitimate one; which
/// of the two is meant no file says, so it is asked for by name.
public enum BaseValues: Sendable, Hashable {
    /// Nobody said.
    case unspecified
    /// The file's own values.
    case stored
    /// The 16-bit values taken through NF4 as bitsandbytes does.
    case nf4(NF4Simulation)

    /// As the receipt records it.
    public var json: JSONValue {
        switch self {
        case .unspecified: .null
        case .stored: .string("stored")
        case .nf4(let simulation): simulation.json
        }
    }

    /// Reads what `json` wrote; nil for anything else.
    public init?(json: JSONValue?) {
        guard let json, !json.isNull else {
            self = .unspecified
            return
        }
        if json.stringValue == "stored" {
            self = .stored
            return
        }
        guard json["as"]?.stringValue == "nf4", let size = json["block_size"]?.intValue,
            let double = json["double_quant"]?.boolValue,
            let simulation = try? NF4Simulation(blockSize: size, doubleQuantisation: double)
        else { return nil }
        self = .nf4(simulation)
    }

    /// The base with the values that are meant.
    ///
    /// - Throws: `.refused` with rule `BaseAs` where an adapter says that it was trained in 4 bits, the base is not stored so, and
    ///   nobody said which values are meant; or where the base does not allow it.
    public func applied(to base: Checkpoint, adapters: [Adapter]) throws -> Checkpoint {
        switch self {
        case .nf4(let simulation): return try base.simulating(simulation)
        case .stored: return base
        case .unspecified:
            guard base.quantisation == nil else { return base }
            for adapter in adapters {
                guard let hint = QuantisationHint(adapter) else { continue }
                throw PeftfileError(
                    .refused, "\(hint.reason), and the base is not stored so: which values of it are meant must be said",
                    file: adapter.path, rule: "BaseAs",
                    help: hint.isNF4
                        ? "for the model that was trained: peftfile merge \(base.path.shellQuoted) \(adapter.path.shellQuoted) -o OUT "
                            + "--base-as nf4 (and merge with --double-quant where training had it); to add the update to the base as it is, merge with --base-as stored"
                        : "give the quantised base that it was trained on, or, to add the update to this one as it is: "
                            + "peftfile merge \(base.path.shellQuoted) \(adapter.path.shellQuoted) -o OUT --base-as stored")
            }
            return base
        }
    }
}

/// Why an adapter seems to have been trained on a base in 4 bits.
struct QuantisationHint {
    let reason: String
    /// Whether NF4 is what training used, as far as it says.
    let isNF4: Bool

    init?(_ adapter: Adapter) {
        let config = adapter.config
        for key: ExactString in ["quantization_config", "bnb_config"] where config?[key]?["load_in_4bit"]?.boolValue == true {
            (reason, isNF4) = ("the adapter's config says load_in_4bit", true)
            return
        }
        if config?["load_in_4bit"]?.boolValue == true {
            (reason, isNF4) = ("the adapter's config says load_in_4bit", true)
            return
        }
        if config?["loftq_config"]?["loftq_bits"]?.intValue == 4 {
            (reason, isNF4) = ("the adapter's config says loftq_bits 4", true)
            return
        }
        if let name = config?.baseModel {
            let lowered = name.lowercased()
            for (mark, isNF4) in QuantisationHint.marks where lowered.contains(mark) {
                (reason, self.isNF4) = ("the adapter was trained on \"\(name)\", which is in 4 bits by its name", isNF4)
                return
            }
        }
        // PEFT writes the training's quantisation config into the model card.
        if let directory = adapter.directory, let card = QuantisationHint.card(FileSystem.join(directory, "README.md")),
            card.contains("load_in_4bit: True")
        {
            (reason, isNF4) = ("the adapter's README.md says load_in_4bit", true)
            return
        }
        return nil
    }

    private static let marks: [(String, Bool)] = [
        ("gptq", false), ("awq", false), ("int4", false), ("w4a16", false), ("mxfp4", false), ("bnb-4bit", true), ("4bit", true),
        ("4-bit", true), ("nf4", true), ("qlora", true),
    ]

    private static func card(_ path: String) -> String? {
        guard FileSystem.isRegularFile(path), let bytes = try? FileReader(path: path).allBytes(limit: 1 << 20) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension Binding {
    /// What config.json must say of dtypes when quantised weights were dequantised and it names none that weights have: the dtype
    /// that they are written in.
    public func quantisationChanges(dtype: DType?) -> [ConfigChange] {
        guard let quantisation = base.quantisation, !quantisation.isSimulated, let config = base.config else { return [] }
        for part in [config, config["text_config"]?.objectValue] {
            for key: ExactString in ["dtype", "torch_dtype"] where part?[key]?.stringValue.flatMap(DType.init(spelling:)) != nil {
                return []
            }
        }
        let key: ExactString = config["torch_dtype"] != nil ? "torch_dtype" : "dtype"
        return [.init(path: [key], value: .string((dtype ?? quantisation.dtype).torchName))]
    }
}

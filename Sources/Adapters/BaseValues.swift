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

    /// The rule of errors about what was or was not said.
    public static let rule = "BaseAs"

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
    /// - Throws: why the base's weights cannot be read; `.refused` with rule `BaseAs` where an adapter says that it was trained in 4 bits, the base is not stored so, and
    ///   nobody said which values are meant; or where the base does not allow it.
    public func applied(to base: Checkpoint, adapters: [Adapter]) throws -> Checkpoint {
        switch self {
        case .nf4(let simulation):
            if !simulation.doubleQuantisation, let adapter = adapters.first(where: QuantisationHint.saysDoubleQuantisation) {
                throw PeftfileError(
                    .refused, "says bnb_4bit_use_double_quant, and --base-as nf4 was given without it", file: adapter.path, rule: BaseValues.rule,
                    help: "merge with --base-as nf4 --double-quant")
            }
            return try base.simulating(simulation)
        case .stored: return base
        case .unspecified:
            if let problem = base.quantisation?.problem { throw problem }
            for adapter in adapters {
                guard let hint = QuantisationHint(adapter), !hint.isMet(by: base) else { continue }
                throw PeftfileError(
                    .refused, "\(hint.reason), and the base is not stored so: which values of it are meant must be said",
                    file: adapter.path, rule: BaseValues.rule,
                    help: hint.isNF4 && base.quantisation == nil
                        ? "to add the update to the base as it is, merge with --base-as stored; for the model that was trained, and with --double-quant "
                            + "where training had it: peftfile merge \(base.path.shellQuoted) \(adapter.path.shellQuoted) -o OUT --base-as nf4"
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
    /// What the scheme is called that training used; nil where any in 4 bits may be meant.
    let scheme: String?
    /// Whether NF4 is what training used, as far as it says.
    var isNF4: Bool { scheme == nil || scheme == "bitsandbytes" }

    init(reason: String, scheme: String?) { (self.reason, self.scheme) = (reason, scheme) }

    init?(_ adapter: Adapter) {
        let config = adapter.config
        let settings = [config?["quantization_config"], config?["bnb_config"], config.map { .object($0.json) }]
        if settings.contains(where: { $0?["load_in_4bit"]?.boolValue == true }) {
            (reason, scheme) = ("the adapter's config says load_in_4bit", "bitsandbytes")
            return
        }
        if config?["loftq_config"]?["loftq_bits"]?.intValue == 4 {
            (reason, scheme) = ("the adapter's config says loftq_bits 4", "bitsandbytes")
            return
        }
        if adapter.wholeState?.holdsFourBits == true {
            (reason, scheme) = ("the training state holds the base's weights in 4 bits", "bitsandbytes")
            return
        }
        let card = QuantisationHint.card(of: adapter)
        for name in [config?.baseModel].compactMap(\.self) + QuantisationHint.entries("base_model", of: card) {
            guard let scheme = QuantisationHint.scheme(named: name) else { continue }
            (reason, self.scheme) = ("the adapter was trained on \"\(name)\", which is in 4 bits by its name", scheme)
            return
        }
        // PEFT writes the training's quantisation config into the model card.
        if card.contains("load_in_4bit: True") {
            (reason, scheme) = ("the adapter's README.md says load_in_4bit", "bitsandbytes")
            return
        }
        return nil
    }

    /// Whether the base is stored as training had it.
    func isMet(by base: Checkpoint) -> Bool {
        guard let stored = base.quantisation?.scheme else { return false }
        return isMet(byScheme: stored)
    }

    /// The same for what a base's scheme is called. GPTQ and AWQ are ways to choose codes, which other formats of 4 bits hold as well.
    func isMet(byScheme stored: String) -> Bool {
        let stored = stored.lowercased()
        if let scheme, stored.contains(scheme) { return !stored.contains("int8") }
        guard scheme == nil || scheme == "gptq" || scheme == "awq" else { return false }
        let isInBits = stored.hasSuffix(" bits") && stored.split(whereSeparator: { $0 == " " || $0 == "," }).contains("4")
        return isInBits || ["nf4", "fp4", "awq", "q4_"].contains { stored.contains($0) }
    }

    /// The scheme of a model that is in 4 bits by its name: nil where it is not, and nil inside where the name leaves the scheme open.
    ///
    /// Words of the name are looked at, as `64bit` and `hawq` are none of them; one that says 8 bits outweighs a method's name.
    static func scheme(named name: String) -> String?? {
        let words = name.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init)
        let pairs = Set(zip(words, words.dropFirst()).map { $0 + "-" + $1 })
        let all = Set(words).union(pairs)
        if !all.isDisjoint(with: ["8bit", "8bits", "8-bit", "int8", "w8a8", "w8a16", "q8", "fp8"]) { return nil }
        for (marks, scheme) in QuantisationHint.marks where !all.isDisjoint(with: marks) { return .some(scheme) }
        let isGGUF = words.contains { $0 == "q4" || $0.hasPrefix("q4k") || $0.hasPrefix("iq4") }
        let isFourBits = !all.isDisjoint(with: ["4bit", "4bits", "4-bit", "4bpw", "4-0bpw", "int4", "w4a16"])
        return isGGUF || isFourBits ? .some(nil) : nil
    }

    private static let marks: [(Set<String>, String)] = [
        (["gptq"], "gptq"), (["awq"], "awq"), (["mxfp4"], "mxfp4"), (["nvfp4"], "nvfp4"), (["bnb", "nf4", "fp4", "qlora"], "bitsandbytes"),
    ]

    /// Whether the config or the card of an adapter says that training quantised the magnitudes too.
    static func saysDoubleQuantisation(_ adapter: Adapter) -> Bool {
        let settings = [adapter.config?["quantization_config"], adapter.config?["bnb_config"]]
        return settings.contains { $0?["bnb_4bit_use_double_quant"]?.boolValue == true }
            || card(of: adapter).contains("bnb_4bit_use_double_quant: True") || adapter.wholeState?.quantisesTwice == true
    }

    private static func card(of adapter: Adapter) -> String {
        guard let directory = adapter.directory else { return "" }
        let path = FileSystem.join(directory, "README.md")
        guard FileSystem.isRegularFile(path), let bytes = try? FileReader(path: path).allBytes(limit: 1 << 20) else { return "" }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// What stands behind a key of a card's front matter, in lines of its own.
    private static func entries(_ key: String, of card: String) -> [String] {
        card.split(separator: "\n").prefix(200).filter { $0.hasPrefix("\(key):") }
            .map { $0.dropFirst(key.count + 1).trimmed }.filter { !$0.isEmpty }
    }
}

extension Substring {
    fileprivate var trimmed: String {
        var part = self
        while let first = part.first, first == " " || first == "\"" { part.removeFirst() }
        while let last = part.last, last == " " || last == "\"" || last == "\r" { part.removeLast() }
        return String(part)
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

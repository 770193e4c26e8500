public import Adapters
import ByteAccess
public import Checkpoints

/// The inputs and options of an earlier conversion of an adapter, read back from its receipt.
public struct AdapterConvertRecord: Sendable {
    /// The path of the adapter, as it was given.
    public let source: String
    /// The dialect that was written.
    public let target: ConversionTarget
    /// What was said beside it.
    public let binding: BindingOptions
    /// The heads of the base, where somebody counted them.
    public let heads: GGUFHeads?
    /// The component that names got, where it was given.
    public let componentName: String?
    /// Whether scales were rounded to F32.
    public let roundsScale: Bool
    /// What was folded, repaired or dropped.
    public let notes: [String]
    private let bases: [(path: String, component: String?)]
    private let digests: [String: String]
    private let evidence: ReceiptEvidence

    /// Reads the receipt in a directory or beside a file; nil where there is none, or one of another operation.
    ///
    /// - Throws: `.malformed` where the receipt is no JSON, or lacks what a conversion writes.
    public init?(besides path: String) throws {
        let file = FileSystem.isDirectory(path) ? FileSystem.join(path, Receipt.fileName) : path + ".receipt.json"
        guard FileSystem.exists(file) else { return nil }
        let document = try JSONValue.parse(FileReader(path: file).allBytes(limit: 1 << 28), file: file, allowing: .strict)
        let predicate = document["predicate"]
        guard document["schema"]?.stringValue == "peftfile.convert/1", let options = predicate?["options"]?.objectValue,
            let target = options["to"]?.stringValue.flatMap(ConversionTarget.init(rawValue:))
        else { return nil }
        let adapter = predicate?["adapters"]?.arrayValue?.first
        guard let source = adapter?["path"]?.stringValue,
            let orientation = options["orientation"]?.stringValue.flatMap(BindingOptions.Orientation.init(rawValue:))
        else {
            throw PeftfileError(
                .malformed, "the receipt has no usable adapter or options", file: file, rule: "Receipt",
                help: "peftfile diff INPUT \(path.shellQuoted)")
        }
        (self.source, self.target) = (source, target)
        var binding = BindingOptions(orientation: orientation, scale: options["scale"]?.doubleValue)
        binding.component = options["component"]?.stringValue
        binding.enableLoRA = options["enable_lora"]?.arrayValue?.compactMap(\.boolValue) ?? []
        binding.expertOrder = options["expert_order"]?.stringValue.flatMap(BindingOptions.ExpertOrder.init(rawValue:))
        binding.squareOrientation = options["square_orientation"]?.stringValue.flatMap(BindingOptions.Orientation.init(rawValue:))
        self.binding = binding
        let counts = options["heads"]?.arrayValue?.compactMap(\.intValue) ?? []
        heads = counts.count == 2 ? GGUFHeads(query: counts[0], key: counts[1]) : nil
        componentName = options["as"]?.stringValue
        roundsScale = options["round_scale"]?.boolValue ?? false
        notes = (predicate?["notes"]?.arrayValue ?? []).compactMap(\.stringValue)
        let bases = predicate?["bases"]?.arrayValue ?? []
        self.bases = bases.compactMap { base in base["path"]?.stringValue.map { ($0, base["component"]?.stringValue) } }
        var digests: [String: String] = [:]
        for file in adapter?["files"]?.arrayValue ?? [] {
            if let name = file["name"]?.stringValue { digests[name] = file["sha256"]?.stringValue }
        }
        digests[ConversionReceipt.configKey] = adapter?["config_sha256"]?.stringValue
        self.digests = digests
        evidence = ReceiptEvidence(result: path, document: document, inputs: bases + [adapter])
    }

    /// Opens the adapter that was converted, and the bases whose names it got.
    ///
    /// - Parameter path: where the adapter is; nil for the path that the receipt names, and then it must be what it was.
    /// - Throws: `.notFound` where an input is not there; `.refused` where it changed since the conversion.
    public func openInputs(from path: String? = nil) throws -> (adapter: Adapter, bases: [PipelineBase]) {
        let help = "peftfile diff INPUT \(evidence.result.shellQuoted)"
        try evidence.requireInputs((path == nil ? [source] : []) + bases.map(\.path), operation: "conversion", help: help)
        let adapter = try Adapter(path: path ?? source)
        if path == nil, try ConversionReceipt.digests(of: adapter) != digests {
            throw PeftfileError(
                .refused, "is not the adapter that the conversion read: a file's SHA-256 differs from the receipt's",
                file: source, rule: "ReceiptInput", help: "to judge by what is there now: " + help)
        }
        return (adapter, try bases.map { PipelineBase(try Checkpoint.open($0.path), component: $0.component) })
    }

    /// The files of the result that are not what was written: changed, or gone. Without hashes only the latter.
    ///
    /// - Throws: `.io` where a file of the result cannot be read; `.refused` where something that is no regular file is in its place;
    ///   `.notFound` where a link is there that leads nowhere; `.interrupted` where a signal came.
    public func changedFiles() throws -> [String] { try evidence.changedFiles() }
}

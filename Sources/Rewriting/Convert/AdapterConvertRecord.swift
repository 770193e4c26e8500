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
    /// Who is to load it, where that was said.
    public let loader: ConversionLoader?
    /// What was folded, repaired or dropped.
    public let notes: [String]
    private let bases: [(path: String, component: String?)]
    /// What the receipt says of the files.
    public let evidence: ReceiptEvidence

    /// Reads the receipt in a directory or beside a file; nil where there is none, or one of another operation.
    ///
    /// - Throws: `.malformed` where the receipt is no JSON, or lacks what a conversion writes.
    public init?(besides path: String) throws {
        let file = FileSystem.isDirectory(path) ? FileSystem.join(path, Receipt.fileName) : path + ".receipt.json"
        guard FileSystem.exists(file) else { return nil }
        let document = try JSONValue.parse(FileReader(path: file).allBytes(limit: 1 << 28), file: file, allowing: .strict)
        let predicate = document["predicate"]
        func malformed(_ key: String) -> PeftfileError {
            PeftfileError(
                .malformed, "the receipt has no usable \(key)", file: file, rule: "Receipt", help: "peftfile diff INPUT \(path.shellQuoted)")
        }
        guard document["schema"]?.stringValue == "peftfile.convert/1",
            let target = predicate?["options"]?["to"]?.stringValue.flatMap(ConversionTarget.init(rawValue:))
        else { return nil }
        let options = try ReceiptOptions(
            predicate?["options"],
            known: [
                "to", "as", "component", "scale", "orientation", "enable_lora", "expert_order", "square_orientation", "architecture", "heads",
                "round_scale", "for",
            ], malformed: malformed)
        let adapter = predicate?["adapters"]?.arrayValue?.first
        guard let source = adapter?["path"]?.stringValue else { throw malformed("adapter") }
        (self.source, self.target) = (source, target)
        var binding = BindingOptions(
            orientation: try options.required("orientation", options.choice("orientation")), scale: try options.value("scale", \.doubleValue))
        binding.component = try options.value("component", \.stringValue)
        binding.enableLoRA = try options.list("enable_lora", \.boolValue)
        binding.expertOrder = try options.choice("expert_order")
        binding.squareOrientation = try options.choice("square_orientation")
        self.binding = binding
        let counts = try options.list("heads", \.intValue)
        guard counts.isEmpty || counts.count == 2 else { throw malformed("option heads") }
        heads = counts.isEmpty ? nil : GGUFHeads(query: counts[0], key: counts[1])
        componentName = try options.value("as", \.stringValue)
        roundsScale = try options.value("round_scale", \.boolValue) ?? false
        loader = try options.choice("for")
        notes = (predicate?["notes"]?.arrayValue ?? []).compactMap(\.stringValue)
        let bases = predicate?["bases"]?.arrayValue ?? []
        self.bases = bases.compactMap { base in base["path"]?.stringValue.map { ($0, base["component"]?.stringValue) } }
        evidence = try ReceiptEvidence(
            result: path, document: document, schema: "peftfile.convert/1", inputs: bases + [adapter], malformed: malformed)
    }

    /// Opens the adapter that was converted, and the bases whose names it got.
    ///
    /// - Parameter path: where the adapter is; nil for the path that the receipt names, and then it must be what it was.
    /// - Throws: `.notFound` where an input is not there; `.refused` where it changed since the conversion.
    public func openInputs(from path: String? = nil) throws -> (adapter: Adapter, bases: [PipelineBase]) {
        let help = "peftfile diff INPUT \(evidence.result.shellQuoted)"
        try evidence.requireInputs((path == nil ? [source] : []) + bases.map(\.path), operation: "conversion", help: help)
        return (try Adapter(path: path ?? source), try bases.map { PipelineBase(try Checkpoint.open($0.path), component: $0.component) })
    }
}

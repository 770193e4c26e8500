import Peftfile
import TestSupport

/// One case of Fixtures/strip: a training state, and the prompt that an independent float64 computation expects.
struct StripCase {
    let name: String
    private let file: JSONValue

    static let names: [String] = ((try? FileSystem.list(Fixtures.path("strip"))) ?? []).filter { $0 != "index.json" }

    init(_ name: String) throws {
        self.name = name
        file = try JSONValue.parse(TestFile.bytes(Fixtures.path("strip/\(name)/case.json")), file: name)
    }

    var unstripped: String { Fixtures.path("strip/\(name)/unstripped") }
    var mustRefuse: Bool { file["must_refuse"]?.boolValue == true }
    /// Expected files of PEFT's own types are in PEFT's layout, all others in their source's.
    var layout: StripOptions.Layout { file["peft_type"]?.stringValue == nil ? .source : .peft }
    var maximumULP: UInt64 { UInt64(file["tolerance"]?["max_ulp"]?.intValue ?? 0) }
    var scaledULP: Double { file["tolerance"]?["scaled_ulp"]?.doubleValue ?? 0 }

    func expected() throws -> Checkpoint {
        try Checkpoint.open(Fixtures.path("strip/\(name)/expected/stripped.safetensors"))
    }

    /// Strips into `target`; returns the receipt, or nil where the source is stripped already.
    static func strip(_ path: String, to target: String, _ options: StripOptions = StripOptions()) throws -> StripReceipt? {
        switch try StripPlan.make(PromptSource(path: path), options) {
        case .alreadyStripped: nil
        case .plan(let plan):
            try StripExecutor(
                plan: plan, target: target, settings: .init(jobs: 2, replacing: options.writesStripped)).run()
        }
    }

    static func verify(_ result: String, from source: String) throws -> EquivalenceReport {
        let record = try StripRecord(in: result)
        let files = try PromptSource.open(result)
        return try StripVerifier(
            source: PromptSource(path: source), result: files.checkpoint, config: files.config, task: record?.task,
            dtype: record?.dtype
        ).run()
    }
}

import Adapters
import ByteAccess
import Checkpoints
import Rewriting
import Tensors
import TestSupport
import Testing

/// `Formats/prefix-tuning.md`, `p-tuning.md` and `bottleneck-adapters.md` against the code, byte for byte.
@Suite struct PromptPageTests {
    /// The tensors and the config of an example, written as an adapter directory.
    struct State {
        let directory: TemporaryDirectory
        let document: JSONObject
        var path: String { directory.path("state") }

        init(_ example: FormatPage.Example) throws {
            directory = try TemporaryDirectory()
            document = try #require(try JSONValue.parse(Array(example.text.utf8), file: nil).objectValue)
            try FileSystem.makeDirectory(directory.path("state"))
            var header = "{"
            var body: [UInt8] = []
            for (name, value) in try #require(document["tensors"]?.objectValue).members {
                let parts = try #require(value.arrayValue)
                let dtype = try #require(parts[0].stringValue.flatMap(DType.init(rawValue:)))
                let shape = try #require(parts[1].arrayValue).compactMap(\.intValue)
                let size = shape.reduce(dtype.bits / 8, *)
                let bytes = parts.count > 2 ? PromptPageTests.bytes(parts[2]) : [UInt8](repeating: 0, count: size)
                #expect(bytes.count == size, "\(name), \(example)")
                header += (header == "{" ? "" : ",") + "\"\(name)\":{\"dtype\":\"\(dtype.rawValue)\",\"shape\":\(shape),"
                    + "\"data_offsets\":[\(body.count),\(body.count + size)]}"
                body += bytes
            }
            let text = Array((header + "}").utf8)
            let file = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text + body
            try TestFile.write(file, to: "\(path)/adapter_model.safetensors")
            if let config = document["config"] { try TestFile.write(config.serialized(), to: "\(path)/adapter_config.json") }
        }

        var options: StripOptions {
            let options = document["options"]?.objectValue
            return StripOptions(
                layout: options?["layout"]?.stringValue.flatMap(StripOptions.Layout.init(rawValue:)),
                task: options?["task"]?.intValue, stated: PromptFacts(layers: options?["num_layers"]?.intValue))
        }
    }

    /// Hex digits as bytes.
    static func bytes(_ value: JSONValue) -> [UInt8] {
        let digits = Array((value.stringValue ?? "").utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(String(decoding: digits[$0...$0 + 1], as: UTF8.self), radix: 16) ?? 0
        }
    }

    @Test(arguments: ["prefix-tuning.md", "p-tuning.md"]) func promptsAreStrippedAsThePageSays(_ name: String) throws {
        let examples = try FormatPage(name).examples.filter { $0.kind == "prompt-state" }
        #expect(examples.count >= 6 && examples.count { $0.isAccepted } >= 3)
        for example in examples {
            let state = try State(example)
            do {
                guard case .plan(let plan) = try StripPlan.make(PromptSource(path: state.path), state.options) else {
                    Issue.record("nothing to strip: \(name), \(example)")
                    continue
                }
                _ = try StripExecutor(plan: plan, target: state.directory.path("out")).run()
                #expect(example.isAccepted, "\(name), \(example)")
            } catch let error as PeftfileError {
                #expect(error.rule == example.rule, "\(name), \(example): \(error)")
                continue
            }
            let result = try PromptSource.open(state.directory.path("out")).checkpoint
            let wanted = try #require(state.document["stripped"]?.objectValue).members
            #expect(Set(result.tensors.map(\.name)) == Set(wanted.map(\.key)), "\(name), \(example)")
            for (tensor, value) in wanted {
                let stored = try #require(result[tensor])
                let parts = try #require(value.arrayValue)
                #expect(stored.dtype.rawValue == parts[0].stringValue)
                #expect(stored.shape == (parts[1].arrayValue ?? []).compactMap(\.intValue))
                #expect(try result.read(stored) == Self.bytes(parts[2]), "\(name), \(example)")
            }
        }
    }

    @Test func bottlenecksAreReadAsThePageSays() throws {
        let examples = try FormatPage("bottleneck-adapters.md").examples
        #expect(examples.count == 3)
        for example in examples {
            let state = try State(example)
            let hasConfig = state.document["config"] != nil
            var inspection = try Inspection(path: hasConfig ? state.path : "\(state.path)/adapter_model.safetensors")
            inspection.statistics = try inspection.checkpoint.statistics(jobs: 1)
            let report = try #require(inspection.bottlenecks)
            func texts(_ key: ExactString) -> [String] { (state.document[key]?.arrayValue ?? []).compactMap(\.stringValue) }
            #expect(report.findings == texts("findings"), "\(example)")
            #expect(inspection.untrained == texts("untrained"), "\(example)")
        }
    }

    /// Every function that is computed stands on the page, and every form's own words.
    @Test func functionsAndNamesStandOnThePage() throws {
        let page = try FormatPage("prefix-tuning.md").text
        for activation in PromptActivation.allCases { #expect(page.contains("`\(activation.rawValue)`")) }
        for word in ["prompt_encoder", "transform.0", "prefix_encoder", "control_trans_enc", "prefix_tunings", "reparams"] {
            #expect(page.contains(word))
        }
    }
}

import Adapters
import ByteAccess
import Checkpoints
import Foundation
import TestSupport
import Testing

/// `Formats/peft-adapter.md`, `lora.md` and `receipt.md` against the code.
@Suite struct AdapterPageTests {
    static let pages = [
        "peft-adapter.md", "lora.md", "receipt.md", "prefix-tuning.md", "p-tuning.md", "bottleneck-adapters.md",
        "kohya.md", "mlx.md", "torchtune.md", "loralib.md", "conversion.md", "gguf-adapter.md", "diffusers.md",
    ]

    // MARK: Rules

    /// The rule names that a module's errors carry: `rule: "Name"`, or the literal of a local `refuse("…", "Name")`.
    static func rules(in module: String) throws -> Set<String> {
        let directory = "\(Fixtures.repository)/Sources/\(module)"
        var rules: Set<String> = []
        for path in try FileManager.default.subpathsOfDirectory(atPath: directory) where path.hasSuffix(".swift") {
            let text = try TestFile.text("\(directory)/\(path)")
            for match in text.matches(of: /rule: "(\w+)"/) { rules.insert(String(match.1)) }
            for call in text.matches(of: /throw refuse\((?:[^)"]|"[^"]*"|\([^)]*\))*\)/) {
                let words = call.0.matches(of: /"([A-Z]\w+)"/).map { String($0.1) }
                if let rule = words.first { rules.insert(rule) }
            }
        }
        return rules
    }

    @Test func everyRuleStandsOnAPage() throws {
        let pages = try Self.pages.map { try FormatPage($0) }
        let named = Set(pages.flatMap(\.boldNames))
        let adapters = try Self.rules(in: "Adapters")
        let rewriting = try Self.rules(in: "Rewriting")
        #expect(adapters.count > 45 && adapters.isSuperset(of: ["ActivatedLoRA", "AlphaMissing", "ArrowRouter"]))
        #expect(adapters.union(rewriting).subtracting(named).isEmpty, "the sources have them, the pages do not")
        let commands = try Self.rules(in: "PeftfileCommands")
        #expect(named.subtracting(adapters.union(rewriting).union(commands)).isEmpty, "the pages have them, the sources do not")
    }

    @Test(arguments: pages) func rulesAreNumberedFromOne(_ name: String) throws {
        let numbers = try FormatPage(name).text.matches(of: /(?m)^(\d+)\. \*\*/).compactMap { Int(String($0.1)) }
        #expect(numbers == Array(1...numbers.count))
    }

    // MARK: Keys and configs

    @Test func keysAreTakenApartAsThePageSays() throws {
        let page = try FormatPage("peft-adapter.md")
        let example = try #require(page.examples.first { $0.kind == "adapter-keys" })
        let document = try JSONValue.parse(Array(example.text.utf8), file: nil)
        let members = try #require(document.objectValue).members
        #expect(members.count >= 10)
        for (name, parts) in members {
            let key = AdapterKey(name)
            let wanted = try #require(parts.arrayValue)
            #expect(key.module.text == wanted[0].stringValue, "\(name)")
            #expect(key.component == wanted[1].stringValue, "\(name)")
            #expect(key.leaf == wanted[2].stringValue, "\(name)")
            #expect(key.depth == wanted[3].intValue, "\(name)")
        }
    }

    @Test func configsAreReadAsThePagesSay() throws {
        var count = 0
        for name in ["peft-adapter.md", "lora.md"] {
            for example in try FormatPage(name).examples where example.kind == "adapter-config" {
                count += 1
                #expect(example.isAccepted || example.isRejected, "\(name), \(example)")
                do {
                    _ = try SmallModel(config: example.text).binding()
                    #expect(example.isAccepted, "\(name), \(example)")
                } catch let error as PeftfileError {
                    #expect(error.rule == example.rule, "\(name), \(example): \(error)")
                }
            }
        }
        #expect(count >= 17)
    }

    /// The tables name every key that the code knows: those of all methods on one page, LoRA's on the other.
    @Test func everyConfigKeyStandsOnItsPage() throws {
        let adapter = try FormatPage("peft-adapter.md")
        for key in AdapterConfig.keysWithoutEffect { #expect(adapter.text.contains("`\(key)`"), "\(key)") }
        let lora = try FormatPage("lora.md")
        let method = try #require(MethodRegistry.method(named: "LORA"))
        for key in method.configKeys { #expect(lora.text.contains("`\(key)`"), "\(key)") }
    }

    /// Every `peft_type` that is refused for a reason of its own stands on the page.
    @Test func everyUnmergeableMethodStandsOnThePage() throws {
        let page = try FormatPage("peft-adapter.md")
        for method in MethodRegistry.methods where "\(type(of: method))" == "UnmergeableMethod" {
            for name in method.peftTypes { #expect(page.text.contains("`\(name)`"), "\(name)") }
        }
    }
}

/// A base of one matrix (4, 4) and an adapter for it with A (2, 4) and B (4, 2).
struct SmallModel {
    let directory: TemporaryDirectory

    init(config: String) throws {
        directory = try TemporaryDirectory()
        let module = "layers.0.q_proj"
        try directory.write(Self.file(["\(module).weight": [4, 4]]), to: "base.safetensors")
        try directory.write(
            Self.file(["base_model.model.\(module).lora_A.weight": [2, 4], "base_model.model.\(module).lora_B.weight": [4, 2]]),
            to: "adapter_model.safetensors")
        try directory.write(config, to: "adapter_config.json")
    }

    func binding() throws -> Binding {
        try Binding(
            base: .open(directory.path("base.safetensors")), adapters: [Adapter(path: directory.path)])
    }

    /// A safetensors file of F32 ones.
    private static func file(_ tensors: KeyValuePairs<String, [Int]>) -> [UInt8] {
        var header = "{"
        var end = 0
        for (name, shape) in tensors {
            let bytes = 4 * shape.reduce(1, *)
            header += header == "{" ? "" : ","
            header += #""\#(name)":{"dtype":"F32","shape":[\#(shape.map(String.init).joined(separator: ","))],"#
            header += #""data_offsets":[\#(end),\#(end + bytes)]}"#
            end += bytes
        }
        header += "}"
        while header.utf8.count % 8 != 0 { header += " " }
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
        return length + Array(header.utf8) + (0..<(end / 4)).flatMap { _ in [0, 0, 0x80, 0x3F] as [UInt8] }
    }
}

import ByteAccess
import Foundation
import TestSupport
import Testing

@testable import Adapters

/// The modules that PEFT takes where a config names none: against the tables of PEFT 0.21.2, recorded from its source in
/// `Fixtures/names/default-targets.json`.
@Suite struct DefaultTargetTests {
    private static let tables: [JSONValue] = {
        let path = Fixtures.path("names/default-targets.json")
        guard let bytes = FileManager.default.contents(atPath: path) else { return [] }
        return (try? JSONValue.parse(Array(bytes), file: path))?.arrayValue ?? []
    }()

    /// The table of a method: what `target_modules` is, by `model_type`.
    static func recorded(_ peftType: String) -> JSONObject? {
        tables.first { $0["peft_types"]?.arrayValue?.contains { $0.stringValue == peftType } == true }?["targets"]?.objectValue
    }

    @Test func everyMethodHasItsTable() throws {
        var count = 0
        let types = Set(Self.tables.flatMap { $0["targets"]?.objectValue?.members.map(\.key) ?? [] })
        for method in MethodRegistry.methods where method.needsTargetModules {
            let table = try #require(method.peftTypes.lazy.compactMap { Self.recorded($0) }.first, "\(method.peftTypes)")
            // OSF takes all linear layers of a type that it does not know.
            let others: JSONValue? = method.peftTypes == ["OSF"] ? JSONValue.string("all-linear") : Optional.none
            for type in types {
                let (targets, wanted) = (method.defaultTargets.targets(of: type.text), table[type] ?? others)
                #expect(targets == wanted, "\(method.peftTypes) \(type): \(String(describing: targets))")
                count += 1
            }
        }
        #expect(count > 1000)
    }

    /// An expression is one that is read here, and means what Python says: `re.fullmatch` of both paths, run there.
    @Test func expressionsAreRead() throws {
        let pattern = try #require(LoRA().defaultTargets.targets(of: "gemma4")?.stringValue)
        let expression = try RegularExpression(wholePattern: pattern)
        #expect(expression.matchesWhole("model.language_model.layers.0.self_attn.q_proj"))
        #expect(!expression.matchesWhole("model.vision_tower.encoder.layers.0.self_attn.q_proj"))
    }
}

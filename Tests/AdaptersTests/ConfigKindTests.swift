import ByteAccess
import Checkpoints
import Foundation
import TestSupport
import Testing

@testable import Adapters

/// Config values of the wrong kind, and keys that are not there: for each method every key that it uses, in an adapter that PEFT
/// wrote.
@Suite struct ConfigKindTests {
    struct Item: Sendable, CustomTestStringConvertible {
        let type, fixture: String
        var testDescription: String { "\(type): \(fixture)" }
    }

    /// For each `peft_type` that merges, the first fixture.
    static let items: [Item] = {
        let folder = Fixtures.path("merge")
        var seen: Set<String> = []
        return ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted().compactMap { name in
            guard let json = try? JSONValue.parse(TestFile.bytes("\(folder)/\(name)/case.json"), file: nil),
                let type = json["peft_type"]?.stringValue, let method = MethodRegistry.method(named: type),
                !(method is UnmergeableMethod), json["must_refuse"]?.boolValue != true || type == "POLY", seen.insert(type).inserted
            else { return nil }
            return Item(type: type, fixture: name)
        }
    }()

    private static func adapter(_ item: Item, _ edit: (inout JSONObject) -> Void) throws -> Adapter {
        var adapter = try Adapter(path: Fixtures.path("merge/\(item.fixture)/adapter"))
        let config = try #require(adapter.config)
        var json = config.json
        edit(&json)
        adapter.config = try AdapterConfig(json: json, path: config.path)
        return adapter
    }

    private static func refusal(_ item: Item, _ edit: (inout JSONObject) -> Void) throws -> PeftfileError? {
        let base = try Checkpoint.open(Fixtures.path("merge/\(item.fixture)/base"))
        do {
            _ = try Binding(base: base, adapters: [try adapter(item, edit)], options: BindingOptions(task: item.type == "POLY" ? 0 : nil))
            return nil
        } catch let error as PeftfileError {
            return error
        }
    }

    /// One value of each kind, none of which is a feature that is off.
    private static let values: [(kind: ConfigKind, value: JSONValue)] = [
        (.number, .number(JSONNumber(3))), (.flag, .bool(true)), (.text, .string("foo")), (.list, .array([.string("foo")])),
        (.map, .object(["foo": "bar"])),
    ]

    @Test func everyMethodThatMergesHasAFixture() {
        let merging = MethodRegistry.methods.filter { !($0 is UnmergeableMethod) }
        #expect(Set(Self.items.map(\.type)).isSuperset(of: merging.compactMap(\.peftTypes.first)))
    }

    /// PEFT 0.1 wrote whether its layers merge for evaluation.
    @Test func aKeyOfTheFirstPEFT() throws {
        let item = try #require(Self.items.first { $0.type == "LORA" })
        #expect(try Self.refusal(item) { $0["merge_weights"] = .bool(true) } == nil)
    }

    /// A new key is either of a kind, or said to have no part in a merge.
    @Test func everyKeyIsOfAKindOrOfTrainingAlone() {
        for method in MethodRegistry.methods {
            for key in method.configKeys {
                #expect((ConfigKind.kinds(of: key) != nil) != ConfigKind.training.contains(key), "\(method.peftTypes): \(key)")
            }
            #expect(method.requiredKeys.isSubset(of: method.configKeys) && method.nullableKeys.isSubset(of: method.requiredKeys))
        }
    }

    @Test(arguments: items) func aValueOfTheWrongKindIsRefusedByName(_ item: Item) throws {
        #expect(try Self.refusal(item) { _ in } == nil)
        let method = try #require(MethodRegistry.method(named: item.type))
        for key in method.configKeys.sorted() {
            guard let kinds = ConfigKind.kinds(of: key) else { continue }
            for (kind, value) in Self.values where !kinds.contains(kind) {
                let error = try Self.refusal(item) { $0[ExactString(key)] = value }
                #expect(error?.rule == "ConfigValue" && error?.message.contains("\"\(key)\"") == true, "\(key) \(value): \(String(describing: error))")
                let adapter = try Self.adapter(item) { $0[ExactString(key)] = value }
                #expect(throws: PeftfileError.self) { try method.requireConfig(of: adapter) }
            }
        }
    }

    /// What no key says is asked for, not assumed; null counts as not said, but where it is an answer.
    @Test(arguments: items) func aKeyThatIsNotThereIsRefusedByName(_ item: Item) throws {
        let method = try #require(MethodRegistry.method(named: item.type))
        for key in method.requiredKeys.sorted() {
            var error = try Self.refusal(item) { $0[ExactString(key)] = nil }
            #expect(error?.rule == "ConfigKeyMissing" && error?.message.contains(key) == true, "\(key): \(String(describing: error))")
            error = try Self.refusal(item) { $0[ExactString(key)] = .null }
            #expect((error?.rule == "ConfigKeyMissing") != method.nullableKeys.contains(key), "\(key): \(String(describing: error))")
        }
    }

    /// PEFT takes a list of its own for the model's type where the config has none, drops what is of other modules, and raises where it
    /// has no list.
    @Test(arguments: items) func modulesThatNothingNamesAreThoseOfPEFTsList(_ item: Item) throws {
        let base = try Checkpoint.open(Fixtures.path("merge/\(item.fixture)/base"))
        let type = try #require(base.config?["model_type"]?.stringValue)
        for value: JSONValue? in [nil, .null] {
            let adapter = try Self.adapter(item) { $0["target_modules"] = value }
            var (rule, warnings): (String?, [String]) = (nil, [])
            do {
                warnings = try Binding(base: base, adapters: [adapter], options: BindingOptions(task: item.type == "POLY" ? 0 : nil)).warnings
            } catch let error as PeftfileError { rule = error.rule }
            let isSaid = warnings.contains { $0.contains("no target_modules") }
            if item.type == "TRAINABLE_TOKENS" {
                #expect(rule == nil && !isSaid)
            } else if let names = DefaultTargetTests.recorded(item.type)?[ExactString(type)]?.arrayValue?.compactMap(\.stringValue) {
                let modules = Set(adapter.keys.filter { $0.component != nil && !$0.module.text.isEmpty }.map(\.module.text))
                let isCovered = modules.allSatisfy { module in names.contains { module.hasSuffix(".\($0)") } }
                // Whose modules only the config names is refused before.
                #expect(rule == (modules.isEmpty ? "ConfigKeyMissing" : isCovered ? nil : "TensorNotLoaded"), "\(modules)")
                #expect(isSaid == (rule == nil), "\(warnings)")
            } else {
                #expect(rule == "ConfigKeyMissing")
            }
        }
    }

    /// Seeds without which a projection cannot be made again.
    @Test(arguments: [
        ("vera-noproj", "projection_prng_key"), ("unilora", "proj_seed"), ("fourierft", "random_loc_seed"), ("waveft", "random_loc_seed"),
    ]) func aSeedThatIsNotThere(_ fixture: String, _ key: String) throws {
        let error = try Self.refusal(Item(type: "", fixture: fixture)) { $0[ExactString(key)] = nil }
        #expect(error?.rule == "SeedMissing" && error?.message.contains(key) == true, "\(String(describing: error))")
    }
}

import Foundation
import Peftfile
import TestSupport
import Testing

/// Every value of `peft_type` that PEFT has is either a method with a file of its own or a refusal by name.
@Suite struct MethodRegistryTests {
    /// `PeftType` of PEFT 0.21, as Fixtures/peft_types.json lists it.
    static let types: [String] = {
        let file = try? JSONValue.parse(TestFile.bytes(Fixtures.path("peft_types.json")), file: nil)
        return (file?["types"]?.objectValue?.keys ?? []).map(\.text)
    }()

    @Test func allTypesOfTheLibraryAreThere() { #expect(Self.types.count == 45) }

    @Test(arguments: types) func isAMethodFileOrANamedRefusal(_ type: String) throws {
        let methods = MethodRegistry.methods.filter { $0.peftTypes.contains(type) }
        #expect(methods.count == 1)
        let method = try #require(methods.first)
        let name = "\(Swift.type(of: method))"
        let directory = "\(Fixtures.repository)/Sources/Adapters/Methods"
        if name == "UnmergeableMethod" {
            let children = Dictionary(uniqueKeysWithValues: Mirror(reflecting: method).children.map { ($0.label ?? "", $0.value) })
            let reason = try #require(children["reason"] as? String)
            #expect(reason.count > 40, "a reason, not a word")
        } else {
            let text = try TestFile.text("\(directory)/\(name).swift")
            #expect(text.contains("struct \(name): "), "\(name).swift holds the method and is named for it")
        }
    }

    /// No method has a type that PEFT does not know, but for the one that MiSS had before.
    @Test func noTypeIsInvented() {
        #expect(Set(MethodRegistry.knownTypes).subtracting(Self.types) == ["BONE"])
        #expect(MethodRegistry.knownTypes.count == Set(MethodRegistry.knownTypes).count)
    }

    /// What is known stands in the message.
    @Test func aTypeFromTheFutureIsNamedWithWhatIsKnown() throws {
        let message = MethodRegistry.unknown("HYPERLORA_2031")
        #expect(message.contains("\"HYPERLORA_2031\" is not known to this version"))
        for type in Self.types { #expect(message.contains(type)) }
    }
}

import ByteAccess
import Foundation
import Tensors
import Testing

@testable import Adapters

/// Multimodal models inside another (`vlm.`), and towers called `vision_model`: the linear layers in memory of transformers 4 and 5 against
/// the files of both, found by numbered tensors (`Fixtures/names/wrapped.json`).
@Suite struct WrappedNameTests {
    private static let cases: [JSONValue] = {
        let file = NamingCase.directory.deletingLastPathComponent().appending(path: "names/wrapped.json")
        guard let data = try? Data(contentsOf: file) else { return [] }
        return (try? JSONValue.parse(Array(data), file: "wrapped.json")["cases"]?.arrayValue) ?? []
    }()

    @Test func theFixtureIsThere() { #expect(Self.cases.count == 3) }

    @Test(arguments: 0..<3, [("4", "4"), ("4", "5"), ("5", "4"), ("5", "5")])
    func everyLayerIsFound(_ index: Int, _ versions: (file: String, memory: String)) throws {
        let model = Self.cases[index].objectValue
        let files = try #require(model?["files"]?[ExactString(versions.file)]?.objectValue)
        let memory = try #require(model?["memory"]?[ExactString(versions.memory)]?.objectValue)
        var numbers: [ExactString: Int] = [:]
        let tensors = files.members.map { member in
            numbers[member.key] = member.value.arrayValue?.first?.intValue
            return (name: member.key, shape: (member.value.arrayValue?.last?.arrayValue ?? []).compactMap(\.intValue))
        }
        let base = BaseDirectory(tensors: tensors, config: model?["config"]?.objectValue)
        // The head is tied, and which of the two names a file has is another matter.
        let layers = memory.members.filter { !$0.key.text.hasSuffix("lm_head") }
        #expect(layers.count > 10)
        let requests = layers.map { ParameterRequest(module: $0.key, parameter: .weight) }
        let places = try NameResolver(base: base).resolve(requests)
        for (request, layer) in zip(requests, layers) {
            let found = try #require(places[request]?.pieces.first?.tensor, "\(request.module)")
            #expect(numbers[found] == layer.value.intValue, "\(request.module): \(found)")
        }
    }
}

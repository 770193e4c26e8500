import ByteAccess
import Foundation
import Tensors
import Testing

@testable import Adapters

/// Names in memory against names on disk, as `revert_weight_conversion` of transformers 5.24 makes them (`Fixtures/naming/renames.json`,
/// found by numbered elements, so that it depends on no table).
@Suite struct RenameFixtureTests {
    struct Model: CustomTestStringConvertible, @unchecked Sendable {
        let name: String
        let base: BaseDirectory
        /// Each linear layer's weight: the tensor, the first row in it, and the rows.
        let modules: [(module: String, tensor: String, row: Int, rows: Int)]

        var testDescription: String { name }

        static let all: [Model] = {
            let file = NamingCase.directory.deletingLastPathComponent().appending(path: "naming/renames.json")
            guard let data = try? Data(contentsOf: file), let list = try? JSONSerialization.jsonObject(with: data) as? [[String: Any]]
            else { return [] }
            return list.compactMap { try? Model($0) }
        }()

        init(_ json: [String: Any]) throws {
            name = try #require(json["class"] as? String)
            let shapes = try #require(json["tensors"] as? [String: [Int]])
            let config = try JSONSerialization.data(withJSONObject: try #require(json["config"]))
            base = BaseDirectory(
                tensors: shapes.keys.sorted().map { (ExactString($0), shapes[$0] ?? []) },
                config: try JSONValue.parse(Array(config), file: "config.json").objectValue)
            modules = try #require(json["modules"] as? [String: Any]).sorted { $0.key < $1.key }.compactMap { module, place in
                if let tensor = place as? String { return (module, tensor, 0, shapes[tensor]?.first ?? 0) }
                guard let part = place as? [Any], let tensor = part[0] as? String, let row = part[1] as? Int, let rows = part[2] as? Int
                else { return nil }
                return (module, tensor, row, rows)
            }
        }
    }

    @Test func theFixtureIsThere() {
        #expect(Model.all.count == 47)
        #expect(Model.all.reduce(0) { $0 + $1.modules.count } == 785)
    }

    @Test(arguments: Model.all) func everyLayerHasItsRows(_ model: Model) throws {
        let requests = model.modules.map { ParameterRequest(module: ExactString($0.module), parameter: .weight) }
        let resolution = try NameResolver(base: model.base).survey(requests)
        for (request, expected) in zip(requests, model.modules) {
            if UnreadLayouts.layout(of: expected.module, in: model.base.modelTypes) != nil {
                // Rows in another order, or of heights that no file tells: refused, never guessed.
                #expect(resolution.places[request] == nil, "\(expected.module)")
                continue
            }
            let place = resolution.places[request]
            #expect(place?.pieces.map(\.tensor.text) == [expected.tensor], "\(expected.module)")
            #expect(place?.pieces.first?.storedOffset == expected.row, "\(expected.module)")
            #expect(place?.pieces.first?.rows == 0..<expected.rows, "\(expected.module)")
        }
    }
}

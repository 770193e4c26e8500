import ByteAccess
import Foundation
import Tensors
import Testing

@testable import Adapters

/// The ties against `_tied_weights_keys` of every class of transformers 5.24, as `Fixtures/naming/tied-weights.json` has them.
@Suite struct TiedWeightTableTests {
    struct Group: Decodable, CustomTestStringConvertible {
        /// The parameter that is not stored, and the one that it is read from.
        let tied: [String: String]
        /// Classes with these ties, and the model type of each.
        let classes: [String: String]

        var testDescription: String { classes.keys.sorted().first ?? "" }

        static let all: [Group] = {
            let file = NamingCase.directory.deletingLastPathComponent().appending(path: "naming/tied-weights.json")
            return (try? JSONDecoder().decode([Group].self, from: Data(contentsOf: file))) ?? []
        }()
    }

    @Test func theFixtureIsThere() {
        #expect(Group.all.count == 85)
        #expect(Group.all.reduce(0) { $0 + $1.classes.count } == 391)
    }

    @Test(arguments: Group.all) func whatAClassTiesIsFound(_ group: Group) throws {
        // A chain of ties ends at what is stored.
        func stored(_ name: String) -> String { group.tied[name].map(stored) ?? name }
        for (name, type) in group.classes {
            let base = BaseDirectory(
                tensors: Set(group.tied.values.map(stored)).sorted().map { (ExactString($0), [6, 4]) }, modelType: type,
                tieWordEmbeddings: true, architectures: [name])
            for tied in group.tied.keys {
                let suffix = tied.hasSuffix(".weight") ? "weight" : "bias"
                let module = ExactString(String(tied.dropLast(suffix.count + 1)))
                let request = ParameterRequest(module: module, parameter: .named(suffix))
                let place = try NameResolver(base: base).survey([request]).places[request]
                #expect(place?.pieces.map(\.tensor.text) == [stored(tied)], "\(name): \(tied)")
            }
        }
    }
}

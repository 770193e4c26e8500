import ByteAccess
import Foundation
import Testing

@testable import Adapters

/// The order of modules against `named_modules()` of a model of each type, made with transformers 5.24: lists of siblings with a linear
/// layer in them (`Fixtures/naming/module-order.json`).
@Suite struct RegisteredOrderTests {
    struct Model: Decodable, Sendable, CustomTestStringConvertible {
        let types: [String]
        /// Siblings at the top of the model, and those below.
        let top: [String]
        let inner: [String]

        var testDescription: String { types.joined(separator: " ") }

        static let all: [Model] = {
            let file = NamingCase.directory.deletingLastPathComponent().appending(path: "naming/module-order.json")
            return (try? JSONDecoder().decode([Model].self, from: Data(contentsOf: file))) ?? []
        }()

        /// Whether the siblings come out in the model's order; nil where the order is not known.
        func holds(_ list: String, under prefix: String) throws -> Bool? {
            let paths = list.split(separator: " ").map { ExactString("\(prefix)\($0)") }
            var base = BaseDirectory(tensors: paths.map { (ExactString("\($0).weight"), [4, 4]) }, modelType: types.first)
            base.partModelTypes = Array(types.dropFirst())
            do {
                return try ModuleOrder(base: base).sorted(paths.sorted()) == paths
            } catch let error as PeftfileError where error.rule == "ModuleOrder" {
                return nil
            }
        }
    }

    /// No order is wrong, and few are not known.
    @Test func theOrderIsThatOfTheModel() throws {
        var (known, unknown) = (0, 0)
        for model in Model.all {
            for (list, prefix) in model.top.map({ ($0, "") }) + model.inner.map({ ($0, "part.") }) {
                switch try model.holds(list, under: prefix) {
                case true?: known += 1
                case false?: Issue.record("\(model.types): \(list)")
                case nil: unknown += 1
                }
            }
        }
        #expect(Model.all.count == 541)
        #expect(known > 2600)
        #expect(unknown < known / 20, "\(unknown) of \(known + unknown)")
    }
}

import Adapters
import ByteAccess
import Tensors

/// A base made of a list of names, for model types that have no fixture.
struct SyntheticBase {
    var tensors: [(name: ExactString, shape: Shape)]
    var modelType: String?
    var textModelType: String?
    var tieWordEmbeddings: Bool?
    var architectures: [String] = []
    var peftVersion: String? = "0.21.2"
    var targetParameters: [String] = []

    init(_ modelType: String?, _ tensors: KeyValuePairs<String, Shape>) {
        self.modelType = modelType
        self.tensors = tensors.map { (ExactString($0.key), $0.value) }
    }

    /// Every name with the same shape.
    init(_ modelType: String?, names: [String], shape: Shape = [6, 4]) {
        self.modelType = modelType
        tensors = names.map { (ExactString($0), shape) }
    }

    var directory: BaseDirectory {
        BaseDirectory(
            tensors: tensors, modelType: modelType, textModelType: textModelType,
            tieWordEmbeddings: tieWordEmbeddings, architectures: architectures)
    }

    var resolver: NameResolver {
        NameResolver(base: directory, peftVersion: peftVersion, targetParameters: targetParameters)
    }

    /// The tensor that the weight of each module lies in; for one tensor a module.
    func tensors(of modules: [String]) throws -> [String] {
        let requests = modules.map { ParameterRequest(module: ExactString($0), parameter: .weight) }
        let places = try resolver.resolve(requests)
        return requests.map { places[$0]?.pieces.map(\.tensor.text).joined(separator: " + ") ?? "" }
    }

    func tensor(of module: String) throws -> String { try tensors(of: [module])[0] }

    /// The places of the wrappers of one module, the outermost first.
    func wrapped(_ module: String, _ updates: [(rows: Int, columns: Int)]) throws -> [ParameterPlace] {
        let requests = updates.enumerated().map { level, update in
            ParameterRequest(
                module: ExactString(module), parameter: .wrapped(level: level, levels: updates.count), update: update)
        }
        let places = try resolver.resolve(requests)
        return requests.compactMap { places[$0] }
    }
}

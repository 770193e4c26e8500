import Adapters
import ByteAccess
import Foundation
import Tensors

/// One case of Fixtures/merge, as far as names go.
struct NamingCase {
    let name: String
    let base: BaseDirectory
    let peftVersion: String?
    let targetParameters: [String]
    let requests: [ParameterRequest]
    /// The requests by the keys of `name_map`: the module path of the adapter file, with its `.base_layer`, and for
    /// parameters that are saved whole their own name behind.
    let requestsByKey: [String: ParameterRequest]
    let caseFile: [String: Any]

    static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fixtures/merge")

    /// The names of the cases that `isIncluded` holds for, in order.
    static func names(where isIncluded: (String) -> Bool) -> [String] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: directory.path())) ?? []
        return all.filter(isIncluded).sorted()
    }

    init(_ name: String) throws {
        self.name = name
        let folder = Self.directory.appending(path: name)
        caseFile = try Self.json(folder.appending(path: "case.json"))
        let config = try Self.json(folder.appending(path: "base/config.json"))
        let text = config["text_config"] as? [String: Any]
        let vision = config["vision_config"] as? [String: Any]
        base = BaseDirectory(
            tensors: try Self.tensors(folder.appending(path: "base")), modelType: config["model_type"] as? String,
            textModelType: text?["model_type"] as? String, visionModelType: vision?["model_type"] as? String,
            tieWordEmbeddings: config["tie_word_embeddings"] as? Bool,
            textTieWordEmbeddings: text?["tie_word_embeddings"] as? Bool,
            architectures: config["architectures"] as? [String] ?? [])
        let adapter = try Self.json(folder.appending(path: "adapter/adapter_config.json"))
        peftVersion = adapter["peft_version"] as? String
        targetParameters = adapter["target_parameters"] as? [String] ?? []
        (requests, requestsByKey) = Self.requests(
            try Self.tensors(folder.appending(path: "adapter")), targetParameters: targetParameters)
    }

    var resolver: NameResolver {
        NameResolver(base: base, peftVersion: peftVersion, targetParameters: targetParameters)
    }

    private static func json(_ url: URL) throws -> [String: Any] {
        try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any] ?? [:]
    }

    /// Names and shapes of all safetensors files of a folder.
    private static func tensors(_ folder: URL) throws -> [(name: ExactString, shape: Shape)] {
        var result: [(name: ExactString, shape: Shape)] = []
        for file in try FileManager.default.contentsOfDirectory(atPath: folder.path()).sorted()
        where file.hasSuffix(".safetensors") {
            let data = try Data(contentsOf: folder.appending(path: file))
            let length = data.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
            let header = try JSONSerialization.jsonObject(with: data[8..<8 + length]) as? [String: Any] ?? [:]
            for (name, value) in header.sorted(by: { $0.key < $1.key }) where name != "__metadata__" {
                result.append((ExactString(name), (value as? [String: Any])?["shape"] as? [Int] ?? []))
            }
        }
        return result
    }

    /// What the keys of a LoRA adapter ask for.
    private static func requests(
        _ tensors: [(name: ExactString, shape: Shape)], targetParameters: [String]
    ) -> ([ParameterRequest], [String: ParameterRequest]) {
        let prefix = "base_model.model."
        let shapes = Dictionary(uniqueKeysWithValues: tensors.map { ($0.name.text, $0.shape) })
        let modules = Set(
            shapes.keys.filter { $0.hasSuffix(".lora_A.weight") }.map { String($0.dropLast(".lora_A.weight".count)) })
        var list: [ParameterRequest] = []
        var byKey: [String: ParameterRequest] = [:]
        func add(_ key: String, _ request: ParameterRequest) {
            list.append(request)
            byKey[key] = request
        }
        for (name, shape) in tensors {
            let key = name.text
            guard key.hasPrefix(prefix) else { continue }
            if key.hasSuffix(".lora_A.weight") {
                let wrapped = String(key.dropLast(".lora_A.weight".count))
                let module = String(wrapped.dropFirst(prefix.count)).replacing(".base_layer", with: "")
                let b = shapes[wrapped + ".lora_B.weight"] ?? []
                let update = (rows: b[0], columns: shape.dropFirst().reduce(1, *))
                var parameter = ParameterRequest.Parameter.weight
                var outermost = wrapped
                while outermost.hasSuffix(".base_layer") { outermost.removeLast(".base_layer".count) }
                let levels = (0..<4).count { modules.contains(outermost + String(repeating: ".base_layer", count: $0)) }
                if levels > 1 || targetParameters.contains(where: { isWrapper(module, of: $0) }) {
                    let level = (wrapped.count - outermost.count) / ".base_layer".count
                    parameter = .wrapped(level: level, levels: levels)
                }
                add(
                    String(wrapped.dropFirst(prefix.count)),
                    ParameterRequest(module: ExactString(module), parameter: parameter, update: update))
            } else if key.hasSuffix(".lora_embedding_A") {
                let wrapped = String(key.dropLast(".lora_embedding_A".count))
                let b = shapes[wrapped + ".lora_embedding_B"] ?? []
                let module = String(wrapped.dropFirst(prefix.count))
                add(
                    module,
                    ParameterRequest(
                        module: ExactString(module), parameter: .weight, update: (shape[1], b[0]), isEmbedding: true))
            } else if !key.contains(".lora_") && !key.contains(".token_adapter.") && !key.contains(".base_layer.") {
                let parts = key.dropFirst(prefix.count).split(separator: ".")
                let module = parts.dropLast().joined(separator: ".")
                add(
                    String(key.dropFirst(prefix.count)),
                    ParameterRequest(module: ExactString(module), parameter: .named(String(parts[parts.count - 1]))))
            }
        }
        return (list, byKey)
    }

    private static func isWrapper(_ module: String, of target: String) -> Bool {
        let owner = target.split(separator: ".").dropLast().joined(separator: ".")
        return module == owner || module.hasSuffix("." + owner)
    }
}

/// A numpy-like part `[0:1, 12:24, :]`: per axis a range, nil for the whole.
struct TensorPart: Equatable {
    let axes: [Range<Int>?]

    init(_ text: String) {
        axes = text.dropFirst().dropLast().split(separator: ",").map { axis in
            let ends = axis.filter { $0 != " " }.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
            guard ends.count == 2, let begin = ends[0], let end = ends[1] else { return nil }
            return begin..<end
        }
    }
}

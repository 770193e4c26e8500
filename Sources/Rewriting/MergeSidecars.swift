import Adapters
import ByteAccess
import Checkpoints
import Tensors

extension RewritePlan {
    /// The files beside a merged checkpoint's weights: config, index, tokenizer, licence, model card.
    static func mergeSidecars(
        _ binding: Binding, directory: String, files: [File], configChanges: [Binding.ConfigChange],
        settings: MergeSettings, warnings: inout [String]
    ) throws -> [Sidecar] {
        let base = binding.base
        var result: [Sidecar] = []
        func write(_ name: String, _ text: String) {
            let bytes = Array(text.utf8)
            result.append(
                Sidecar(name: name, content: .bytes(bytes), origin: "peftfile", byteCount: UInt64(bytes.count)))
        }
        if let config = base.config {
            write("config.json", changed(config, by: binding, configChanges).serialized(indent: 2) + "\n")
        } else if !configChanges.isEmpty {
            throw PeftfileError(
                .refused, "has no config.json, and the merge changes "
                    + configChanges.map { $0.path.map(\.text).joined(separator: ".") }.joined(separator: ", "),
                file: directory, rule: "ConfigMissing", help: "put the base's config.json beside its weights")
        }
        if files.count > 1 || base.index != nil { result.append(index(of: files, base: base)) }
        let sidecars = try SidecarFiles(
            base: directory, adapter: binding.adapters.last(where: { $0.directory != nil })?.directory,
            namesPythonModules: base.config?["auto_map"] != nil)
        let written = Set(result.map(\.name) + files.map(\.name))
        for file in sidecars.files where !written.contains(file.name) {
            result.append(
                Sidecar(
                    name: file.name, content: .copy(path: file.path), origin: file.origin,
                    byteCount: try FileReader(path: file.path).size))
        }
        if !sidecars.leftOut.isEmpty {
            warnings.append(
                "not copied from the base: \(sidecars.leftOut.map(\.printable).joined(separator: ", "))")
        }
        if settings.writesCard {
            let card = MergeCard(of: files, binding, settings, baseDirectory: directory)
            result.append(
                Sidecar(
                    name: "README.md", content: .figures { Array(card.text($0).utf8) }, origin: "peftfile",
                    byteCount: UInt64(card.text(UpdateStatistics()).utf8.count)))
        }
        return result.sorted { $0.name < $1.name }
    }

    /// The index over the files, under the name that the input's has in safetensors.
    static func index(of files: [File], base: Checkpoint) -> Sidecar {
        let tensors = files.flatMap { file in file.tensors.map { (info: $0.info, fileName: file.name) } }
        let bytes = Array(
            ShardIndex.text(
                weightMap: tensors.map { (tensor: $0.info.name, fileName: $0.fileName) },
                totalSize: tensors.reduce(0) { $0 + $1.info.byteCount },
                totalParameters: tensors.reduce(0) { $0 + UInt64($1.info.elementCount) }
            ).utf8)
        return Sidecar(
            name: base.indexFileName.map(TorchFileNames.safetensorsIndexName) ?? "model.safetensors.index.json",
            content: .bytes(bytes), origin: "peftfile", byteCount: UInt64(bytes.count))
    }

    /// The config without what speaks of codes, and with the changes applied.
    static func changed(_ config: JSONObject, by binding: Binding, _ changes: [Binding.ConfigChange]) -> JSONValue {
        var config = config
        for key in binding.configRemovals {
            config[key] = nil
            if var text = config["text_config"]?.objectValue, text[key] != nil {
                text[key] = nil
                config["text_config"] = .object(text)
            }
        }
        return patched(config, changes)
    }

    /// The config with the changes applied; all other keys keep order and number text.
    static func patched(_ config: JSONObject, _ changes: [Binding.ConfigChange]) -> JSONValue {
        var object = config
        for change in changes { set(&object, change.path[...], change.value) }
        return .object(object)
    }

    private static func set(_ object: inout JSONObject, _ path: ArraySlice<ExactString>, _ value: JSONValue) {
        guard let key = path.first else { return }
        if path.count == 1 {
            object[key] = value
        } else if var inner = object[key]?.objectValue {
            set(&inner, path.dropFirst(), value)
            object[key] = .object(inner)
        }
    }
}

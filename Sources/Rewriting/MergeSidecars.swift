import Adapters
import ByteAccess
import Checkpoints
import Tensors

extension RewritePlan {
    /// The files beside a merged checkpoint's weights: config, index, tokenizer, licence, model card.
    static func mergeSidecars(
        _ binding: Binding, directory: String, files: [File], configChanges: [Binding.ConfigChange],
        writesCard: Bool, warnings: inout [String]
    ) throws -> [Sidecar] {
        let base = binding.base
        var result: [Sidecar] = []
        func write(_ name: String, _ text: String) {
            let bytes = Array(text.utf8)
            result.append(
                Sidecar(name: name, content: .bytes(bytes), origin: "peftfile", byteCount: UInt64(bytes.count)))
        }
        if var config = base.config {
            for key in binding.configRemovals {
                config[key] = nil
                if var text = config["text_config"]?.objectValue, text[key] != nil {
                    text[key] = nil
                    config["text_config"] = .object(text)
                }
            }
            write("config.json", patched(config, configChanges).serialized(indent: 2) + "\n")
        } else if !configChanges.isEmpty {
            throw PeftfileError(
                .refused, "has no config.json, and the merge changes "
                    + configChanges.map { $0.path.map(\.text).joined(separator: ".") }.joined(separator: ", "),
                file: directory, rule: "ConfigMissing", help: "put the base's config.json beside its weights")
        }
        if files.count > 1 || base.index != nil {
            let tensors = files.flatMap { file in file.tensors.map { (info: $0.info, fileName: file.name) } }
            write(
                base.indexFileName.map(TorchFileNames.safetensorsIndexName) ?? "model.safetensors.index.json",
                ShardIndex.text(
                    weightMap: tensors.map { (tensor: $0.info.name, fileName: $0.fileName) },
                    totalSize: tensors.reduce(0) { $0 + $1.info.byteCount },
                    totalParameters: tensors.reduce(0) { $0 + UInt64($1.info.elementCount) }))
        }
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
        if writesCard { write("README.md", ModelCard.text(for: binding, baseDirectory: directory)) }
        return result.sorted { $0.name < $1.name }
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

/// The README.md of a merged checkpoint, with the front matter that the Hub reads for lineage.
enum ModelCard {
    static func text(for binding: Binding, baseDirectory: String) -> String {
        // What was merged into goes before what a config says was trained on.
        let named = binding.adapters.compactMap { $0.config?.baseModel }.first { $0.contains("/") && HubID(name: $0) != nil }
        let baseName = HubOrigin(of: baseDirectory)?.repository ?? named
        var lines = ["---"]
        if let baseName {
            lines += ["base_model: \(baseName)", "base_model_relation: finetune"]
        }
        // A diffusers component names its class, a transformers model its type.
        lines.append("library_name: \(binding.base.config?["_class_name"] == nil ? "transformers" : "diffusers")")
        if let license = license(in: FileSystem.join(baseDirectory, "README.md")) { lines.append("license: \(license)") }
        lines += ["tags:", "- merge", "- peft", "- peftfile", "---", "", "# Merged checkpoint", ""]
        let methods = Set(binding.targets.map(\.target.method)).sorted().joined(separator: ", ")
        lines.append(
            "\(baseName.map { "`\($0)`" } ?? "The base model") with \(binding.adapters.count) adapter"
                + "\(binding.adapters.count == 1 ? "" : "s") merged into its weights by peftfile"
                + (methods.isEmpty ? "." : " (\(methods))."))
        let adapters = binding.adapters.compactMap { HubOrigin(of: $0.path) }
        if !adapters.isEmpty {
            lines += ["", "Adapters:"] + adapters.map { "`\($0.repository)` at `\($0.commit)`" }.map { "- \($0)" }
        }
        let changed = binding.outputs.filter { !$0.recipe.isCopy }.count
        lines += [
            "",
            "\(changed) of \(binding.outputs.count) tensors were computed; all others are the base's, bit for bit. Every "
                + "computed element is the float64 result rounded once.",
            "`peftfile-receipt.json` lists every file with its SHA-256, every input, and what rounding left of each update.",
            "",
        ]
        return lines.joined(separator: "\n")
    }

    /// The `license:` of a README's front matter, where it is one plain word.
    private static func license(in path: String) -> String? {
        guard let reader = try? FileReader(path: path), let bytes = try? reader.bytes(at: 0, count: Int(min(reader.size, 65536)))
        else { return nil }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.first == "---" else { return nil }
        for line in lines.dropFirst() {
            if line == "---" { return nil }
            guard line.hasPrefix("license:") else { continue }
            let value = line.dropFirst("license:".count).drop { $0 == " " }
            let isWord = !value.isEmpty && value.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0)
                    || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".")
            }
            return isWord ? String(value) : nil
        }
        return nil
    }
}

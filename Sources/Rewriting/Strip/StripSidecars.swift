import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// The files beside a stripped prompt's weights.
///
/// A PEFT directory gets its config, and tokenizer files and licence of the source. In the source's layout everything
/// readable stays: configs, tokenizers, code, heads; weights in other formats and the trainer's own state do not.
struct StripSidecars {
    var sidecars: [RewritePlan.Sidecar] = []
    var leftOut: [String] = []

    init(_ source: PromptSource, _ layout: StripOptions.Layout, config: JSONObject?, files: [StripPlan.File]) throws {
        if let config {
            let name = layout == .peft ? "adapter_config.json" : FileSystem.fileName(of: source.config?.path ?? "config.json")
            add(name, JSONValue.object(config).serialized(indent: 2) + "\n")
        }
        if layout == .source, source.checkpoint.index != nil, let name = source.checkpoint.indexFileName {
            let tensors = files.flatMap { file in file.tensors.map { (info: $0.info, fileName: file.name) } }
            add(
                name,
                ShardIndex.text(
                    weightMap: tensors.map { (tensor: $0.info.name, fileName: $0.fileName) },
                    totalSize: tensors.reduce(0) { $0 + $1.info.byteCount },
                    totalParameters: tensors.reduce(0) { $0 + UInt64($1.info.elementCount) }))
        }
        guard let directory = source.directory else { return }
        let replaced = Set(sidecars.map(\.name) + source.checkpoint.shards.map(\.fileName) + [Receipt.fileName])
        for name in try FileSystem.list(directory).sorted() where !replaced.contains(name) && !name.hasPrefix(".") {
            let path = FileSystem.join(directory, name)
            guard FileSystem.isRegularFile(path), StripSidecars.stays(name, layout) else {
                leftOut.append(name)
                continue
            }
            sidecars.append(
                .init(name: name, content: .copy(path: path), origin: "source", byteCount: try FileReader(path: path).size))
        }
        sidecars.sort { $0.name < $1.name }
    }

    private mutating func add(_ name: String, _ text: String) {
        let bytes = Array(text.utf8)
        sidecars.append(.init(name: name, content: .bytes(bytes), origin: "peftfile", byteCount: UInt64(bytes.count)))
    }

    private static func stays(_ name: String, _ layout: StripOptions.Layout) -> Bool {
        if SidecarFiles.isTokenizerFile(name) || name == "README.md" { return true }
        if name.hasPrefix("LICENSE") || name.hasPrefix("LICENCE") || name.hasPrefix("NOTICE") { return true }
        guard layout == .source, name != "trainer_state.json" else { return false }
        return [".json", ".txt", ".model", ".py", ".jinja", ".tiktoken", ".safetensors"].contains { name.hasSuffix($0) }
    }
}

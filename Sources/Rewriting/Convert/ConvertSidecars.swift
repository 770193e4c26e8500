import Adapters
import ByteAccess
import Checkpoints

/// The files beside the weights of a converted directory: those of the input, unchanged but for what the weights change in
/// config.json, and an index where the weights are several files.
struct ConvertSidecars {
    private(set) var sidecars: [RewritePlan.Sidecar] = []

    /// Files that a rewrite into another model would not take over, and a conversion does.
    private static let ownNames = ["README.md", "adapter_config.json", "config.json"]
    /// Settings of codes, which go where the codes go.
    private static let codeNames = ["quantize_config.json", "quant_config.json"]

    init(
        _ binding: Binding, _ directory: String, _ files: [RewritePlan.File], _ configChanges: [Binding.ConfigChange],
        _ settings: ConvertSettings, _ warnings: inout [String]
    ) throws {
        let source = binding.base
        if let config = source.config, !configChanges.isEmpty || !binding.configRemovals.isEmpty {
            let bytes = Array((RewritePlan.changed(config, by: binding, configChanges).serialized(indent: 2) + "\n").utf8)
            sidecars.append(.init(name: "config.json", content: .bytes(bytes), origin: "peftfile", byteCount: UInt64(bytes.count)))
        }
        if files.count > 1 || source.index != nil && settings.maximumShardSize == nil {
            sidecars.append(RewritePlan.index(of: files, base: source))
        }
        let found = try SidecarFiles(base: directory, adapter: nil, namesPythonModules: source.config?["auto_map"] != nil)
        var paths = found.files.map { (name: $0.name, path: $0.path) }
        for name in Self.ownNames + (settings.dequantises ? [] : Self.codeNames) {
            let path = FileSystem.join(directory, name)
            if FileSystem.isRegularFile(path) { paths.append((name, path)) }
        }
        let written = Set(sidecars.map(\.name) + files.map(\.name))
        for (name, path) in paths where !written.contains(name) {
            sidecars.append(
                .init(name: name, content: .copy(path: path), origin: "base", byteCount: try FileReader(path: path).size))
        }
        let left = found.leftOut.filter { !Self.ownNames.contains($0) }
        if !left.isEmpty { warnings.append("not copied: \(left.map(\.printable).joined(separator: ", "))") }
        sidecars.sort { $0.name < $1.name }
    }
}

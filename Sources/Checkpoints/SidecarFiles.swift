import ByteAccess

/// The files beside the weights that a checkpoint directory needs to be served, and where a rewrite takes them from.
///
/// | files | taken from |
/// |---|---|
/// | tokenizer, vocabulary, chat template | the adapter's directory if it has them (a fine-tune may add tokens), else the base's |
/// | generation config, processors, licence | the base |
/// | Python modules | the base, where its config names them (`auto_map`) |
/// | weights in other formats, repository files | never |
///
/// Sources: `save_pretrained` of transformers' tokenizer and processor classes; vLLM and llama.cpp's converter for what
/// loaders miss.
public struct SidecarFiles: Sendable {
    /// One file to be copied.
    public struct File: Sendable, Hashable {
        /// Its name in the output, with `/` where it lies in a subdirectory.
        public var name: String
        /// Where it is read from.
        public var path: String
        /// `adapter` or `base`.
        public var origin: String
    }

    /// The files to copy, by name.
    public var files: [File]
    /// Files of the base that are left behind although they are neither weights nor repository files.
    public var leftOut: [String]

    static let tokenizerNames: Set<String> = [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
        "spiece.model", "sentencepiece.bpe.model", "source.spm", "target.spm", "vocab.json", "merges.txt", "vocab.txt",
        "tekken.json", "normalizer.json", "chat_template.jinja", "chat_template.json",
    ]
    static let tokenizerDirectories: Set<String> = ["additional_chat_templates"]
    static let baseNames: Set<String> = [
        "generation_config.json", "preprocessor_config.json", "processor_config.json",
        "video_preprocessor_config.json", "image_processor_config.json", "feature_extractor_config.json",
        "USE_POLICY.md",
    ]

    /// Collects the files for a rewrite of `base` with what `adapter` brings.
    ///
    /// - Parameters:
    ///   - base: the base's directory.
    ///   - adapter: the adapter's directory, or nil.
    ///   - namesPythonModules: whether the base's config has an `auto_map`.
    /// - Throws: `.notFound` where `base` or `adapter` is no directory that is there; `.io` where one of them, or a directory of chat
    ///   templates in it, cannot be listed.
    public init(base: String, adapter: String?, namesPythonModules: Bool) throws {
        var chosen: [String: File] = [:]
        var leftOut: [String] = []
        for name in try FileSystem.list(base) {
            let path = FileSystem.join(base, name)
            if FileSystem.isDirectory(path) {
                if SidecarFiles.tokenizerDirectories.contains(name) {
                    for inner in try FileSystem.list(path) where !FileSystem.isDirectory(FileSystem.join(path, inner)) {
                        chosen["\(name)/\(inner)"] = File(
                            name: "\(name)/\(inner)", path: FileSystem.join(path, inner), origin: "base")
                    }
                } else if !name.hasPrefix(".") {
                    leftOut.append(name + "/")
                }
                continue
            }
            if SidecarFiles.isWanted(name, namesPythonModules: namesPythonModules) {
                chosen[name] = File(name: name, path: path, origin: "base")
            } else if !SidecarFiles.isReplacedOrForeign(name) {
                leftOut.append(name)
            }
        }
        if let adapter {
            for name in try FileSystem.list(adapter) {
                let path = FileSystem.join(adapter, name)
                if SidecarFiles.tokenizerDirectories.contains(name), FileSystem.isDirectory(path) {
                    for inner in try FileSystem.list(path) where !FileSystem.isDirectory(FileSystem.join(path, inner)) {
                        chosen["\(name)/\(inner)"] = File(
                            name: "\(name)/\(inner)", path: FileSystem.join(path, inner), origin: "adapter")
                    }
                } else if SidecarFiles.tokenizerNames.contains(name) {
                    chosen[name] = File(name: name, path: path, origin: "adapter")
                }
            }
        }
        files = chosen.values.sorted { $0.name < $1.name }
        self.leftOut = leftOut.sorted()
    }

    /// Whether a file belongs to a tokenizer or a chat template.
    public static func isTokenizerFile(_ name: String) -> Bool {
        tokenizerNames.contains(name) || name.hasSuffix(".tiktoken")
    }

    /// Whether a file of a base is copied beside the weights, Python modules aside.
    static func isSidecar(_ name: String) -> Bool {
        let directory = name.split(separator: "/").dropLast().first.map(String.init)
        return isWanted(name, namesPythonModules: false) || directory.map(tokenizerDirectories.contains) ?? false
    }

    private static func isWanted(_ name: String, namesPythonModules: Bool) -> Bool {
        if tokenizerNames.contains(name) || baseNames.contains(name) || name.hasSuffix(".tiktoken") { return true }
        if name.hasPrefix("LICENSE") || name.hasPrefix("LICENCE") || name.hasPrefix("NOTICE") { return true }
        if name.hasPrefix("image_processor"), name.hasSuffix(".json") { return true }
        return namesPythonModules && name.hasSuffix(".py")
    }

    /// What a rewrite writes itself, and what must never lie beside it: loaders would pick the wrong weights.
    private static func isReplacedOrForeign(_ name: String) -> Bool {
        if name.hasPrefix(".") || name == "config.json" || name == "README.md" { return true }
        // Settings of codes that the result does not have.
        if name == "quantize_config.json" || name == "quant_config.json" { return true }
        return [".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".gguf", ".h5", ".msgpack", ".onnx", ".npz", ".pt", ".pth", ".ckpt"]
            .contains { name.hasSuffix($0) }
    }
}

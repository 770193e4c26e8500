import Peftfile

/// What `convert` is told of the bases: their weights, or as much as one's config.json says, or two facts by hand.
struct ConvertBase {
    private(set) var bases: [PipelineBase] = []
    private(set) var facts = GGUFFacts()

    /// - Parameter takesConfig: whether a config without weights is enough.
    init(_ paths: [String], takesConfig: Bool, architecture: String?, heads: String?) throws {
        for path in paths {
            let located = try InputPaths.located(path, need: takesConfig ? .config : .weights)
            do {
                bases += try ConvertBase.pipeline(located) ?? [PipelineBase(try Checkpoint.open(located))]
            } catch {
                // llama.cpp's names and orders need the config alone, without the weights.
                guard takesConfig, let known = try ConvertBase.configAlone(located) else { throw error }
                facts = known
            }
        }
        if let first = bases.first { facts = GGUFFacts(first.checkpoint) }
        if let architecture {
            guard let known = GGUFArchitecture.named(architecture) else {
                throw PeftfileError.noChoice("--architecture", architecture, of: GGUFArchitecture.names, rule: "Architecture")
            }
            facts.architecture = known
        }
        if let heads { facts.heads = try ConvertBase.heads(heads) }
    }

    /// The models in diffusers' directory of a pipeline, each in a folder of its component's name; nil for any other path.
    private static func pipeline(_ path: String) throws -> [PipelineBase]? {
        guard FileSystem.isRegularFile(FileSystem.join(path, "model_index.json")) else { return nil }
        let folders = try FileSystem.list(path).filter { PipelineComponent.isDiffusers($0) && FileSystem.isDirectory(FileSystem.join(path, $0)) }
        guard !folders.isEmpty else {
            throw PeftfileError(
                .notFound, "has a model_index.json and no folder of a model", file: path, rule: "PipelineEmpty",
                help: "fetch the folders as well: unet or transformer, text_encoder")
        }
        return try folders.map { PipelineBase(try Checkpoint.open(FileSystem.join(path, $0)), component: $0) }
    }

    /// What a config says that is named, or that stands in a directory without weights.
    private static func configAlone(_ path: String) throws -> GGUFFacts? {
        let isConfig = FileSystem.isRegularFile(path) && FileSystem.fileName(of: path) == "config.json"
        guard isConfig || FileSystem.isDirectory(path) else { return nil }
        return try GGUFFacts(configAt: path)
    }

    /// `32,8`, or `32` for both.
    private static func heads(_ text: String) throws -> GGUFHeads {
        let counts = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard (1...2).contains(counts.count), counts.allSatisfy({ $0 > 0 }) else {
            throw PeftfileError.noValue(
                "--heads", text, needed: "how many heads the queries have, and the keys behind a comma, as in 32,8", rule: "Heads")
        }
        return GGUFHeads(query: counts[0], key: counts[counts.count - 1])
    }
}

import Peftfile

/// What `convert` is told of the base: its weights, or as much as its config.json says, or two facts by hand.
struct ConvertBase {
    let checkpoint: Checkpoint?
    private(set) var facts = GGUFFacts()

    /// - Parameter takesConfig: whether a config without weights is enough.
    init(_ path: String?, takesConfig: Bool, architecture: String?, heads: String?) throws {
        let located = try path.map { try InputPaths.located($0) }
        var fromConfig: GGUFFacts?
        do {
            checkpoint = try located.map { try Checkpoint.open($0) }
        } catch {
            // llama.cpp's names and orders need the config alone, without the weights.
            guard takesConfig, let located, let facts = try ConvertBase.configAlone(located) else { throw error }
            fromConfig = facts
            checkpoint = nil
        }
        facts = fromConfig ?? checkpoint.map { GGUFFacts($0) } ?? facts
        if let architecture {
            guard let known = GGUFArchitecture.named(architecture) else {
                throw PeftfileError.noChoice("--architecture", architecture, of: GGUFArchitecture.names, rule: "Architecture")
            }
            facts.architecture = known
        }
        if let heads { facts.heads = try ConvertBase.heads(heads) }
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

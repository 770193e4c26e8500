import Peftfile

/// What a user names on the command line: a path, or a repository in the local cache of the Hub.
enum InputPaths {
    /// The cache that the environment names.
    static let cache = HubCache(environment: environment)

    /// The path of what was named. What exists is itself; an `hf://` address, or `org/name` with or without
    /// `@revision`, is the snapshot in the cache.
    ///
    /// - Parameter need: what of a snapshot must be there.
    static func located(_ text: String, need: HubSnapshot.Need = .weights) throws -> String {
        if FileSystem.exists(text) { return text }
        guard let id = HubID(text) else {
            guard HubID.isAddress(text) else { return try absent(text) }
            throw PeftfileError(
                .usage, "is no address of a model", file: text, rule: "HubAddress", help: "hf://ORG/NAME[@REVISION][/PATH]")
        }
        // What begins in a directory that is here is a path that was mistyped; so is one word, unless it is a model of the
        // Hub's first days.
        let parent = FileSystem.directory(of: text)
        guard HubID.isAddress(text) || cache.holds(id) || parent != "." && !FileSystem.exists(parent) else {
            return try absent(text)
        }
        let snapshot = try cache.snapshot(of: id)
        try snapshot.requireComplete(need)
        return snapshot.path
    }

    /// The path of a file with settings, which is never a model's name.
    static func setting(_ path: String) throws -> String { FileSystem.exists(path) ? path : try absent(path) }

    private static func absent(_ path: String) throws -> String {
        throw PeftfileError(.notFound, "does not exist", file: path, help: "check the path")
    }

    /// The cache belongs to those who download: nothing is written into it.
    static func requireOutsideCache(_ output: String) throws {
        guard cache.contains(output) else { return }
        throw PeftfileError(
            .refused, "lies in the Hub's cache, which is only read", file: output, rule: "HubCacheOutput",
            help: "name an output outside \(cache.root)")
    }

    private static let environment: [String: String] = {
        var result: [String: String] = [:]
        for name in ["HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"] {
            if let value = Console.environment(name) { result[name] = value }
        }
        return result
    }()
}

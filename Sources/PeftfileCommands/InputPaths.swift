import CProcess
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
        guard var id = HubID(text) else {
            guard HubID.isAddress(text) else { return try absent(text) }
            throw PeftfileError(
                .usage, "is no address of a model", file: text, rule: "HubAddress", help: "hf://ORG/NAME[@REVISION][/PATH]")
        }
        // What begins in a directory that is here is a path that was mistyped; so is one word, unless it is a model of the
        // Hub's first days.
        let parent = FileSystem.directory(of: text)
        guard HubID.isAddress(text) || cache.holds(id) || parent != "." && !FileSystem.exists(parent) else {
            return try absent(text, id: parent == "." ? id : nil)
        }
        if !cache.holds(id), let canonical = HubID.canonical(text), cache.holds(canonical) { id = canonical }
        let snapshot = try cache.snapshot(of: id)
        try snapshot.requireComplete(need)
        return snapshot.path
    }

    /// The path of a file with settings, which is never a model's name.
    static func setting(_ path: String) throws -> String { FileSystem.exists(path) ? path : try absent(path) }

    /// - Parameter id: the model that the word may have meant.
    private static func absent(_ path: String, id: HubID? = nil) throws -> String {
        // A file's name is nobody's model.
        guard let id, ![".safetensors", ".json", ".bin", ".gguf", ".npz", ".pt", ".pth", ".ckpt"].contains(where: path.hasSuffix) else {
            throw PeftfileError(.notFound, "does not exist", file: path, help: "check the path")
        }
        throw PeftfileError(
            .notFound, "does not exist here, nor in the Hub's cache (\(cache.directory(of: id)))", file: path,
            help: "check the path, or give the model's id with its organisation, ORG/NAME")
    }

    /// What is wrong with a file in the cache is mended by fetching it once more, and not by a download that finds it there.
    static func withRepair(_ error: PeftfileError) -> PeftfileError {
        guard error.code == .malformed, let file = error.file, cache.contains(file), let command = HubOrigin(of: file)?.downloadCommand
        else { return error }
        var copy = error
        copy.help = (error.help.map { "\($0); " } ?? "") + "where the download is at fault: \(command)"
        return copy
    }

    /// The cache belongs to those who download: nothing is written into it.
    static func requireOutsideCache(_ output: String) throws {
        guard cache.contains(output) else { return }
        throw PeftfileError(
            .refused, "lies in the Hub's cache, which is only read", file: output, rule: "HubCacheOutput",
            help: "name an output outside \(cache.root)")
    }

    /// All variables, since a path may name any; `HOME` is the system's where it is not set, as for Python's `expanduser`.
    private static let environment: [String: String] = {
        var result = Console.environment
        if result["HOME"] == nil { result["HOME"] = peftfile_home().map { String(cString: $0) } }
        return result
    }()
}

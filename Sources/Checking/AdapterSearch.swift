public import ByteAccess

/// The adapters that the arguments of a check stand for.
///
/// A directory stands for itself, if it holds an adapter, and for all adapters below it, files of weights under names of their own
/// among them (``WeightFiles``); `adapter_config.json` stands for its
/// directory, as in the lists of changed files that commit hooks hand over. A path where nothing looks like an adapter is
/// one subject all the same: the rules say what is missing. Links are followed, as the Hub's cache is made of them. No adapter is
/// checked twice.
struct AdapterSearch {
    struct Found: Hashable {
        var path: String
        /// The directory of the argument, resolved; nil where another argument of this name has another directory.
        var origin: String?
    }

    /// In the order of the arguments; of one argument, sorted by their paths.
    private(set) var found: [Found] = []
    /// Files of weights that were passed by, as they hold no adapter.
    private(set) var passedBy: [String] = []

    /// Deeper and wider than trees of adapters are; a tree that has more is refused, not cut.
    static let depthLimit = 64
    static let countLimit = 100_000

    private var visited = 0
    private var seen: Set<String> = []
    /// The directories that were looked into, by their paths without links: a link may lead back.
    private var entered: Set<String> = []

    init(_ arguments: [String]) throws {
        let places = arguments.map { argument in
            let path = AdapterSearch.place(argument)
            let real = (try? FileSystem.resolved(path)) ?? path
            return (path: path, real: real)
        }
        var directories: [String: Set<String>] = [:]
        for place in places {
            directories[FileSystem.fileName(of: place.real), default: []].insert(FileSystem.directory(of: place.real))
        }
        for place in places {
            let parent = FileSystem.directory(of: place.real)
            let isAlone = directories[FileSystem.fileName(of: place.real)]?.count == 1
            try add(place.path, origin: isAlone ? parent : nil)
        }
        // Weights that were named beside their directory are checked with it.
        let whole = Set(found.filter { FileSystem.isDirectory($0.path) }.compactMap { try? FileSystem.resolved($0.path) })
        found.removeAll { entry in
            guard !FileSystem.isDirectory(entry.path),
                let directory = try? FileSystem.resolved(FileSystem.directory(of: entry.path)), whole.contains(directory),
                let weights = AdapterDirectory.weights(in: directory).file
            else { return false }
            return FileSystem.fileName(of: weights) == FileSystem.fileName(of: entry.path)
        }
    }

    /// The directory of a config, and every other path itself.
    private static func place(_ argument: String) -> String {
        FileSystem.fileName(of: argument) == "adapter_config.json" && !FileSystem.isDirectory(argument)
            ? FileSystem.directory(of: argument) : argument
    }

    private mutating func add(_ path: String, origin: String?) throws {
        let (count, passed) = (found.count, passedBy.count)
        if FileSystem.isDirectory(path) { try search(path, depth: 0, isInside: false, origin: origin) }
        guard found.count == count, !seen.contains(identity(path)) else { return }
        // The finding that there is no adapter says it all.
        passedBy.removeSubrange(passed...)
        append(path, origin: origin)
    }

    private mutating func append(_ path: String, origin: String?) {
        if seen.insert(identity(path)).inserted { found.append(Found(path: path, origin: origin)) }
    }

    private func identity(_ path: String) -> String { (try? FileSystem.resolved(path)) ?? path }

    private mutating func search(_ directory: String, depth: Int, isInside: Bool, origin: String?) throws {
        try Interruption.check()
        guard entered.insert(identity(directory)).inserted else { return }
        visited += 1
        guard depth <= AdapterSearch.depthLimit, visited <= AdapterSearch.countLimit else {
            throw PeftfileError(
                .refused, "the tree has more than \(AdapterSearch.depthLimit) levels or \(AdapterSearch.countLimit) directories",
                file: directory, rule: "TreeSize", help: "name the directories that hold adapters")
        }
        let isAdapter = AdapterDirectory.isAdapter(directory)
        if isAdapter {
            append(directory, origin: origin)
            if AdapterDirectory.hasInnerAdapters(directory) { return }
        }
        let names = try FileSystem.list(directory)
        // A gate that passed by an adapter behind a link would let it through. Every directory is entered once.
        let directories = names.map { FileSystem.join(directory, $0) }.filter { FileSystem.isDirectory($0) }
        let files = WeightFiles(in: directory, names: names, isInside: isAdapter || isInside)
        addFiles(files, in: directory, isAlone: directories.isEmpty && files.others.isEmpty, origin: origin)
        for path in directories where FileSystem.fileName(of: path) != ".git" {
            try search(path, depth: depth + 1, isInside: isAdapter || isInside, origin: origin)
        }
    }

    /// Files of weights, each for itself; the only one of a directory as that directory, with what lies beside it.
    private mutating func addFiles(_ files: WeightFiles, in directory: String, isAlone: Bool, origin: String?) {
        passedBy += files.others
        if isAlone, files.adapters.count == 1, !AdapterDirectory.isAdapter(directory),
            AdapterDirectory.weights(in: directory).file == files.adapters[0]
        {
            return append(directory, origin: origin)
        }
        for file in files.adapters { append(file, origin: origin) }
    }

    /// What is said of the files that were passed by; nil where there are none.
    var remark: String? {
        guard !passedBy.isEmpty else { return nil }
        let more = passedBy.count > 3 ? " and \(passedBy.count - 3) more" : ""
        return "\(passedBy.count == 1 ? "1 file" : "\(passedBy.count) files") of weights without an adapter in a tree "
            + "\(passedBy.count == 1 ? "was" : "were") not looked at: \(passedBy.prefix(3).joined(separator: ", "))\(more)"
    }
}

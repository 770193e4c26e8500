import Peftfile

/// A place that a check writes to: one `--format`, or the new baseline.
struct CheckOutput {
    /// Nil for a baseline, which is written on its own.
    var reporter: (any CheckReporter)?
    /// Nil for stdout.
    var file: String?

    var isStandardOutput: Bool { file == nil }

    static let reporters = CheckReporters.all(toolVersion: Receipt.toolVersion)

    /// What the options ask for; text on stdout where they ask for nothing there.
    ///
    /// - Throws: `Format` for a form that there is not, and for two that go to one place.
    static func outputs(_ formats: [String], baseline: String?) throws -> [CheckOutput] {
        var outputs: [CheckOutput] = baseline.map { [CheckOutput(reporter: nil, file: $0)] } ?? []
        for format in formats {
            let parts = format.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let reporter = reporters.first(where: { $0.name == parts[0] }), parts.count == 1 || !parts[1].isEmpty else {
                throw PeftfileError.noValue(
                    "--format", format, needed: "one of \(reporters.map(\.name).joined(separator: ", ")), alone or with =FILE behind it",
                    rule: "Format")
            }
            outputs.append(CheckOutput(reporter: reporter, file: parts.count > 1 ? parts[1] : nil))
        }
        guard outputs.count(where: \.isStandardOutput) <= 1 else {
            throw PeftfileError(
                .usage, "two forms of the report for stdout", rule: "Format", help: "send one to a file: --format json=report.json")
        }
        var places: Set<String> = []
        for file in outputs.compactMap(\.file) where FileSystem.kind(of: file) != .other {
            guard places.insert(CheckInputs.identity(file)).inserted else {
                throw PeftfileError(.usage, "two outputs for one file", file: file, rule: "Format", help: "name two files")
            }
        }
        if !outputs.contains(where: \.isStandardOutput) {
            outputs.insert(CheckOutput(reporter: CheckTextReporter()), at: 0)
        }
        return outputs
    }

    /// Refuses a place before any work is done: the Hub's cache, what is read, a symbolic link, and without `replacing` what is there.
    /// What is no file, as `/dev/stderr` and pipes, is written to as it is.
    ///
    /// - Parameter known: the baseline that was read, in whose place a new one may go.
    func requirePlace(_ inputs: CheckInputs, replacing: Bool, known: String?) throws {
        guard let file, FileSystem.kind(of: file) != .other else { return }
        try InputPaths.requireOutsideCache(file)
        guard let kind = FileSystem.kind(of: file, followingLinks: false) else { return }
        let isKnown = known.map { CheckInputs.identity($0) == CheckInputs.identity(file) } ?? false
        guard isKnown || !inputs.contains(file) else {
            throw PeftfileError(
                .refused, "is read by this check and is not written over", file: file, rule: "OutputIsInput",
                help: "name another file for the report")
        }
        guard kind != .symbolicLink else {
            throw PeftfileError(
                .refused, "is a symbolic link, and a report is written neither through one nor over it", file: file, rule: "OutputIsLink",
                help: "name the file itself")
        }
        guard kind != .regularFile || replacing || isKnown else {
            throw PeftfileError(.exists, "exists already", file: file, help: "choose another file or give --force")
        }
    }

    /// Writes files first and stdout last, all that can be written; then says what could not.
    static func write(_ report: CheckReport, to outputs: [CheckOutput], replacing: Bool) throws {
        var failure: (any Error)?
        for output in outputs where !output.isStandardOutput {
            guard let reporter = output.reporter, let file = output.file else { continue }
            do { try write(reporter.render(report), to: file, replacing: replacing) } catch { failure = failure ?? error }
        }
        for output in outputs where output.isStandardOutput {
            guard let reporter = output.reporter else { continue }
            let isColored = reporter is CheckTextReporter && Console.showsColor
            Console.output(isColored ? CheckTextReporter(isColored: true).render(report) : reporter.render(report))
        }
        if let failure { throw failure }
    }

    /// Writes a file whole, and with `replacing` in place of one that is there. What is no file, as `/dev/stderr` and pipes, is written to as it is.
    static func write(_ text: String, to file: String, replacing: Bool) throws {
        guard FileSystem.kind(of: file) == .other else {
            return try FileWriter.write(Array(text.utf8), to: file, replacing: replacing)
        }
        try Console.write(text, toDevice: file)
    }
}

/// The files that a check reads.
struct CheckInputs {
    private let files: Set<String>
    /// Resolved, each with a slash behind it: the directories that adapters and base lie in.
    private let directories: [String]

    init(adapters: [String], base: Checkpoint?, settings: [String]) {
        var files: [String] = settings + adapters + (base?.shards.map { $0.file.path } ?? [])
        if let base, let directory = base.directory {
            files.append(FileSystem.join(directory, "config.json"))
            if let index = base.indexFileName { files.append(FileSystem.join(directory, index)) }
        }
        self.files = Set(files.map(CheckInputs.identity))
        directories = adapters.filter(FileSystem.isDirectory).map { CheckInputs.identity($0) + "/" }
    }

    /// Whether a file that is there is one of the inputs: named as such, or in an adapter's tree under a name that the rules
    /// look at or that weights have.
    func contains(_ file: String) -> Bool {
        let identity = CheckInputs.identity(file)
        if files.contains(identity) { return true }
        guard directories.contains(where: { identity.utf8.starts(with: $0.utf8) }) else { return false }
        let name = FileSystem.fileName(of: identity).lowercased()
        let stems = ["readme", "license", "licence", "copying", "notice", "tokenizer", "chat_template", "special_tokens_map"]
        let ends = [
            "config.json", ".index.json", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".npz", ".pkl", ".py", ".jinja",
        ]
        return stems.contains(where: name.hasPrefix) || ends.contains(where: name.hasSuffix)
    }

    /// The file that a path leads to; of a file that is not there yet, its place in its directory.
    static func identity(_ path: String) -> String {
        if let real = try? FileSystem.resolved(path) { return real }
        let directory = FileSystem.directory(of: path)
        return FileSystem.join((try? FileSystem.resolved(directory)) ?? directory, FileSystem.fileName(of: path))
    }
}

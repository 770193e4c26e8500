import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// What a merge that may be resumed has finished: each file with its SHA-256 and what the receipt says of it.
///
/// It lies in the directory that is being built and goes before that gets its name. A later run of the same plan takes a
/// file over if its bytes have the hash recorded here, whatever else its name and size may suggest, and if the inputs are
/// the files that they were.
struct ResumeJournal {
    /// The name in the directory.
    static let fileName = ".peftfile-progress.json"
    private static let schema = "peftfile.progress/3"

    struct File {
        var name: String
        var digest: String
        var statistics: [UpdateStatistics]
    }

    private(set) var files: [File] = []
    private let inputs: [(path: String, stamp: String)]
    private let plan: RewritePlan
    private let directory: StagedDirectory

    /// Begins a journal, or takes up the one that an earlier run left.
    ///
    /// - Throws: `.refused` where an input is not the file that it was when the journal was begun.
    init(plan: RewritePlan, directory: StagedDirectory) throws {
        self.plan = plan
        self.directory = directory
        let checkpoints = [plan.binding.base] + plan.binding.adapters.map(\.checkpoint)
        // By their resolved paths, since the same file may be named in another way the next time; and as they were when they were opened.
        inputs = checkpoints.flatMap(\.shards).map { ((try? FileSystem.resolved($0.file.path)) ?? $0.file.path, $0.file.reader.stamp) }
        let path = directory.path(of: ResumeJournal.fileName)
        guard FileSystem.kind(of: path, followingLinks: false) == .regularFile else {
            if FileSystem.exists(path) { try FileSystem.remove(path) }
            return
        }
        // A journal is written in one step. One that cannot be read says nothing, and everything is made anew.
        guard let bytes = try? FileReader(path: path).allBytes(limit: 1 << 30),
            let document = try? JSONValue.parse(bytes, file: path, allowing: .strict),
            document["schema"]?.stringValue == ResumeJournal.schema, document["plan"]?.stringValue == plan.id,
            document["sha256"]?.stringValue == ResumeJournal.digest(of: document)
        else { return }
        let known = document["inputs"]?.objectValue?.members ?? []
        for input in inputs {
            let stamp = known.first { $0.key.text == input.path }?.value.stringValue
            guard stamp == input.stamp else {
                throw PeftfileError(
                    .refused, stamp == nil
                        ? "is not what the files that are finished were made from: those have other inputs"
                        : "has changed since the merge was begun, and half of the output would come from another file",
                    file: input.path, rule: "ResumeInputs", help: "run the merge again without --resume")
            }
        }
        for entry in document["files"]?.arrayValue ?? [] {
            // Figures that no merge of these tensors has are damage: the file is made anew.
            guard let file = File(entry), let planned = plan.files.first(where: { $0.name == file.name }),
                planned.tensors.count == file.statistics.count,
                zip(planned.tensors, file.statistics).allSatisfy({ $1.arePossible(of: $0.recipe.shape.elementCount ?? 0) })
            else { continue }
            files.append(file)
        }
        // Only what is there with the bytes that were written counts.
        files = try files.filter { file in
            let path = directory.path(of: file.name)
            guard FileSystem.kind(of: path, followingLinks: false) == .regularFile else { return false }
            return SHA256.hex(try FileReader(path: path).sha256()) == file.digest
        }
    }

    /// Whether a directory has a journal, and so something to resume.
    static func exists(in directory: StagedDirectory) -> Bool {
        FileSystem.exists(directory.path(of: ResumeJournal.fileName))
    }

    /// The bytes of the files that need not be written again.
    var finishedBytes: UInt64 {
        plan.files.filter { file($0.name) != nil }.reduce(0) { $0 + $1.byteCount }
    }

    func file(_ name: String) -> File? { files.first { $0.name == name } }

    /// Removes what is neither a finished file nor this journal: temporaries, files that were broken off.
    func clearRest() throws { try directory.clear(but: Set(files.map(\.name) + [ResumeJournal.fileName])) }

    /// Records a file that is on disk under its name.
    mutating func add(_ file: RewritePlan.File, digest: String, statistics: [UpdateStatistics]) throws {
        files.append(File(name: file.name, digest: digest, statistics: statistics))
        var document: JSONObject = [
            "schema": .string(ResumeJournal.schema), "plan": .string(plan.id),
            "inputs": .object(JSONObject(inputs.map { (ExactString($0.path), .string($0.stamp)) })),
            "files": .array(files.map(\.json)),
        ]
        document["sha256"] = .string(ResumeJournal.digest(of: .object(document)))
        try FileWriter.write(
            Array(JSONValue.object(document).serialized().utf8), to: directory.path(of: ResumeJournal.fileName), replacing: true)
    }

    /// Of all but itself: figures that were damaged would stand in the receipt.
    private static func digest(of document: JSONValue) -> String {
        var object = document.objectValue ?? [:]
        object["sha256"] = nil
        return SHA256.hex(SHA256.hash(Array(JSONValue.object(object).serialized().utf8)))
    }

    /// The directory is whole: the journal goes.
    func remove() throws {
        let path = directory.path(of: ResumeJournal.fileName)
        if FileSystem.exists(path) { try FileSystem.remove(path) }
    }
}

extension ResumeJournal.File {
    /// Nil where the entry is not one that a journal has.
    fileprivate init?(_ entry: JSONValue) {
        guard let name = entry["name"]?.stringValue, let digest = entry["sha256"]?.stringValue,
            let statistics = entry["statistics"]?.arrayValue
        else { return nil }
        let read = statistics.map { UpdateStatistics(exactFields: $0.arrayValue?.map(\.stringValue) ?? []) }
        guard read.allSatisfy({ $0 != nil }) else { return nil }
        self.init(name: name, digest: digest, statistics: read.compactMap { $0 })
    }

    fileprivate var json: JSONValue {
        .object([
            "name": .string(name), "sha256": .string(digest),
            "statistics": .array(statistics.map { .array($0.exactFields.map { .string($0) }) }),
        ])
    }
}

extension UpdateStatistics {
    /// Counts in decimal, sums as the bits of their float64 in hexadecimal: nothing is lost on the way.
    fileprivate var exactFields: [String] {
        [updated, unchanged, nonfinite, baseNonfinite].map { String($0) }
            + [exactSquares, storedSquares, roundingSquares].map { String($0.bitPattern, radix: 16) }
    }

    /// Whether they can be those of so many elements: counts among them, and sums of squares.
    fileprivate func arePossible(of elements: Int) -> Bool {
        [updated, unchanged, nonfinite, baseNonfinite].allSatisfy { (0...elements).contains($0) }
            && (nonfinite > 0 || [exactSquares, storedSquares, roundingSquares].allSatisfy { $0 >= 0 })
    }

    fileprivate init?(exactFields fields: [String?]) {
        guard fields.count == 7 else { return nil }
        let counts = fields[..<4].compactMap { $0.flatMap { Int($0) } }
        let sums = fields[4...].compactMap { $0.flatMap { UInt64($0, radix: 16) } }
        guard counts.count == 4, sums.count == 3 else { return nil }
        self.init()
        (updated, unchanged, nonfinite, baseNonfinite) = (counts[0], counts[1], counts[2], counts[3])
        exactSquares = Double(bitPattern: sums[0])
        storedSquares = Double(bitPattern: sums[1])
        roundingSquares = Double(bitPattern: sums[2])
    }
}

extension FileReader {
    /// The SHA-256 of the whole file.
    ///
    /// - Parameter progress: called with bytes that have just been hashed.
    func sha256(progress: ((UInt64) -> Void)? = nil) throws -> [UInt8] {
        var hash = SHA256()
        var offset: UInt64 = 0
        while offset < size {
            try Interruption.check()
            let bytes = try bytes(at: offset, count: Int(min(size - offset, 1 << 20)))
            hash.update(bytes)
            offset += UInt64(bytes.count)
            progress?(UInt64(bytes.count))
        }
        return hash.finalize()
    }
}

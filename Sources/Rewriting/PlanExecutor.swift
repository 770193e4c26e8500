import Adapters
public import ByteAccess
import Checkpoints
import Containers
import struct Synchronization.Atomic
import Tensors

/// Carries out a plan: reads panels, computes, writes, hashes, and gives the output its name when all is done.
public struct PlanExecutor: Sendable {
    /// How to run; nothing here changes a byte of the output.
    public struct Settings: Sendable {
        /// Worker threads.
        public var jobs: Int
        /// Whether an existing target may be replaced.
        public var replacing: Bool
        /// Whether the SHA-256 of every output is taken while it is written.
        public var hashing: Bool
        /// Whether all bytes are on disk before the output gets its name.
        public var isDurable: Bool
        /// Whether the output stays in the page cache; without it, it is cold for its next reader and nothing else is
        /// pushed out.
        public var keepsCache: Bool
        /// Whether files that an earlier run finished are taken over, and those of this run kept if it fails.
        public var resuming: Bool
        /// Elements of a panel. The bytes do not depend on it.
        public var panelElements: Int
        /// Called with the bytes written so far, from any thread.
        public var progress: (@Sendable (UInt64) -> Void)?

        /// Settings for a careful run: on every core that the process may use, an existing target refused, outputs hashed and on disk
        /// before they get their name, then dropped from the page cache, and nothing kept of a run that fails.
        public init(
            jobs: Int = Machine.availableCores, replacing: Bool = false, hashing: Bool = true,
            isDurable: Bool = true, keepsCache: Bool = false, resuming: Bool = false, panelElements: Int = Panels.elements,
            progress: (@Sendable (UInt64) -> Void)? = nil
        ) {
            self.jobs = jobs
            self.replacing = replacing
            self.hashing = hashing
            self.isDurable = isDurable
            self.keepsCache = keepsCache
            self.resuming = resuming
            self.panelElements = panelElements
            self.progress = progress
        }
    }

    /// What is written.
    public let plan: RewritePlan
    /// The directory or file to write.
    public let target: String
    /// How it is written.
    public let settings: Settings

    /// An executor for one plan and one target. Nothing is looked at or written before ``checkTarget()`` or ``run()``.
    public init(plan: RewritePlan, target: String, settings: Settings = Settings()) {
        self.plan = plan
        self.target = target
        self.settings = settings
    }

    /// Refuses a target that cannot be written before any work is done.
    ///
    /// - Throws: `.exists` where something is at the target that may not be replaced, or a file where a directory is to be, or the other
    ///   way round; `.notFound` with rule `ParentMissing`; `.refused` with rule `ForeignTarget` or `OutputIsInput`; `.noSpace`
    ///   with rule `DiskSpace`; `.usage` with rule `ResumeHash` for resuming without hashing, `ResumeFile` for resuming a single file; `.notFound` or `.io` where an
    ///   input or a directory cannot be looked at.
    public func checkTarget() throws {
        let output = OutputTarget(path: target, replacing: settings.replacing)
        guard !settings.resuming || !plan.isSingleFile else {
            throw PeftfileError(
                .usage, "--resume goes on with the finished files of a directory, and the output is one file, which is always made anew",
                rule: "ResumeFile", help: "leave out --resume")
        }
        if plan.isSingleFile {
            if FileSystem.isDirectory(target) {
                throw PeftfileError(
                    .exists, "is a directory, and the output is one file", file: target,
                    help: "name the output file: -o \(FileSystem.join(target, "merged.safetensors"))")
            }
            for path in [target, ReceiptedFile.receiptPath(of: target)] where FileSystem.exists(path) && !settings.replacing {
                throw PeftfileError(.exists, "exists already", file: path, help: "choose another output or give --force")
            }
        } else {
            try output.checkDirectory()
        }
        try output.checkParent()
        try output.refuseInputs([plan.binding.base.path] + plan.binding.adapters.map(\.path), of: plan.operation)
        if !settings.resuming {
            try output.checkRoom(for: plan.bytesOnDisk + plan.receiptBytes(hashing: settings.hashing), madeOf: plan.binding.adapters.isEmpty ? plan.binding.base.path : nil)
        }
        guard settings.hashing || !settings.resuming else {
            throw PeftfileError(
                .usage, "--resume knows finished files by their hashes, which --no-hash leaves out", rule: "ResumeHash",
                help: "leave out one of the two")
        }
    }

    /// Writes everything and publishes it in one step.
    ///
    /// - Returns: the receipt, which is also written beside or into the output.
    /// - Throws: any failure; the target is then as it was, and what was begun is removed.
    public func run() throws -> Receipt {
        try checkTarget()
        // Each file of the output is thrown away where a checksum of what it was made from is wrong.
        for shard in plan.binding.base.shards { shard.file.deferChecks() }
        let lock = try OutputLock(target: target)
        defer { lock.release() }
        return plan.isSingleFile ? try runFile(lock) : try runDirectory()
    }

    /// Of the adapters, which are read once more for it.
    private func inputDigests() throws -> [InputDigests]? { settings.hashing ? try plan.binding.adapters.map(InputDigests.init(of:)) : nil }

    /// Nobody may have written to what was read.
    private func requireUnchangedInputs() throws {
        for checkpoint in [plan.binding.base] + plan.binding.adapters.map(\.checkpoint) { try checkpoint.requireUnchanged() }
    }

    private func finishChecks() throws {
        for shard in plan.binding.base.shards { try shard.file.finishChecks() }
    }

    private func runDirectory() throws -> Receipt {
        let staged = try StagedDirectory(target: target, id: plan.id, resuming: settings.resuming)
        do {
            var receipt = try Receipt(plan: plan, digests: inputDigests())
            let counter = ByteCounter(settings.progress)
            var journal = settings.resuming ? try ResumeJournal(plan: plan, directory: staged) : nil
            if let journal {
                try journal.clearRest()
                try OutputTarget(path: target, replacing: settings.replacing)
                    .checkRoom(for: plan.bytesOnDisk - min(plan.bytesOnDisk, journal.finishedBytes))
            }
            for file in plan.files {
                if let finished = journal?.file(file.name) {
                    counter.add(file.byteCount)
                    receipt.add(file: file, digest: finished.digest, statistics: finished.statistics)
                    continue
                }
                let writer = try FileWriter(path: staged.path(of: file.name))
                let written = try write(file, to: writer, counter: counter)
                try finishChecks()
                try writer.commit(durable: settings.isDurable)
                if let digest = written.digest { try journal?.add(file, digest: digest, statistics: written.statistics) }
                receipt.add(file: file, digest: written.digest, statistics: written.statistics)
            }
            for sidecar in plan.sidecars {
                let digest = try sidecar.write(to: staged.path(of: sidecar.name), hashing: settings.hashing, durable: settings.isDurable, total: receipt.total)
                receipt.add(sidecar: sidecar, digest: digest)
            }
            try requireUnchangedInputs()
            try FileWriter.write(receipt.document(target: target), to: staged.path(of: Receipt.fileName), durable: settings.isDurable)
            try journal?.remove()
            try staged.publish(replacing: settings.replacing, durable: settings.isDurable)
            return receipt
        } catch {
            guard settings.resuming, !staged.isInPlace, let error = error as? PeftfileError else {
                staged.discard()
                throw error
            }
            throw kept(staged, error)
        }
    }

    /// The error with what becomes of the files that are finished: they wait for the next `--resume`.
    private func kept(_ staged: StagedDirectory, _ error: PeftfileError) -> PeftfileError {
        var copy = error
        let isWorthIt = !["ResumeInputs", "InputChanged"].contains(error.rule) && ResumeJournal.exists(in: staged)
        if isWorthIt {
            staged.keep()
            copy.help = "the target is as it was; finished files are kept, and the same command with --resume goes on"
        } else if error.rule == "ResumeInputs" {
            staged.keep()
        } else {
            staged.discard()
        }
        return copy
    }

    private func runFile(_ lock: OutputLock) throws -> Receipt {
        guard let file = plan.files.first else {
            throw PeftfileError(.malformed, "holds no tensors", file: plan.binding.base.path)
        }
        let writer = try FileWriter(path: target, replacing: settings.replacing, lock: lock)
        do {
            var receipt = try Receipt(plan: plan, digests: inputDigests())
            let written = try write(file, to: writer, counter: ByteCounter(settings.progress))
            receipt.add(file: file, digest: written.digest, statistics: written.statistics)
            try finishChecks()
            try requireUnchangedInputs()
            try ReceiptedFile.publish(
                writer, receipt: receipt.document(target: target), replacing: settings.replacing, durable: settings.isDurable, lock: lock)
            return receipt
        } catch {
            writer.discard()
            throw error
        }
    }

    // MARK: One file

    private struct Piece {
        let tensor: Int
        let rows: Range<Int>
        let isLast: Bool
    }

    private func write(_ file: RewritePlan.File, to writer: FileWriter, counter: ByteCounter) throws -> (
        digest: String?, statistics: [UpdateStatistics]
    ) {
        try writer.allocate(file.byteCount)
        try writer.write(file.header, at: 0)
        let numbers = AdapterNumbers(adapters: plan.binding.adapters, base: plan.binding.base)
        let evaluators = EvaluatorPool(plan: plan, file: file, numbers: numbers)
        var pieces: [Piece] = []
        for (index, tensor) in file.tensors.enumerated() {
            let own = tensor.pieces(elements: settings.panelElements)
            pieces += own.enumerated().map { Piece(tensor: index, rows: $0.element, isLast: $0.offset == own.count - 1) }
        }
        let state = Mutex((hash: SHA256(), statistics: [UpdateStatistics](repeating: .init(), count: file.tensors.count)))
        if settings.hashing { state.withLock { $0.hash.update(file.header) } }
        counter.add(UInt64(file.header.count))
        let turnstile = Turnstile()
        let order = pieces
        let writeback = Writeback(writer: writer, settings: settings, fileSize: file.byteCount) {
            file.tensors[order[$0].tensor].range(of: order[$0].rows)
        }
        try parallelForEach(count: order.count, jobs: settings.jobs) { index in
            let piece = order[index]
            let tensor = file.tensors[piece.tensor]
            do {
                let range = tensor.range(of: piece.rows)
                let isCopied = try !settings.hashing && copy(tensor, range, to: writer)
                var panel = isCopied ? nil : try panel(tensor, piece.rows, range, evaluators, piece.tensor)
                if tensor.padding > 0, piece.isLast {
                    let zeros = [UInt8](repeating: 0, count: tensor.padding)
                    if panel == nil { try writer.write(zeros, at: range.upperBound) } else { panel?.bytes += zeros }
                }
                if let panel { try writer.write(panel.bytes, at: range.lowerBound) }
                let done = panel
                try turnstile.pass(index) {
                    if let panel = done {
                        state.withLock {
                            if settings.hashing { $0.hash.update(panel.bytes) }
                            $0.statistics[piece.tensor].add(panel.statistics)
                        }
                    }
                    if piece.isLast { evaluators.release(piece.tensor) }
                    counter.add(UInt64(range.count))
                }
                try writeback.advance(index, range: range)
            } catch {
                let named = (error as? PeftfileError).map { naming($0, tensor.info.name) } ?? error
                turnstile.cancel(named)
                throw named
            }
        }
        return state.withLock { (settings.hashing ? SHA256.hex($0.hash.finalize()) : nil, $0.statistics) }
    }

    /// The bytes of a piece.
    private func panel(
        _ tensor: RewritePlan.Tensor, _ rows: Range<Int>, _ range: Range<UInt64>, _ evaluators: EvaluatorPool, _ index: Int
    ) throws -> RecipeEvaluator.Panel {
        guard let copied = tensor.copied else { return try evaluators.evaluator(index).panel(rows: rows) }
        let start = copied.info.begin + (range.lowerBound - tensor.info.begin)
        return .init(bytes: try plan.binding.base.file(of: copied).reader.bytes(at: start, count: range.count))
    }

    /// Copies a piece inside the kernel, which shares blocks where the file system can; false where it must be computed.
    private func copy(_ tensor: RewritePlan.Tensor, _ range: Range<UInt64>, to writer: FileWriter) throws -> Bool {
        // What an adapter stores whole is looked at: its numbers may be none.
        guard tensor.recipe.isCopy, !tensor.recipe.isFromAdapter, tensor.encoding == nil else { return false }
        if let copied = tensor.copied {
            let start = copied.info.begin + (range.lowerBound - tensor.info.begin)
            try writer.copy(
                from: plan.binding.base.file(of: copied).reader, range: start..<(start + UInt64(range.count)), to: range.lowerBound)
            return true
        }
        guard case .base(let name) = tensor.recipe.source else { return false }
        let checkpoint = plan.binding.base
        guard let stored = checkpoint[name], stored.info.isContiguous else { return false }
        // Bytes with a checksum go through our hands, once.
        if checkpoint.file(of: stored).isUnchecked(stored.info) { return false }
        try checkpoint.file(of: stored).validate(stored.info)
        let start = stored.info.begin + (range.lowerBound - tensor.info.begin)
        try writer.copy(from: checkpoint.file(of: stored).reader, range: start..<(start + UInt64(range.count)), to: range.lowerBound)
        return true
    }

    /// The tensor that was being written, where the error knows none and is not a signal's.
    private func naming(_ error: PeftfileError, _ tensor: ExactString) -> PeftfileError {
        var copy = error
        if copy.tensor == nil, copy.code != .interrupted, copy.code != .library { copy.tensor = tensor }
        return copy
    }
}

/// The evaluators of a file's tensors, made when first wanted and let go when their tensor is done.
private final class EvaluatorPool: Sendable {
    private let plan: RewritePlan
    private let file: RewritePlan.File
    private let numbers: AdapterNumbers
    private let evaluators = Mutex<[Int: RecipeEvaluator]>([:])

    init(plan: RewritePlan, file: RewritePlan.File, numbers: AdapterNumbers) {
        self.plan = plan
        self.file = file
        self.numbers = numbers
    }

    func evaluator(_ tensor: Int) -> RecipeEvaluator {
        evaluators.withLock { known in
            if let evaluator = known[tensor] { return evaluator }
            let evaluator = RecipeEvaluator(
                recipe: file.tensors[tensor].recipe, base: plan.binding.base, adapters: plan.binding.adapters,
                numbers: numbers, encoding: file.tensors[tensor].encoding)
            known[tensor] = evaluator
            return evaluator
        }
    }

    func release(_ tensor: Int) { evaluators.withLock { $0[tensor] = nil } }
}

/// Adds up written bytes across threads for the progress line.
private final class ByteCounter: Sendable {
    private let count = Atomic<UInt64>(0)
    private let report: (@Sendable (UInt64) -> Void)?

    init(_ report: (@Sendable (UInt64) -> Void)?) { self.report = report }

    func add(_ bytes: UInt64) {
        let total = count.add(bytes, ordering: .relaxed).newValue
        report?(total)
    }
}

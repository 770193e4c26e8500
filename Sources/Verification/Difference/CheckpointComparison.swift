public import Adapters
public import ByteAccess
public import Checkpoints
import Tensors

/// Compares two checkpoints or adapters tensor by tensor, whatever their shards.
///
/// Everything streams: parts of at most 768 KiB, first held against each other as bytes and only then, where these
/// differ, as numbers. Memory does not grow with the tensors; the updates of two adapters are compared by
/// ``UpdateComparison``, from their factors.
public struct CheckpointComparison: Sendable {
    private let a: DifferenceInput
    private let b: DifferenceInput
    private let tolerance: DifferenceTolerance
    private let selection: TensorSelection
    private let options: BindingOptions
    private let heads: GGUFHeads?
    private let jobs: Int
    private let progress: (@Sendable (UInt64) -> Void)?
    private let updateProgress: (@Sendable (Double) -> Void)?

    /// - Parameters:
    ///   - options: what files of adapters leave open.
    ///   - heads: the heads of the adapters' base, where rows are turned by them.
    ///   - jobs: worker threads; the report does not depend on their number.
    ///   - progress: called with the bytes of A that have just been compared, from any thread.
    ///   - updateProgress: called with the share of two adapters' updates that has been compared after that, from any thread.
    public init(
        _ a: DifferenceInput, _ b: DifferenceInput, tolerance: DifferenceTolerance = DifferenceTolerance(),
        selection: TensorSelection = TensorSelection(), options: BindingOptions = BindingOptions(), heads: GGUFHeads? = nil,
        jobs: Int = Machine.availableCores,
        progress: (@Sendable (UInt64) -> Void)? = nil, updateProgress: (@Sendable (Double) -> Void)? = nil
    ) {
        (self.a, self.b) = (a, b)
        self.tolerance = tolerance
        self.selection = selection
        (self.options, self.heads) = (options, heads)
        self.jobs = jobs
        self.progress = progress
        self.updateProgress = updateProgress
    }

    /// Compares everything that is selected.
    ///
    /// - Throws: what reading throws; `.usage` where patterns leave no tensor. A difference is no error: it is in the
    ///   report.
    public func run() throws -> CheckpointDifference {
        var report = CheckpointDifference()
        try checkSelection(&report)
        let others = (
            a: try a.adapter?.tensorsOfOtherComponents(options, heads: heads) ?? [],
            b: try b.adapter?.tensorsOfOtherComponents(options, heads: heads) ?? []
        )
        let matches = match(&report, without: others)
        let pool = BufferPool()
        var same: [(ExactString, ExactString)] = []
        for start in stride(from: 0, to: matches.count, by: TensorBatch.count) {
            let pairs = matches[start..<min(matches.count, start + TensorBatch.count)].map {
                TensorPair(a: ($0.a, a.checkpoint), b: ($0.b, b.checkpoint), tolerance: tolerance, pool: pool)
            }
            try compare(pairs)
            for pair in pairs { note(pair, &report) }
            if a.adapter != nil { same += pairs.filter { $0.result == nil }.map { ($0.a.name, $0.b.name) } }
        }
        report.notes = DifferenceNotes.between(a, b)
        if let adapterA = a.adapter, let adapterB = b.adapter {
            report.updates = try UpdateComparison(
                adapterA, adapterB, selection: selection, options: options, heads: heads, report: report,
                sameBytes: Dictionary(same) { first, _ in first }, jobs: jobs, progress: updateProgress)
        }
        return report
    }

    private func checkSelection(_ report: inout CheckpointDifference) throws {
        guard !selection.isAll else { return }
        let names = Set(a.checkpoint.tensors.map(\.name)).union(b.checkpoint.tensors.map(\.name))
        guard names.contains(where: selection.contains) else {
            throw PeftfileError(
                .usage, "--include and --exclude leave no tensor of \(names.count) to compare", rule: "EmptySelection",
                help: "peftfile inspect --tensors \(a.path.shellQuoted) lists the names")
        }
        for pattern in selection.unused(among: names) {
            report.warnings.append("the pattern \"\(pattern.text.printable)\" matches no tensor")
        }
    }

    // MARK: Matching

    /// Finds the tensors to compare; what one side lacks goes into the report.
    private func match(
        _ report: inout CheckpointDifference, without others: (a: Set<ExactString>, b: Set<ExactString>)
    ) -> [(a: StoredTensor, b: StoredTensor)] {
        let inA = a.checkpoint.tensors.filter { selection.contains($0.name) && !others.a.contains($0.name) }
        let inB = b.checkpoint.tensors.filter { selection.contains($0.name) && !others.b.contains($0.name) }
        var matches: [(a: StoredTensor, b: StoredTensor)] = []
        for tensor in inA {
            if let other = b.tensor(tensor.name, of: a) { matches.append((tensor, other)) } else { report.removed.append(tensor) }
        }
        report.added = inB.filter { a.tensor($0.name, of: b) == nil }
        if a.adapter != nil, b.adapter != nil { matches += matchSpellings(&report) }
        // In the order of A's files, which is how they are read fastest.
        matches.sort { ($0.a.shard, $0.a.info.begin, $0.a.name) < ($1.a.shard, $1.a.info.begin, $1.a.name) }
        report.removed.sort { $0.name < $1.name }
        report.added.sort { $0.name < $1.name }
        return matches.filter { match in
            if TensorPair.isComparable(match.a, match.b) { return true }
            let types = (a.checkpoint.storedType(of: match.a), b.checkpoint.storedType(of: match.b))
            report.retyped.append(.init(match.a, match.b, types, .notCompared))
            return false
        }
    }

    /// Tensors of two adapters whose names mean the same (``AdapterKey``): a wrapper or the adapter's name in the key.
    private func matchSpellings(_ report: inout CheckpointDifference) -> [(a: StoredTensor, b: StoredTensor)] {
        let spelt = Dictionary(report.added.map { (AdapterKey($0.name).canonical, $0) }) { first, _ in first }
        var taken: Set<ExactString> = []
        var matches: [(a: StoredTensor, b: StoredTensor)] = []
        for tensor in report.removed {
            guard let other = spelt[AdapterKey(tensor.name).canonical], taken.insert(other.name).inserted else { continue }
            matches.append((tensor, other))
            report.renamed.append(.init(name: tensor.name, nameInB: other.name))
        }
        let gone = Set(matches.map(\.a.name))
        report.removed.removeAll { gone.contains($0.name) }
        report.added.removeAll { taken.contains($0.name) }
        report.renamed.sort { $0.name < $1.name }
        return matches
    }

    // MARK: Comparing

    /// Takes the parts of all pairs in order, on all workers; then the norms of parts that are equal in tensors that
    /// are not.
    private func compare(_ pairs: [TensorPair]) throws {
        let parts = pairs.indices.flatMap { pair in (0..<pairs[pair].partCount).map { (pair: pair, part: $0) } }
        try parallelForEach(count: parts.count, jobs: jobs) { index in
            let pair = pairs[parts[index].pair]
            try naming(pair) { try pair.compare(part: parts[index].part) }
            progress?(pair.byteCount(part: parts[index].part))
        }
        let rest = pairs.indices.flatMap { pair in
            pairs[pair].partsToMeasure.enumerated().map { (pair: pair, index: $0, part: $1) }
        }
        try parallelForEach(count: rest.count, jobs: jobs) { index in
            let pair = pairs[rest[index].pair]
            try naming(pair) { try pair.measure(rest[index].index, part: rest[index].part) }
        }
    }

    /// Says which tensor an error is about.
    private func naming(_ pair: TensorPair, _ body: () throws -> Void) throws {
        do { try body() } catch var error as PeftfileError {
            if error.tensor == nil, error.code != .library { error.tensor = pair.a.name }
            throw error
        }
    }

    private func note(_ pair: TensorPair, _ report: inout CheckpointDifference) {
        report.compared += 1
        report.comparedElements += pair.elements
        let difference = pair.result.map { TensorDifference(pair, $0) }
        let types = pair.storedTypes
        if types.a != types.b {
            report.retyped.append(.init(pair.a, pair.b, types, difference?.differing ?? 0 > 0 ? .different : .equal))
        }
        guard let difference else { return }
        if difference.differing > 0 {
            report.changed.append(difference)
        } else if pair.a.dtype == pair.b.dtype || difference.unequal > 0 {
            report.tolerated.append(difference)
        }
    }
}

extension CheckpointDifference.Retyped {
    fileprivate init(_ a: StoredTensor, _ b: StoredTensor, _ types: (a: String, b: String), _ values: Values) {
        self.init(
            name: a.name, typeInA: types.a, typeInB: types.b, shapeInA: a.shape, shapeInB: b.shape, values: values)
    }
}

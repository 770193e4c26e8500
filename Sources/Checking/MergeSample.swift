import Adapters
import ByteAccess
import Checkpoints
import Rewriting
import Tensors

/// A merge computed and not written, to see what the base's dtype does to the update.
///
/// The rows come from the merge's own evaluation (``MergePreview``), so every method has them. An update of up to
/// `wholeLimit` elements is looked at whole; of a larger one as many as `tensorLimit` tensors, spread over the model, and
/// of each `rowLimit` rows, spread over the tensor: enough for a share to two digits, and a bounded amount of work on a base
/// of any size. What was looked at is said with every figure, and beside the findings where it is a part.
struct MergeSample: Sendable {
    /// Elements that the update changes before rounding, and how many of them rounding gives back their old value.
    private(set) var elements = 0
    private(set) var lost = 0
    /// Tensors with finite elements that the merge makes infinite, how many, and of how many looked at.
    private(set) var overflows: [(tensor: ExactString, dtype: DType, count: Int, of: Int)] = []
    /// The dtype of most of what was looked at.
    private(set) var dtype: DType?
    /// Tensors that the merge changes, and those of them that were looked at.
    private(set) var changed = 0
    private(set) var looked = 0
    /// Elements of all that the merge changes, and those of them that were looked at.
    private(set) var total = 0
    private(set) var seen = 0
    /// The most rows that were taken of a tensor; nil where each was looked at whole.
    private(set) var rowLimit: Int?
    /// The squares of the update's elements, before rounding, and the tensors they are of, with the rows that were looked at.
    private(set) var squares = 0.0
    private(set) var tensors: [(name: ExactString, rows: [Range<Int>])] = []
    /// Why some tensors could not be looked at, by reason.
    private(set) var obstacles: [String: Int] = [:]

    static let wholeLimit = 1 << 22
    static let tensorLimit = 24
    static let rowLimit = 16

    var lostShare: Double { elements > 0 ? Double(lost) / Double(elements) : 0 }
    var isPartial: Bool { seen < total }

    /// `all 4096 elements of 4 tensors`, or `16 rows of each of 24 of 224 tensors, 1572864 of 939524096 elements`.
    var extent: String {
        let unlooked = obstacles.sorted { $0.key < $1.key }.map { "; \($0.value) not looked at: \($0.key)" }.joined()
        guard isPartial else { return "all \(total) elements of \(changed) tensor\(changed == 1 ? "" : "s")" }
        let rows = rowLimit.map { "at most \($0) rows of each of " } ?? ""
        return "\(rows)\(looked) of \(changed) tensor\(changed == 1 ? "" : "s"), \(seen) of \(total) elements\(unlooked)"
    }

    init(_ binding: Binding, jobs: Int) throws {
        let preview = MergePreview(binding)
        var outputs: [Binding.Output] = []
        for output in binding.outputs where MergeSample.isRounded(output.recipe) {
            changed += 1
            total += output.recipe.rows * output.recipe.columns
            if let obstacle = preview.obstacle(output) { obstacles[obstacle, default: 0] += 1 } else { outputs.append(output) }
        }
        let isWhole = outputs.reduce(0) { $0 + $1.recipe.rows * $1.recipe.columns } <= MergeSample.wholeLimit
        if !isWhole {
            let step = max(1, (outputs.count + MergeSample.tensorLimit - 1) / MergeSample.tensorLimit)
            outputs = stride(from: 0, to: outputs.count, by: step).map { outputs[$0] }
            rowLimit = MergeSample.rowLimit
        }
        let taken = outputs
        let results = Mutex([UpdateStatistics?](repeating: nil, count: taken.count))
        let ranges = taken.map { MergeSample.rows(of: $0.recipe, isWhole: isWhole) }
        try parallelForEach(count: taken.count, jobs: jobs) { index in
            let statistics = try preview.statistics(of: taken[index], rows: ranges[index])
            results.withLock { $0[index] = statistics }
        }
        for (index, statistics) in results.withLock({ $0 }).enumerated() {
            guard let statistics else { continue }
            add(statistics, taken[index], rows: ranges[index])
        }
    }

    /// Whether the tensor's elements are computed and rounded to the base's own dtype.
    private static func isRounded(_ recipe: TensorRecipe) -> Bool {
        guard case .base = recipe.source, !recipe.isDequantised, recipe.dtype == recipe.sourceDType, recipe.dtype.isMergeable
        else { return false }
        return !recipe.transforms.isEmpty || !recipe.updates.isEmpty || !recipe.magnitudes.isEmpty
    }

    private static func rows(of recipe: TensorRecipe, isWhole: Bool) -> [Range<Int>] {
        let count = recipe.rows
        guard !isWhole, count > rowLimit else {
            let step = max(1, (1 << 18) / max(1, recipe.columns))
            return stride(from: 0, to: count, by: step).map { $0..<min($0 + step, count) }
        }
        return stride(from: 0, to: count, by: (count + rowLimit - 1) / rowLimit).map { $0..<($0 + 1) }
    }

    private mutating func add(_ statistics: UpdateStatistics, _ output: Binding.Output, rows: [Range<Int>]) {
        let count = rows.reduce(0) { $0 + $1.count } * output.recipe.columns
        looked += 1
        seen += count
        elements += statistics.updated
        lost += statistics.unchanged
        squares += statistics.squares
        tensors.append((output.recipe.name, rows))
        dtype = output.recipe.dtype
        if statistics.nonfinite > 0 {
            overflows.append((output.recipe.name, output.recipe.dtype, statistics.nonfinite, count))
        }
    }
}

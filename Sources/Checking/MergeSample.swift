import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// A few rows of a merge, computed to see what rounding to the base's dtype does to the update.
///
///     merged = round(W + Σ scale·left·right)        an element is lost where the update is not zero and merged = W
///
/// At most 24 tensors spread over the model, and of each at most 16 rows: enough for a share to two digits, and a bounded
/// amount of work on a base of any size. Low-rank terms alone; other updates are computed only by a merge.
struct MergeSample: Sendable {
    /// Elements that the update changes before rounding, and how many of them rounding gives back their old value.
    private(set) var elements = 0
    private(set) var lost = 0
    /// Tensors with finite elements that the merge makes infinite, and how many of the sampled ones.
    private(set) var overflows: [(tensor: ExactString, count: Int)] = []
    private(set) var dtype: DType?

    static let tensorLimit = 24
    static let rowLimit = 16

    var lostShare: Double { elements > 0 ? Double(lost) / Double(elements) : 0 }

    init(_ binding: Binding) throws {
        let outputs = binding.outputs.filter { MergeSample.isSimple($0.recipe) }
        let numbers = AdapterNumbers(adapters: binding.adapters)
        let step = max(1, (outputs.count + MergeSample.tensorLimit - 1) / MergeSample.tensorLimit)
        for index in stride(from: 0, to: outputs.count, by: step) {
            try Interruption.check()
            try add(outputs[index].recipe, of: binding.base, numbers)
        }
    }

    private static func isSimple(_ recipe: TensorRecipe) -> Bool {
        guard case .base = recipe.source, recipe.transforms.isEmpty, recipe.magnitudes.isEmpty, !recipe.updates.isEmpty,
            recipe.rowReplacements.isEmpty, recipe.dtype == recipe.sourceDType, recipe.dtype.isMergeable
        else { return false }
        return recipe.updates.allSatisfy { if case .lowRank = $0.update { true } else { false } }
    }

    private mutating func add(_ recipe: TensorRecipe, of base: Checkpoint, _ numbers: AdapterNumbers) throws {
        guard case .base(let name) = recipe.source, let tensor = base[name], tensor.info.isContiguous else { return }
        let (rows, columns, bytes) = (recipe.rows, recipe.columns, recipe.dtype.bits / 8)
        guard rows > 0, columns > 0, rows <= tensor.info.elementCount / columns else { return }
        var terms: [(region: Region, left: [Double], right: [Double], rank: Int, scale: Double)] = []
        for placed in recipe.updates {
            guard case .lowRank(let left, let right, let scale) = placed.update else { continue }
            terms.append(
                (placed.region, try left.matrix(from: numbers), try right.matrix(from: numbers), left.columns, scale))
        }
        var infinite = 0
        for row in stride(from: 0, to: rows, by: max(1, (rows + MergeSample.rowLimit - 1) / MergeSample.rowLimit)) {
            let begin = UInt64(row * columns * bytes)
            let stored = try base.read(tensor, bytes: begin..<(begin + UInt64(columns * bytes)))
            let weight = try Conversion.widened(stored, as: recipe.dtype, count: columns)
            var update = [Double](repeating: 0, count: columns)
            for term in terms where term.region.rows.contains(row) {
                MergeSample.addRow(row - term.region.rows.lowerBound, of: term, to: &update)
            }
            let merged = try Conversion.narrowed(zip(weight, update).map { $0 + $1 }, to: recipe.dtype)
            let result = try Conversion.widened(merged, as: recipe.dtype, count: columns)
            for column in 0..<columns where update[column] != 0 && weight[column].isFinite {
                elements += 1
                if result[column] == weight[column] { lost += 1 }
                if update[column].isFinite, !result[column].isFinite { infinite += 1 }
            }
        }
        dtype = recipe.dtype
        if infinite > 0 { overflows.append((name, infinite)) }
    }

    private static func addRow(
        _ row: Int, of term: (region: Region, left: [Double], right: [Double], rank: Int, scale: Double),
        to update: inout [Double]
    ) {
        let (width, first) = (term.region.columns.count, term.region.columns.lowerBound)
        guard (row + 1) * term.rank <= term.left.count, term.rank * width <= term.right.count,
            first >= 0, first + width <= update.count
        else { return }
        for k in 0..<term.rank {
            let factor = term.left[row * term.rank + k] * term.scale
            guard factor != 0 else { continue }
            for column in 0..<width { update[first + column] += factor * term.right[k * width + column] }
        }
    }
}

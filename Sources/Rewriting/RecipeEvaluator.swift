import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// Computes row panels of one output tensor in the defined order of the numerics.
///
/// Any panel can be computed alone; what all panels share (factors, column norms, decompositions) is prepared once, by
/// whichever panel comes first.
final class RecipeEvaluator: Sendable {
    let recipe: TensorRecipe
    let base: Checkpoint
    let adapters: [Adapter]
    let numbers: AdapterNumbers
    let encoding: GGUFEncoding?
    let shared = Mutex<Shared?>(nil)
    let fused = Mutex<FusedUpdate?>(nil)

    init(
        recipe: TensorRecipe, base: Checkpoint, adapters: [Adapter], numbers: AdapterNumbers, encoding: GGUFEncoding? = nil
    ) {
        self.encoding = encoding
        self.recipe = recipe
        self.base = base
        self.adapters = adapters
        self.numbers = numbers
    }

    /// An additive term with its numbers at hand.
    enum Term {
        case lowRank(region: Region, left: [Double], right: [Double], rank: Int, scale: Double)
        case dense(region: Region, values: [Double], scale: Double)
        case computed(region: Region, walk: Walk, scale: Double)
        var region: Region {
            switch self {
            case .lowRank(let region, _, _, _, _), .dense(let region, _, _), .computed(let region, _, _): region
            }
        }
    }

    struct Shared {
        var terms: [Term] = []
        var transforms: [(region: Region, walk: Walk)] = []
        /// Replaced rows: matrix row → (row of `values`, values, columns).
        var replacements: [(rows: [Int: Int], columns: Range<Int>, values: [Double])] = []
        /// For each magnitude its values, and for those along columns m / ‖column‖ of all columns.
        var magnitudes: [(values: [Double], factors: [Double]?)] = []
    }

    /// What a panel came to.
    struct Panel: Sendable {
        var bytes: [UInt8]
        var statistics = UpdateStatistics()
    }

    /// Computes the rows `rows` of the output matrix.
    func panel(rows: Range<Int>) throws -> Panel {
        var panel = try computed(rows: rows)
        if encoding == nil, recipe.isFromAdapter || !recipe.rowReplacements.isEmpty {
            panel.statistics.nonfinite = max(panel.statistics.nonfinite, try foreignNonfinite(in: panel.bytes, rows: rows))
        }
        return panel
    }

    /// NaN and infinities among the elements of a panel that an adapter stores whole.
    private func foreignNonfinite(in bytes: [UInt8], rows: Range<Int>) throws -> Int {
        guard recipe.dtype.isMergeable else { return 0 }
        let stored = try Conversion.widened(bytes, as: recipe.dtype, count: rows.count * recipe.columns)
        if recipe.isFromAdapter { return stored.count { !$0.isFinite } }
        var places: Set<Int> = []
        for replacement in recipe.rowReplacements {
            for row in replacement.rows where rows.contains(row) {
                let start = (row - rows.lowerBound) * recipe.columns
                for column in replacement.columns where !stored[start + column].isFinite { places.insert(start + column) }
            }
        }
        return places.count
    }

    private func computed(rows: Range<Int>) throws -> Panel {
        if encoding == nil, let panel = try dequantisedPanel(rows: rows) { return panel }
        let raw = try sourceBytes(rows: rows)
        if recipe.isCopy, encoding == nil { return Panel(bytes: raw) }
        if encoding == nil, let fused = try fusedUpdate() { return try merged(raw, rows: rows, by: fused) }
        let shared = try prepared()
        let count = rows.count * recipe.columns
        let original = try Conversion.widened(raw, as: recipe.sourceDType, count: count)
        let changed = changedSpans(in: rows)
        var values = original
        try apply(shared, to: &values, rows: rows)
        magnify(&values, rows: rows, shared: shared)
        if let encoding { return try encoded(values, original, changed, encoding, rows) }
        var bytes = try Conversion.narrowed(values, to: recipe.dtype)
        if recipe.sourceDType == recipe.dtype { restore(&bytes, from: raw, outside: changed, rows: rows.count) }
        let stored = try Conversion.widened(bytes, as: recipe.dtype, count: count)
        var statistics = UpdateStatistics()
        if recipe.isDequantised {
            if recipe.changesValues { try survive(&statistics, original, values, stored, changed) }
            return Panel(bytes: bytes, statistics: statistics)
        }
        let columns = recipe.columns
        for (row, spans) in changed.enumerated() {
            for span in spans {
                statistics.add(
                    original: original, exact: values, stored: stored,
                    range: (row * columns + span.lowerBound)..<(row * columns + span.upperBound))
            }
        }
        return Panel(bytes: bytes, statistics: statistics)
    }

    /// Counts what rounding left of an update to dequantised weights: these are rounded themselves, so a stored result is held
    /// against the rounded weight, and not against the exact one, whose own rounding is no loss of the update. Rounded to float32
    /// first, as `LowRankKernel` has it.
    private func survive(
        _ statistics: inout UpdateStatistics, _ original: [Double], _ values: [Double], _ stored: [Double], _ changed: [[Range<Int>]]
    ) throws {
        let rounded = try Conversion.widened(
            try Conversion.narrowed(original.map { Double(Float($0)) }, to: recipe.dtype), as: recipe.dtype, count: original.count)
        var exact = values
        for index in exact.indices { exact[index] = rounded[index] + (values[index] - original[index]) }
        for (row, spans) in changed.enumerated() {
            for span in spans {
                statistics.add(
                    original: rounded, exact: exact, stored: stored,
                    range: (row * recipe.columns + span.lowerBound)..<(row * recipe.columns + span.upperBound))
            }
        }
    }

    /// The panel as a GGUF file has it. The update is held against the weight as it would be stored without one; what rounding adds,
    /// in blocks much of it, is told apart.
    private func encoded(
        _ values: [Double], _ original: [Double], _ changed: [[Range<Int>]], _ encoding: GGUFEncoding, _ rows: Range<Int>
    ) throws -> Panel {
        let (bytes, stored) = try encoding.encode(values, rows: rows, columns: recipe.columns)
        var statistics = UpdateStatistics()
        guard recipe.changesValues else { return Panel(bytes: bytes) }
        let rounded = try encoding.encode(original, rows: rows, columns: recipe.columns).stored
        var exact = values
        for index in exact.indices { exact[index] = rounded[index] + (values[index] - original[index]) }
        for (row, spans) in changed.enumerated() {
            for span in encoding.cut.map({ cut in spans.flatMap(cut.owned) }) ?? spans {
                let range = (row * recipe.columns + span.lowerBound)..<(row * recipe.columns + span.upperBound)
                statistics.add(original: rounded, exact: exact, stored: stored, range: range)
                if encoding.type.dtype == nil { statistics.addRounding(exact: values, stored: stored, range: range) }
            }
        }
        return Panel(bytes: bytes, statistics: statistics)
    }

    // MARK: The common case

    /// A single low-rank term over the whole tensor, with its factors packed: most tensors of most merges. DoRA's
    /// magnitudes of whole rows go with it.
    struct FusedUpdate: Sendable {
        let kernel: LowRankKernel
        let left: StoredFactor
        let scale: Double
        let magnitudes: [Double]?
    }

    /// The fused form of the recipe, where it has one; the kernel gives the same bits as the steps above.
    func fusedUpdate() throws -> FusedUpdate? {
        let whole = Region(rows: 0..<recipe.rows, columns: 0..<recipe.columns)
        guard recipe.updates.count == 1, recipe.magnitudes.count <= 1, recipe.rowReplacements.isEmpty,
            recipe.transforms.isEmpty,
            recipe.sourceDType == recipe.dtype || recipe.isDequantised && recipe.magnitudes.isEmpty,
            LowRankKernel.supports(recipe.dtype),
            case .lowRank(let left, let right, let scale) = recipe.updates[0].update,
            recipe.updates[0].region == whole,
            recipe.magnitudes.allSatisfy({ $0.axis == .rows && $0.region == whole })
        else { return nil }
        return try fused.withLock { known in
            if let known { return known }
            let made = FusedUpdate(
                kernel: try kernel(of: right),
                left: try StoredFactor(left, from: numbers), scale: scale,
                magnitudes: try recipe.magnitudes.first?.values.matrix(from: numbers))
            known = made
            return made
        }
    }

    private func kernel(of right: Factor) throws -> LowRankKernel {
        let stored = try StoredFactor(right, from: numbers)
        return try LowRankKernel(rank: right.rows, columns: right.columns) { try stored.block(columns: $0, ofRows: right.rows) }
    }

    func merged(_ raw: [UInt8], rows: Range<Int>, by update: FusedUpdate) throws -> Panel {
        var bytes = raw
        let magnitudes = update.magnitudes.map { Array($0[rows]) }
        let figures = try bytes.withUnsafeMutableBytes { panel in
            try update.left.withRows(rows) { left in
                func merge(_ magnitudes: UnsafeBufferPointer<Double>?) -> PanelStatistics {
                    update.kernel.mergePanel(
                        source: UnsafeRawBufferPointer(panel), dtype: recipe.dtype, left: left, rows: rows.count,
                        scale: update.scale, magnitudes: magnitudes, into: panel)
                }
                return magnitudes?.withUnsafeBufferPointer { merge($0) } ?? merge(nil)
            }
        }
        return Panel(bytes: bytes, statistics: UpdateStatistics(figures))
    }
}

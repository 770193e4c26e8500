import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// One output tensor being verified: cut into parts that any worker can take, with the sum of what they found.
final class TensorVerification: Sendable {
    let recipe: TensorRecipe
    let partCount: Int
    private let source: SourceRows
    private let stored: StoredTensor
    private let result: Checkpoint
    private let numbers: AdapterNumbers
    private let tolerance: UInt64
    private let probes: Int
    private let pool: BufferPool
    private let state: Mutex<State>

    /// What all parts share, made by the part that comes first and let go by the last.
    private struct Shared: Sendable {
        let recomputation: Recomputation
        let probes: ProbePlan?
        let definedNorms: DefinedNorms
    }

    private struct State: Sendable {
        var shared: Shared?
        var remaining: Int
        var tally = Tally()
    }

    /// - Throws: as ``SourceRows``.
    init(
        recipe: TensorRecipe, stored: StoredTensor, result: Checkpoint, base: Checkpoint, adapters: [Adapter],
        numbers: AdapterNumbers, pool: BufferPool, tolerance: UInt64, probes: Int
    ) throws {
        self.recipe = recipe
        self.stored = stored
        self.result = result
        self.numbers = numbers
        self.pool = pool
        self.tolerance = tolerance
        self.probes = probes
        source = try SourceRows(recipe, base: base, adapters: adapters)
        if recipe.isCopy {
            partCount = Int((source.byteCount + CopyComparison.step - 1) / CopyComparison.step)
        } else {
            let step = TensorVerification.rowStep(recipe)
            partCount = (recipe.rows + step - 1) / step
        }
        state = Mutex(State(remaining: partCount))
    }

    /// Rows of a part. 2¹⁵ float64 numbers are a quarter of a megabyte for each of the arrays that a part needs, which stay in a
    /// core's cache. Longer rows come at least 16 together, since the product reads the whole right factor once for each part; up to
    /// 2²⁰ elements, so that memory stays bounded.
    private static func rowStep(_ recipe: TensorRecipe) -> Int {
        let columns = max(1, recipe.columns)
        return max(1, min(max((1 << 15) / columns, 16), (1 << 20) / columns))
    }

    /// Bytes of the result that part `part` covers, for progress.
    func byteCount(part: Int) -> UInt64 {
        if recipe.isCopy { return min(CopyComparison.step, source.byteCount - UInt64(part) * CopyComparison.step) }
        return UInt64(rows(part: part).count) * UInt64(recipe.columns * recipe.dtype.bits / 8)
    }

    private func rows(part: Int) -> Range<Int> {
        let step = TensorVerification.rowStep(recipe)
        return (part * step)..<min((part + 1) * step, recipe.rows)
    }

    /// Compares one part.
    func compare(part: Int) throws {
        let tally = try recipe.isCopy ? compareCopy(part: part) : compareRows(part: part)
        state.withLock { state in
            state.tally.join(tally)
            state.remaining -= 1
            if state.remaining == 0 { state.shared = nil }
        }
    }

    private func compareCopy(part: Int) throws -> Tally {
        let start = UInt64(part) * CopyComparison.step
        let range = start..<min(start + CopyComparison.step, source.byteCount)
        return try CopyComparison(dtype: recipe.dtype).tally(
            stored: try result.read(stored, bytes: range), expected: try source.bytes(range),
            first: Int(start) * 8 / recipe.dtype.bits)
    }

    private func compareRows(part: Int) throws -> Tally {
        let rows = rows(part: part)
        let shared = try prepared()
        let row = UInt64(recipe.columns * recipe.dtype.bits / 8)
        return try pool.withBuffers { buffers in
            PanelBuffers.resize(&buffers.stored, rows.count * Int(row))
            try buffers.stored.withUnsafeMutableBytes {
                try result.read(stored, at: UInt64(rows.lowerBound) * row, into: $0)
            }
            return switch recipe.dtype {
            case .f16: try compare(rows, &buffers, shared, CodeOrder<UInt16>(infinity: 0x7C00))
            case .bf16: try compare(rows, &buffers, shared, CodeOrder<UInt16>(infinity: 0x7F80))
            case .f32: try compare(rows, &buffers, shared, CodeOrder<UInt32>(infinity: 0x7F80_0000))
            case .f64: try compare(rows, &buffers, shared, CodeOrder<UInt64>(infinity: 0x7FF0_0000_0000_0000))
            default:
                throw PeftfileError(
                    .unsupported, "has dtype \(recipe.dtype.rawValue), in which nothing is computed",
                    tensor: recipe.name,
                    rule: "BaseDType")
            }
        }
    }

    private func compare<Code>(
        _ rows: Range<Int>, _ buffers: inout PanelBuffers, _ shared: Shared, _ order: CodeOrder<Code>
    ) throws -> Tally {
        try PanelComparison(
            recomputation: shared.recomputation, order: order, tolerance: tolerance,
            definedNorms: { try shared.definedNorms.value(shared.recomputation) }, probes: shared.probes
        ).tally(rows: rows, &buffers)
    }

    private func prepared() throws -> Shared {
        try state.withLock { state in
            if let shared = state.shared { return shared }
            var prepared = try PreparedRecipe(recipe, source: source, numbers: numbers)
            for index in prepared.magnitudes.indices where prepared.magnitudes[index].axis == .columns {
                prepared.magnitudes[index].norms = try Recomputation(recipe: recipe, source: source, prepared: prepared)
                    .columnNorms(of: prepared.magnitudes[index].region, step: TensorVerification.rowStep(recipe))
            }
            let recomputation = Recomputation(recipe: recipe, source: source, prepared: prepared)
            let hasProbes = probes > 0 && ProbePlan.reasonToSkip(recipe) == nil
            let shared = Shared(
                recomputation: recomputation,
                probes: hasProbes ? try ProbePlan(recomputation, vectors: probes, maxULP: tolerance) : nil,
                definedNorms: DefinedNorms())
            state.shared = shared
            return shared
        }
    }

    /// What all parts found.
    func report() -> EquivalenceReport.Tensor {
        let tally = state.withLock { $0.tally }
        let kind: EquivalenceReport.Kind =
            recipe.isCopy ? .copied : recipe.changedRegions.isEmpty ? .converted : .computed
        var probe: EquivalenceReport.Probe?
        if probes > 0, !recipe.isCopy {
            if let reason = ProbePlan.reasonToSkip(recipe) {
                probe = .skipped(reason)
            } else if tally.probedRows == 0 {
                probe = .skipped("no row has finite numbers only")
            } else {
                probe = .compared(vectors: probes, failures: tally.probeFailures, worst: tally.probeWorst)
            }
        }
        return EquivalenceReport.Tensor(
            name: recipe.name, kind: kind, elements: stored.info.elementCount,
            maxULP: tally.hasUncountedDistance ? nil : tally.maxULP, maxAbs: tally.maxAbs, nonfinite: tally.nonfinite,
            mismatched: tally.mismatched, ambiguous: tally.ambiguous,
            acceptedByLibraryBound: tally.acceptedByLibraryBound, firstMismatch: tally.first, probe: probe)
    }
}

/// Column norms in the defined order, computed when an element first needs them.
private final class DefinedNorms: Sendable {
    private let known = Mutex<[[Double]]?>(nil)

    func value(_ recomputation: Recomputation) throws -> [[Double]] {
        try known.withLock { known in
            if let known { return known }
            let norms = try DefinedOrder(recomputation: recomputation).columnNorms()
            known = norms
            return norms
        }
    }
}

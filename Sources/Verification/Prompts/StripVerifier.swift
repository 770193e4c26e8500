public import Adapters
import ByteAccess
public import Checkpoints
public import Tensors

/// Judges whether a stripped prompt is what its unstripped source produces.
///
/// Every element is computed again by `PromptRecomputation` and accepted if a correct strip can have written it: with v
/// the recomputed value and E twice its bound, the stored number lies between v − E and v + E rounded to its dtype; where
/// these differ, the defined order of evaluation decides. So one flipped bit is found.
public struct StripVerifier: Sendable {
    private let source: PromptSource
    private let result: Checkpoint
    private let config: AdapterConfig?
    private let task: Int?
    private let dtype: DType?
    private let maxULP: UInt64

    /// - Parameters:
    ///   - source: the unstripped training state.
    ///   - result: the stripped tensors.
    ///   - config: the config beside them; nil for a bare file.
    ///   - task: the task that was baked.
    ///   - dtype: the dtype that was asked for; nil expects the source's.
    ///   - maxULP: accept elements within this many steps of the right ones.
    public init(
        source: PromptSource, result: Checkpoint, config: AdapterConfig?, task: Int? = nil, dtype: DType? = nil,
        maxULP: UInt64 = 0
    ) {
        self.source = source
        self.result = result
        self.config = config
        self.task = task
        self.dtype = dtype
        self.maxULP = maxULP
    }

    private struct Expected {
        var name: ExactString
        var dtype: DType
        var shape: Shape
        var formula: PromptFormula?
        var copy: StoredTensor?
    }

    /// Compares every tensor.
    ///
    /// - Throws: `.library` without OpenBLAS, `.refused` for a task that the source does not have.
    public func run() throws -> EquivalenceReport {
        var report = EquivalenceReport()
        let isPEFT = result["prompt_embeddings"] != nil
        let expected = try isPEFT ? expectedOfPEFT() : expectedOfSource()
        let names = Set(expected.map(\.name))
        report.unexpected = result.tensors.map(\.name).filter { !names.contains($0) }
        var recomputation = PromptRecomputation(checkpoint: source.checkpoint)
        for tensor in expected {
            guard let stored = result[tensor.name] else {
                report.missing.append(tensor.name)
                continue
            }
            guard stored.dtype == tensor.dtype, stored.shape == tensor.shape else {
                report.disagreements.append(
                    .init(
                        name: tensor.name, expectedDType: tensor.dtype, foundDType: stored.dtype,
                        expectedShape: tensor.shape, foundShape: stored.shape))
                continue
            }
            if let formula = tensor.formula {
                report.tensors.append(try compare(stored, formula, &recomputation))
            } else if let copy = tensor.copy {
                report.tensors.append(try compare(stored, copy))
            }
        }
        report.config = try isPEFT ? PromptConfigCheck.peft(config, expectedModule, task: task, result) : PromptConfigCheck.source(config)
        return report
    }

    // MARK: What is expected

    private var expectedModule: PromptModule { source.modules[0] }

    private func expectedOfPEFT() throws -> [Expected] {
        let module = expectedModule
        let tokens = try module.tokens ?? config?.count("num_virtual_tokens") ?? 1
        var expected = [
            Expected(
                name: "prompt_embeddings", dtype: dtype ?? module.dtype, shape: [tokens, module.elements / tokens],
                formula: try task.map { try module.prompt(ofTask: $0) } ?? module.formula)
        ]
        if let factors = module.factors, task == nil {
            for (name, stored) in [("prefix_task_cols", factors.columns), ("prefix_task_rows", factors.rows)] {
                guard let tensor = source.checkpoint[stored] else { continue }
                expected.append(
                    Expected(
                        name: ExactString(name), dtype: dtype ?? tensor.dtype, shape: tensor.shape,
                        formula: .stored(stored)))
            }
        }
        for module in try source.savedModules() {
            let info = module.tensor
            expected.append(Expected(name: module.name, dtype: info.dtype, shape: info.shape, copy: info))
        }
        return expected
    }

    private func expectedOfSource() throws -> [Expected] {
        func copy(_ tensor: StoredTensor) -> Expected {
            Expected(name: source.cleanName(of: tensor), dtype: tensor.dtype, shape: tensor.shape, copy: tensor)
        }
        var expected = source.others.map(copy)
        for module in source.modules {
            // The result tells how many layers its slots are for.
            let slot = (module.slots?.firstName).flatMap { result[$0] }?.shape.last
            let layers = slot.flatMap { slot in module.width.map { $0 / 2 / max(1, slot) } }
            let formula = try task.map { try module.prompt(ofTask: $0) } ?? module.formula
            for part in try module.sourceTensors(layers: layers, formula: formula) {
                expected.append(
                    Expected(name: part.name, dtype: dtype ?? module.dtype, shape: part.shape, formula: part.formula))
            }
            guard let factors = module.factors, task == nil else { continue }
            expected += [factors.columns, factors.rows].compactMap { source.checkpoint[$0] }.map(copy)
        }
        return expected
    }

    // MARK: Comparison

    private func compare(_ stored: StoredTensor, _ copy: StoredTensor) throws -> EquivalenceReport.Tensor {
        var figures = figures(stored, .copied)
        var offset: UInt64 = 0
        while offset < stored.byteCount {
            try Interruption.check()
            let end = min(stored.byteCount, offset + (1 << 22))
            let (left, right) = (
                try result.read(stored, bytes: offset..<end), try source.checkpoint.read(copy, bytes: offset..<end)
            )
            for index in left.indices where left[index] != right[index] { figures.mismatched += 1 }
            offset = end
        }
        if figures.mismatched > 0 { figures.maxULP = nil }
        return figures
    }

    private func compare(
        _ stored: StoredTensor, _ formula: PromptFormula, _ recomputation: inout PromptRecomputation
    ) throws -> EquivalenceReport.Tensor {
        let kind: EquivalenceReport.Kind
        if case .stored = formula { kind = .converted } else { kind = .computed }
        var figures = figures(stored, kind)
        let found = try Conversion.widened(try result.read(stored), as: stored.dtype, count: stored.info.elementCount)
        let right = try recomputation.prompt(formula)
        let low = try rounded(zip(right.values, right.errors).map { $0 - 2 * $1 }, stored.dtype)
        let high = try rounded(zip(right.values, right.errors).map { $0 + 2 * $1 }, stored.dtype)
        // Only what the bound leaves open is asked of the defined order.
        let isOpen = zip(low, high).contains { $0 != $1 }
        let defined = isOpen
            ? try rounded(
                PromptEvaluator(checkpoint: source.checkpoint, jobs: Machine.availableCores).values(of: formula), stored.dtype)
            : low
        for index in found.indices {
            let (value, v) = (found[index], right.values[index])
            let distance = Ulp.distance(value, v, in: stored.dtype)
            figures.maxULP = distance == .max ? nil : figures.maxULP.map { max($0, distance) }
            if value.isFinite, v.isFinite {
                figures.maxAbs = max(figures.maxAbs, (value - v).magnitude)
            } else if !(value.isNaN && v.isNaN), value != v {
                figures.nonfinite += 1
            }
            var isRight = low[index] <= value && value <= high[index]
            if low[index] != high[index] {
                figures.ambiguous += 1
                // Stored infinities leave no finite bound, and the defined order decides alone.
                isRight = (isRight || !right.errors[index].isFinite) && value == defined[index]
            }
            // NaN is right only where NaN is expected: then the distance is 0.
            guard isRight || distance <= maxULP && (maxULP > 0 || !v.isFinite) else {
                figures.mismatched += 1
                if figures.firstMismatch == nil { figures.firstMismatch = .init(index: index, stored: value, expected: v) }
                continue
            }
        }
        return figures
    }

    private func rounded(_ values: [Double], _ dtype: DType) throws -> [Double] {
        try Conversion.widened(try Conversion.narrowed(values, to: dtype), as: dtype, count: values.count)
    }

    private func figures(_ tensor: StoredTensor, _ kind: EquivalenceReport.Kind) -> EquivalenceReport.Tensor {
        EquivalenceReport.Tensor(
            name: tensor.name, kind: kind, elements: tensor.info.elementCount, maxULP: 0, maxAbs: 0, nonfinite: 0,
            mismatched: 0, ambiguous: 0, acceptedByLibraryBound: 0, firstMismatch: nil,
            probe: kind == .computed ? .skipped("a prompt has no linear form") : nil)
    }
}

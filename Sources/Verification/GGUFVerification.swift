import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// Judges a GGUF file that a merge wrote, bit for bit: its metadata are the base's, tensors that no update reaches have the base's bytes,
/// and of all others every byte is made again from v and E of ``Recomputation``.
///
/// An element whose v − E and v + E round to one number has that number; any other is evaluated in the defined order. So all numbers of a
/// block are known, and with them its bytes. Where the base is decomposed there is no defined order, and v is taken.
struct GGUFVerification: Sendable {
    let base: Checkpoint
    let result: Checkpoint
    let recipes: [TensorRecipe]
    let adapters: [Adapter]
    /// The dtype that the merge was told to write; nil where each tensor kept its type.
    let dtype: DType?
    /// The blocks in which it was told to write the matrices that an update reaches; nil for none.
    let blocks: GGUFType?
    let jobs: Int

    /// What a tensor of the result must be.
    private struct Expected {
        var name: ExactString
        var type: GGUFType
        var shape: Shape
        var cut: GGUFCut?
        var shift: Double
        /// The base's tensor, where the bytes must be its own.
        var copied: StoredTensor?
        var parts: [Part] = []
    }

    /// A tensor of the Hub's, and where it is in the file's.
    private struct Part {
        var recipe: TensorRecipe
        var order: GGUFTensor.Order?
        /// The first of its bytes in the tensor.
        var begin: UInt64 = 0
    }

    func run(_ report: inout EquivalenceReport) throws {
        guard let model = base.gguf, let written = result.gguf else { return }
        let expected = self.expected(model)
        let names = Set(expected.map(\.name))
        report.unexpected = written.tensors.map(\.stored.name).filter { !names.contains($0) }
        var pairs: [(expected: Expected, found: GGUFTensor)] = []
        for tensor in expected {
            guard let found = written.tensors.first(where: { $0.stored.name == tensor.name }) else {
                report.missing.append(tensor.name)
                continue
            }
            guard found.type == tensor.type, found.shape == tensor.shape else {
                report.disagreements.append(
                    .init(
                        name: tensor.name, expectedDType: tensor.type.dtype ?? .u8, foundDType: found.type.dtype ?? .u8,
                        expectedShape: tensor.shape, foundShape: found.shape))
                continue
            }
            pairs.append((tensor, found))
        }
        let all = pairs
        let found = Mutex([EquivalenceReport.Tensor?](repeating: nil, count: all.count))
        let numbers = AdapterNumbers(adapters: adapters, base: base)
        try parallelForEach(count: all.count, jobs: jobs) { index in
            let tensor = try compare(all[index].expected, all[index].found, numbers)
            found.withLock { $0[index] = tensor }
        }
        report.tensors = found.withLock { $0.compactMap { $0 } }
        try compareMetadata(&report)
    }

    private func expected(_ model: GGUFModel) -> [Expected] {
        let byName = Dictionary(recipes.map { ($0.name, $0) }) { first, _ in first }
        var left = Set(byName.keys)
        var result: [Expected] = []
        for tensor in model.tensors {
            left.subtract(tensor.names)
            let recipes = tensor.pieces.compactMap { piece in byName[piece.name].map { (piece: piece, recipe: $0) } }
            let isChanged = recipes.contains { $0.recipe.changesValues || $0.recipe.isFromAdapter }
            var wanted = Expected(
                name: tensor.stored.name, type: tensor.type(isChanged: isChanged, dtype: dtype, blocks: blocks), shape: tensor.shape, cut: tensor.cut,
                shift: tensor.shift)
            if isChanged || wanted.type != tensor.type {
                wanted.parts = recipes.map {
                    Part(recipe: $0.recipe, order: $0.piece.order, begin: tensor.bytes(of: $0.piece, as: wanted.type).lowerBound)
                }
            } else {
                wanted.copied = tensor.stored
            }
            result.append(wanted)
        }
        left.subtract(model.numbers.map(\.name))
        for name in left.sorted() {
            guard let recipe = byName[name], let own = GGUFModel.name(ofHub: name, in: model.architecture),
                let found = self.result.gguf?.tensors.first(where: { $0.stored.name == own })
            else {
                result.append(Expected(name: name, type: .f32, shape: [], shift: 0))
                continue
            }
            if let source = recipe.copiedName, let tensor = model.tensorAlone(source),
                tensor.type(isChanged: false, dtype: dtype, blocks: blocks) == tensor.type
            {
                result.append(Expected(name: own, type: tensor.type, shape: tensor.shape, shift: 0, copied: tensor.stored))
                continue
            }
            result.append(
                Expected(
                    name: own, type: found.type, shape: recipe.shape, shift: GGUFModel.shift(of: own, in: model.architecture), parts: [Part(recipe: recipe)]))
        }
        return result
    }

    private func compareMetadata(_ report: inout EquivalenceReport) throws {
        guard let ours = base.shards.first?.file as? GGUFFile, let theirs = result.shards.first?.file as? GGUFFile else { return }
        for (key, value) in ours.values where !key.text.hasPrefix("split.") && key != "general.file_type" {
            guard try ours.encodedValue(key) != theirs.encodedValue(key) else { continue }
            report.config.append(
                .init(path: [key], expected: .string(value.text), found: theirs.value(key).map { .string($0.text) }))
        }
    }

    // MARK: One tensor

    private func compare(
        _ expected: Expected, _ found: GGUFTensor, _ numbers: AdapterNumbers
    ) throws -> EquivalenceReport.Tensor {
        var tally = Tally()
        let stored = found.stored
        if let copied = expected.copied {
            let comparison = CopyComparison(dtype: stored.dtype)
            var start: UInt64 = 0
            while start < stored.byteCount {
                let end = min(start + CopyComparison.step, stored.byteCount)
                tally.join(
                    try comparison.tally(
                        stored: bytes(result, stored, start..<end), expected: bytes(base, copied, start..<end),
                        first: Int(start) * 8 / stored.dtype.bits))
                start = end
            }
        } else {
            for part in expected.parts {
                do {
                    let rows = try GGUFRows(
                        part.recipe, expected.type, order: part.order, cut: expected.cut, shift: expected.shift, base: base,
                        adapters: adapters, numbers: numbers)
                    tally.join(try rows.tally { try bytes(result, stored, (part.begin + $0.lowerBound)..<(part.begin + $0.upperBound)) })
                } catch var error as PeftfileError {
                    if error.tensor == nil { error.tensor = expected.name }
                    throw error
                }
            }
        }
        let isComputed = expected.parts.contains { !$0.recipe.changedRegions.isEmpty }
        return EquivalenceReport.Tensor(
            name: expected.name, kind: expected.copied != nil ? .copied : isComputed ? .computed : .converted,
            elements: expected.shape.elementCount ?? 0, maxULP: tally.hasUncountedDistance ? nil : tally.maxULP, maxAbs: tally.maxAbs,
            nonfinite: tally.nonfinite, mismatched: tally.mismatched, ambiguous: tally.ambiguous, acceptedByLibraryBound: 0,
            firstMismatch: tally.first, probe: nil)
    }

    private func bytes(_ checkpoint: Checkpoint, _ tensor: StoredTensor, _ range: Range<UInt64>) throws -> [UInt8] {
        try checkpoint.file(of: tensor).reader.bytes(at: tensor.info.begin + range.lowerBound, count: range.count)
    }
}

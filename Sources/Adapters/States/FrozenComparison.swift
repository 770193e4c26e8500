import ByteAccess
import Checkpoints
import Tensors

/// The frozen weights of a training state, held against a base: name, shape and every number.
///
/// A weight is the base's where its bits are those of the base's, rounded to the state's dtype where that is another: a base in
/// BF16 that was trained in F32 is the same numbers, one in F32 that was trained in BF16 was rounded when it was loaded
/// (`torch_dtype`). Both files are read once, a part at a time. What PEFT trained without a name for it is found that way; an
/// update must not be added to other numbers than those it was trained beside.
///
/// A weight that state and base both have as codes is compared by what these stand for, as is one that the base is taken through NF4 for
/// (`--base-as nf4`). GPUs round a few codes otherwise than CPUs: it is the base's where at least 1023 of 1024 numbers are, and of doubly
/// quantised ones those within 1/32 of it, since the quantised magnitudes differ by no more than a step.
///
/// Not compared are weights that one of the two alone has as codes, weights of which an
/// initialisation took a part out (PiSSA, LoftQ…: what the base is then, `--base-as` says), and buffers that models compute anew.
struct FrozenComparison: Sendable {
    /// The base that it was.
    let base: String
    /// How many weights have the base's numbers.
    let compared: Int
    /// How many of these are the base's numbers rounded to a narrower dtype.
    let rounded: Int
    /// What the reader should know of it.
    let note: String

    private enum Outcome { case equal, rounded, agreeing, codes, differs(ExactString, String) }

    private struct Pair: Sendable {
        let key: AdapterKey
        let own: StoredTensor
        let place: ParameterPlace
    }

    /// The adapter of a whole state on its base: what the base lacks rows of becomes the adapter's, everything else is compared.
    ///
    /// - Throws: `.refused` with rule `FrozenWeight` for the first weight that the base has not, or has with another shape or other
    ///   numbers; and what reading throws.
    static func settled(_ adapter: Adapter, base: Checkpoint, view: BaseView, work: ComparisonWork) throws -> Adapter {
        guard let state = adapter.wholeState, state.comparison?.base != base.path else { return adapter }
        var copy = adapter
        var pairs: [Pair] = []
        var resized: [AdapterKey] = []
        var computed = 0
        // A parameter of the model itself is in no module: CLIP's `logit_scale`.
        let requests = state.frozen.map { key in
            key.leaf.isEmpty
                ? ParameterRequest(module: "", parameter: .named(key.module.text)) : ParameterRequest(module: key.module, parameter: .named(key.leaf))
        }
        let resolution = try NameResolver(
            base: view.directory, peftVersion: adapter.config?.peftVersion,
            targetParameters: try adapter.config?.strings("target_parameters") ?? [], isSilent: false, modelClass: adapter.config?.modelClass
        ).survey(requests)
        for (key, request) in zip(state.frozen, requests) {
            guard let own = state.checkpoint[key.stored] else { continue }
            guard let place = resolution.places[request], let first = place.pieces.first else {
                if isComputed(key) {
                    computed += 1
                    continue
                }
                throw refusal(
                    adapter, key, "is a frozen weight of the training state, and the base has no such tensor",
                    help: "merge onto the base that was trained; if it belongs to the result, add its module to modules_to_save in "
                        + "adapter_config.json: \"\(lastName(key))\"")
            }
            if own.info.elementCount == 0, place.shape.elementCount != 0 {
                throw refusal(
                    adapter, key, "has shape \(own.shape): ZeRO-3 or FSDP keep its numbers in other files",
                    help: "gather the state first, with DeepSpeed's zero_to_fp32.py or as a full state dict of FSDP")
            }
            if own.shape != place.shape, own.dtype.isMergeable {
                guard own.shape.count == 2, place.shape.count == 2, own.shape[1] == place.shape[1],
                    SavedParameters.isEmbedding(ExactString("\(key.module).\(key.leaf)"))
                else {
                    throw refusal(
                        adapter, key, "has shape \(own.shape), and the base's \"\(first.tensor.text.printable)\" has \(place.shape)",
                        help: "merge onto the base that was trained")
                }
                resized.append(key)
                continue
            }
            pairs.append(Pair(key: key, own: own, place: place))
        }
        let outcomes = try compare(pairs, state.checkpoint, base, view, work)
        var counts = Counts(codes: state.codes.count)
        var differing: [(key: AdapterKey, base: ExactString, how: String)] = []
        let residual = try residualModules(of: adapter)
        for (pair, outcome) in zip(pairs, outcomes) {
            switch outcome {
            case .equal: counts.equal += 1
            case .rounded: counts.rounded += 1
            case .agreeing: counts.agreeing += 1
            case .codes: counts.codes += 1
            case .differs where residual.contains(pair.key.module): counts.residual += 1
            case .differs(let name, let how): differing.append((pair.key, name, how))
            }
        }
        if let first = differing.first {
            let others = differing.count > 1 ? " (so do \(differing.count - 1) more of \(pairs.count) weights)" : ""
            throw refusal(
                adapter, first.key,
                "holds other numbers than the base's \"\(first.base.text.printable)\", \(first.how)\(others): it was trained too, or the base is "
                    + "another", help: "merge onto the base that was trained; if the weight itself was trained, add its module to modules_to_save in "
                    + "adapter_config.json, and the state's numbers are taken: \"\(lastName(first.key))\"")
        }
        copy.keys += resized
        copy.checkpoint = state.checkpoint.without(
            Set(state.frozen.map(\.stored)).union(state.codes).subtracting(resized.map(\.stored)))
        copy.wholeState?.comparison = FrozenComparison(
            base: base.path, compared: counts.equal + counts.rounded + counts.agreeing, rounded: counts.rounded,
            note: note(state.fileName, counts, computed: computed, resized: resized.count))
        return copy
    }

    private struct Counts {
        var equal = 0
        var rounded = 0
        var agreeing = 0
        var codes: Int
        var residual = 0

        init(codes: Int) { self.codes = codes }
    }

    private static func note(_ file: String, _ counts: Counts, computed: Int, resized: Int) -> String {
        var parts: [String] = []
        let same = counts.equal + counts.rounded
        if same > 0 {
            parts.append(
                "\(same) frozen weights have the base's numbers, all of them compared"
                    + (counts.rounded > 0 ? " (\(counts.rounded) rounded to the dtype of training)" : ""))
        }
        if counts.agreeing > 0 { parts.append("\(counts.agreeing) quantised weights have the base's codes, all of them compared") }
        if counts.codes > 0 { parts.append("\(counts.codes) quantised tensors could not be compared") }
        if counts.residual > 0 { parts.append("\(counts.residual) weights are what their initialisation left of the base's") }
        if computed > 0 { parts.append("\(computed) buffers are computed by the model") }
        let taken = resized > 0 ? "; \(resized) with another number of rows are taken as the adapter's" : ""
        return "\(file.printable) is a training state of the whole model, and what is frozen is left out: "
            + parts.joined(separator: ", ") + taken
    }

    private static func refusal(_ adapter: Adapter, _ key: AdapterKey, _ message: String, help: String) -> PeftfileError {
        PeftfileError(.refused, message, file: adapter.path, tensor: key.stored, rule: "FrozenWeight", help: help)
    }

    private static func lastName(_ key: AdapterKey) -> String {
        (key.module.text.dottedComponents.last.map(String.init) ?? key.module.text).printable
    }

    /// Buffers that older models kept in their states and compute anew.
    ///
    /// Source: `_keys_to_ignore_on_load_unexpected` of the classes in transformers/models.
    private static func isComputed(_ key: AdapterKey) -> Bool {
        ["inv_freq", "position_ids", "token_type_ids", "masked_bias", "cos_cached", "sin_cached", "original_inv_freq"].contains(key.leaf)
            || key.leaf == "bias" && key.module.text.dottedComponents.last == "attn"
            // AdaLoRA's count of the ranks that are left, which `save_pretrained` leaves out too.
            || key.module.text.hasSuffix(".ranknum")
    }

    /// Modules whose weights lost a part when their factors were made.
    private static func residualModules(of adapter: Adapter) throws -> Set<ExactString> {
        guard let config = adapter.config, LoRAConfig.residualInitialisation(config) != nil else { return [] }
        return Set(adapter.keys.filter { $0.component != nil }.map(\.module))
    }

    // MARK: Numbers

    private static func compare(_ pairs: [Pair], _ state: Checkpoint, _ base: Checkpoint, _ view: BaseView, _ work: ComparisonWork) throws -> [Outcome] {
        let outcomes = Mutex([Outcome](repeating: .equal, count: pairs.count))
        try parallelForEach(count: pairs.count, jobs: work.jobs) { index in
            let outcome = try compare(pairs[index], state, base, view)
            outcomes.withLock { $0[index] = outcome }
            work.progress?(pairs[index].own.byteCount)
        }
        return outcomes.withLock { $0 }
    }

    private static func compare(_ pair: Pair, _ state: Checkpoint, _ base: Checkpoint, _ view: BaseView) throws -> Outcome {
        var outcome = Outcome.equal
        for piece in pair.place.pieces {
            guard let stored = view[piece.tensor]?.stored else { return .differs(piece.tensor, "which is not there") }
            if stored.quantised != nil || pair.own.quantised != nil {
                guard stored.quantised != nil, pair.own.quantised != nil, pair.place.pieces.count == 1, !piece.transposed else { return .codes }
                let strip = PieceStrip(piece, of: pair.place, stored: stored.shape)
                guard try strip.agrees(pair.own, in: state, stored, in: base) else { return .differs(piece.tensor, "by its codes") }
                return .agreeing
            }
            if stored.dtype != pair.own.dtype {
                guard stored.dtype.isMergeable, pair.own.dtype.isMergeable else {
                    // Codes of a weight whose companions have gone.
                    return stored.dtype.isMergeable ? .codes : .differs(piece.tensor, "of \(pair.own.dtype.rawValue) and not \(stored.dtype.rawValue)")
                }
                if stored.dtype.bits > pair.own.dtype.bits || [stored.dtype, pair.own.dtype] == [.bf16, .f16] { outcome = .rounded }
            }
            let strip = PieceStrip(piece, of: pair.place, stored: stored.shape)
            if try !strip.isEqual(pair.own, in: state, stored, in: base) { return .differs(piece.tensor, "both of shape \(pair.own.shape)") }
        }
        return outcome
    }
}

/// One piece of a parameter in memory, and where its rows lie in the stored tensor.
private struct PieceStrip {
    /// The elements of a row in memory.
    let width: Int
    let rows: Int
    /// The first element in memory.
    let own: Int
    /// The first element of the stored tensor.
    let other: Int
    /// The width of the stored matrix where that is the transpose.
    let transposedWidth: Int?

    init(_ piece: ParameterPiece, of place: ParameterPlace, stored: Shape) {
        let count = place.shape.elementCount ?? 0
        guard piece.expert != nil || piece.storedExpert != nil || piece.transposed || place.pieces.count > 1 || stored != place.shape else {
            (rows, width, own, other) = (1, count, 0, 0)
            transposedWidth = nil
            return
        }
        // (E, rows, columns) of experts, else (rows, …).
        let matrix = Array(piece.expert == nil ? place.shape[...] : place.shape.dropFirst())
        let height = matrix.first ?? 1
        width = max(1, matrix.dropFirst().reduce(1, *))
        rows = piece.rows.count
        own = (piece.expert ?? 0) * height * width + piece.rows.lowerBound * width
        let inner = Array(piece.storedExpert == nil ? stored[...] : stored.dropFirst())
        let innerCount = inner.reduce(1, *)
        let innerWidth = inner.dropFirst().reduce(1, *)
        let start = (piece.storedExpert ?? 0) * innerCount
        other = start + piece.storedOffset * (piece.transposed ? 1 : innerWidth)
        transposedWidth = piece.transposed ? innerWidth : nil
    }

    /// Elements that are read at a time.
    private static let step = 1 << 18

    func isEqual(_ tensor: StoredTensor, in state: Checkpoint, _ stored: StoredTensor, in base: Checkpoint) throws -> Bool {
        guard let transposedWidth else {
            return try stride(from: 0, to: rows * width, by: Self.step).allSatisfy { first in
                let count = min(Self.step, rows * width - first)
                try Interruption.check()
                return try bytes(tensor, state, own + first, count)
                    == narrowed(bytes(stored, base, other + first, count), stored.dtype, count, to: tensor.dtype)
            }
        }
        // A column in memory is a row of the stored matrix.
        let size = tensor.dtype.bits / 8
        let memory = try bytes(tensor, state, own, rows * width)
        return try (0..<width).allSatisfy { column in
            let line = try narrowed(bytes(stored, base, other + column * transposedWidth, rows), stored.dtype, rows, to: tensor.dtype)
            return (0..<rows).allSatisfy { row in
                let at = (row * width + column) * size
                return memory[at..<(at + size)] == line[(row * size)..<((row + 1) * size)]
            }
        }
    }

    /// Whether the numbers that codes stand for are the base's, but for a few that another device rounded otherwise.
    func agrees(_ tensor: StoredTensor, in state: Checkpoint, _ stored: StoredTensor, in base: Checkpoint) throws -> Bool {
        let isNested = [state, base].contains { $0.quantisation?.scheme.contains("double quantisation") == true }
        let tolerance = isNested ? 1.0 / 32 : 0
        let total = rows * width
        var differing = 0
        for first in stride(from: 0, to: total, by: Self.step) {
            let count = min(Self.step, total - first)
            try Interruption.check()
            let own = try Conversion.widened(bytes(tensor, state, self.own + first, count), as: tensor.dtype, count: count)
            let others = try Conversion.widened(bytes(stored, base, other + first, count), as: stored.dtype, count: count)
            for (a, b) in zip(own, others) where a != b && !(abs(a - b) <= tolerance * max(abs(a), abs(b))) { differing += 1 }
            if differing > total / 1024 { return false }
        }
        return true
    }

    private func bytes(_ tensor: StoredTensor, _ checkpoint: Checkpoint, _ first: Int, _ count: Int) throws -> [UInt8] {
        let size = tensor.dtype.bits / 8
        guard first >= 0, size > 0, UInt64(first + count) * UInt64(size) <= tensor.byteCount else {
            throw PeftfileError(
                .refused, "has shape \(tensor.shape), which has no room for its part of a frozen weight", tensor: tensor.name, rule: "FrozenWeight")
        }
        return try checkpoint.read(tensor, bytes: UInt64(first * size)..<UInt64((first + count) * size))
    }

    private func narrowed(_ bytes: [UInt8], _ from: DType, _ count: Int, to dtype: DType) throws -> [UInt8] {
        guard from != dtype, bytes.count == count * from.bits / 8 else { return bytes }
        return try Conversion.narrowed(Conversion.widened(bytes, as: from, count: count), to: dtype)
    }
}

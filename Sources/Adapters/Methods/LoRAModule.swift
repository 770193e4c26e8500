import ByteAccess
import Tensors

/// The factors of one module, gathered from the adapter's tensors and checked against each other.
struct LoRAModule {
    let path: ExactString
    /// `.base_layer` infixes: which wrapper of nested `target_parameters`.
    let depth: Int
    let isEmbedding: Bool
    /// (r, in), (r, in, k…), (E·r, in); for embeddings (r, vocab).
    let a: TensorInfo
    /// (out, r), (out, r, 1…), (out, r·E); for embeddings (dim, r).
    let b: TensorInfo
    /// What few modules have, held by reference: an adapter for mixtures of experts has tens of thousands of them.
    private let extras: Extras?
    var bias: TensorInfo? { extras?.bias }
    var magnitude: TensorInfo? { extras?.magnitude }
    var diagonal: TensorInfo? { extras?.diagonal }

    /// The first dimension of A.
    var storedRank: Int { a.shape.first ?? 0 }
    var isConvolution: Bool { a.shape.count > 2 }

    /// Tensors beside the two factors.
    private final class Extras {
        var bias: TensorInfo?
        var magnitude: TensorInfo?
        var diagonal: TensorInfo?
    }

    private struct Parts {
        var a: TensorInfo?
        var b: TensorInfo?
        var extras: Extras?
        var isEmbedding = false

        /// The place of what stands beside the factors.
        mutating func beside() -> Extras {
            let result = extras ?? Extras()
            extras = result
            return result
        }
    }

    private struct Slot: Hashable {
        let module: ExactString
        let depth: Int
    }

    /// Gathers all modules in file order.
    ///
    /// - Throws: `.refused` where a factor lacks its partner, has no usable dtype, or where ranks disagree.
    static func collect(from adapter: Adapter) throws -> [LoRAModule] {
        // Positions, since a dictionary has room for more of its values than it holds.
        var found: [(slot: Slot, parts: Parts)] = []
        var positions: [Slot: Int] = [:]
        for key in adapter.keys {
            guard let component = key.component, let info = adapter.tensor(key.stored) else { continue }
            let slot = Slot(module: key.module, depth: key.depth)
            let position = positions[slot] ?? found.count
            var part = position < found.count ? found[position].parts : Parts()
            switch (component, key.leaf) {
            case ("lora_A", "weight"), ("lora_A", ""): part.a = info
            case ("lora_B", "weight"), ("lora_B", ""): part.b = info
            case ("lora_B", "bias"): part.beside().bias = info
            case ("lora_embedding_A", ""):
                part.a = info
                part.isEmbedding = true
            case ("lora_embedding_B", ""):
                part.b = info
                part.isEmbedding = true
            case ("lora_magnitude_vector", ""), ("lora_magnitude_vector", "weight"): part.beside().magnitude = info
            case ("lora_diag", ""): part.beside().diagonal = info
            default: continue
            }
            if position == found.count {
                positions[slot] = position
                found.append((slot, part))
            } else {
                found[position].parts = part
            }
        }
        let modules = try found.map { try LoRAModule($0.slot, $0.parts) }
        if adapter.dialect == nil, adapter.method == nil, adapter.config?.peftType != nil {
            for module in modules { try module.requireForms() }
            try LoRA.requireStateForms(of: modules, in: adapter)
        }
        return modules
    }

    /// The dimensions that PEFT gives the tensors, whatever their elements come to: it raises "size mismatch" at others.
    private func requireForms() throws {
        func require(_ info: TensorInfo?, _ isFit: (Shape) -> Bool, _ wanted: String) throws {
            guard let info, !isFit(info.shape) else { return }
            throw PeftfileError(
                .refused, "has shape \(info.shape), and PEFT makes it with \(wanted)", tensor: info.name, rule: "ShapeMismatch",
                help: "save the adapter again")
        }
        try require(a, { !isEmbedding || $0.count == 2 }, "two dimensions")
        try require(b, { $0.count == a.shape.count }, "\(a.shape.count) dimensions, as lora_A")
        try require(bias, { $0.count == 1 }, "one dimension")
        try require(diagonal, { $0.count == 1 }, "one dimension")
        if isConvolution {
            try require(
                magnitude, { $0.count == a.shape.count && $0[0] == 1 && $0.dropFirst(2).allSatisfy { $0 == 1 } },
                "\(a.shape.count) dimensions, of which the second is that of the outputs")
        } else {
            try require(magnitude, { $0.count == 1 }, "one dimension")
        }
    }

    private init(_ slot: Slot, _ parts: Parts) throws {
        path = slot.module
        depth = slot.depth
        isEmbedding = parts.isEmbedding
        guard let a = parts.a, let b = parts.b else {
            let missing = parts.a == nil ? "lora_A" : "lora_B"
            throw PeftfileError(
                .refused, "module \"\(slot.module)\" has no \(missing)",
                tensor: (parts.a ?? parts.b ?? parts.extras?.bias ?? parts.extras?.magnitude ?? parts.extras?.diagonal)?.name,
                rule: "MissingPair", help: "save the adapter again; half of a pair is no update")
        }
        self.a = a
        self.b = b
        extras = parts.extras
        for info in [a, b] + [bias, magnitude, diagonal].compactMap({ $0 }) where !info.dtype.isMergeable {
            throw PeftfileError(
                .refused, "has dtype \(info.dtype.rawValue), and a factor must be F64, F32, F16 or BF16",
                tensor: info.name, rule: "FactorDType")
        }
        for info in [a, b] where info.shape.count < 2 || info.elementCount == 0 {
            throw PeftfileError(
                .refused, "has shape \(info.shape), and a factor is a matrix that is not empty", tensor: info.name,
                rule: "FactorShape", help: "gather the shards before saving (ZeRO-3, FSDP)")
        }
        try checkRanks()
    }

    private func checkRanks() throws {
        guard isConvolution else { return }
        guard b.shape.count == a.shape.count, b.shape.dropFirst(2).allSatisfy({ $0 == 1 }) else {
            throw PeftfileError(
                .refused, "has shape \(b.shape) beside lora_A's \(a.shape)", tensor: b.name, rule: "FactorShape")
        }
        if b.shape[1] != a.shape[0], b.shape[1] > 0, a.shape[0] % b.shape[1] == 0 {
            throw PeftfileError(
                .refused,
                "has rank \(b.shape[1]) beside lora_A's \(a.shape[0]): a grouped convolution, which has no merged form in "
                    + "PEFT", tensor: b.name, rule: "GroupedConvolution", help: "serve it unmerged")
        }
    }

    /// Whether the module holds a parameter that `target_parameters` names.
    func isTargetParameter(_ names: [String]) -> Bool { LoadedModules.holdsParameter(path.text, names) }

    /// The parameter that a wrapper stands for, as far as the adapter alone tells: wrappers nest in the order in which the
    /// module registers its parameters, which for experts is gate_up_proj (or up_proj), then down_proj.
    func wrappedParameter(_ names: [String], levels: Int) -> String? {
        guard depth > 0 || levels > 1 || isTargetParameter(names) else { return nil }
        let order = ["gate_up_proj", "up_proj", "down_proj"]
        var own: [String] = []
        for name in names {
            let parts = name.split(separator: ".").map(String.init)
            let parent = parts.dropLast().joined(separator: ".")
            guard let last = parts.last, !own.contains(last) else { continue }
            if parent.isEmpty ? order.contains(last) : path.text == parent || path.text.hasSuffix("." + parent) {
                own.append(last)
            }
        }
        guard own.count == levels else { return nil }
        let sorted = own.sorted { (order.firstIndex(of: $0) ?? 0) < (order.firstIndex(of: $1) ?? 0) }
        return sorted[levels - 1 - min(depth, levels - 1)]
    }

    /// The shape of one B·A: rows and columns of the parameter, or of the matrix of one expert. Embeddings are given
    /// as they lie in the parameter, (vocab, dim).
    func updateShape(_ config: LoRAConfig) throws -> (rows: Int, columns: Int) {
        if isEmbedding { return (a.columnCount, b.rowCount) }
        var rows = b.rowCount
        var columns = a.columnCount
        if let blocks = config.blockDiagonal, try isBlockDiagonal(blocks) == .inA { columns *= blocks.blocks }
        if rows == 0 || columns == 0 { rows = 0; columns = 0 }
        return (rows, columns)
    }

    enum BlockDiagonalFactor { case inA, inB, neither }

    /// Which factor is block-diagonal: PEFT looks for the config's names as substrings of the module's last name.
    func isBlockDiagonal(_ config: LoRAConfig.BlockDiagonal) throws -> BlockDiagonalFactor {
        let last = path.text.split(separator: ".").last.map(String.init) ?? path.text
        let inA = config.inA.contains(where: last.utf8Contains)
        let inB = config.inB.contains(where: last.utf8Contains)
        if inA && inB {
            throw PeftfileError(
                .refused, "module \"\(path)\" is block-diagonal in A and in B, which BD-LoRA forbids", tensor: a.name,
                rule: "BlockDiagonal")
        }
        return inA ? .inA : inB ? .inB : .neither
    }
}

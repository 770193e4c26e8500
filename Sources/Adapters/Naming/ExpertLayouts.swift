import ByteAccess
import Tensors

/// Experts: one 3-D parameter in memory (version 5), one matrix for each expert on disk, or the reverse.
///
/// In memory `<moe>.experts.gate_up_proj` is (E, 2m, h), gate rows first, up rows after, and `<moe>.experts.down_proj`
/// (E, h, m); on disk `<moe>.experts.N.gate_proj.weight` (m, h) and so on. Which container name the file has
/// (`block_sparse_moe` for `mlp`) is `RenameTable`'s affair; which of the two layouts a base has is read off its names.
/// mlx-lm's models have one 3-D tensor for each matrix, `<moe>.switch_mlp.gate_proj.weight` (E, m, h), whatever transformers calls them.
/// Source: `sanitize` in mlx_lm/models/mixtral.py and qwen3_moe.py; conversion_mapping.py, MergeModulelist(dim=0) then Concatenate(dim=1), in the entries named at each line.
enum ExpertLayouts {
    /// The names of one expert's matrices on disk.
    struct Leaves: Sendable {
        let gate: String
        let up: String
        let down: String
    }

    static let leaves: [Leaves] = [
        // Entries qwen2_moe and jamba, and every model type that maps to them.
        Leaves(gate: "gate_proj", up: "up_proj", down: "down_proj"),
        // Entries mixtral, phimoe, lfm2_moe.
        Leaves(gate: "w1", up: "w3", down: "w2"),
    ]

    /// The parameters of an expert module in the order in which the modeling files register them. PEFT wraps them in
    /// that order (`BaseTuner._inject_parameters` walks `named_parameters(recurse=False)`), so the last one is the
    /// outermost wrapper.
    static let registrationOrder = [
        "weight", "gate_up_proj", "gate_up_proj_bias", "up_proj", "up_proj_bias", "w1", "v1", "w2", "down_proj",
        "down_proj_bias", "bias",
    ]

    /// The 3-D parameters among them.
    static let stackedParameters: Set<String> = ["gate_up_proj", "up_proj", "down_proj"]

    /// The 3-D parameter `name` of memory, gathered from one matrix an expert, or from mlx-lm's stacks; nil if the base has no such matrices.
    ///
    /// - Parameter takesStacks: whether memory holds each expert as (out, in), as mlx-lm's stacks do.
    static func gathered(_ name: String, in base: BaseDirectory, takesStacks: Bool = false) throws(PeftfileError) -> StoredParameter? {
        guard let dot = name.lastIndex(of: ".") else { return nil }
        let container = String(name[..<dot])
        for layout in leaves {
            let parts: [String]
            switch name[name.index(after: dot)...] {
            case "gate_up_proj": parts = [layout.gate, layout.up]
            case "down_proj": parts = [layout.down]
            // Without a gate (entry nemotron_h) the first matrix stands alone.
            case "up_proj" where base.shape("\(container).0.\(layout.gate).weight") == nil: parts = [layout.up]
            default: return nil
            }
            if let found = try gather(parts, of: container, in: base) { return found }
        }
        return takesStacks ? gatherStacks(String(name[name.index(after: dot)...]), of: container, in: base) : nil
    }

    /// What mlx-lm calls the stacks of the experts in a container.
    private static func stacks(of container: String) -> String? {
        guard container.hasSuffix(".experts") else { return nil }
        return container.dropLast("experts".count) + "switch_mlp"
    }

    private static func gatherStacks(_ leaf: String, of container: String, in base: BaseDirectory) -> StoredParameter? {
        guard let front = stacks(of: container) else { return nil }
        let parts = ["gate_up_proj": ["gate_proj", "up_proj"], "down_proj": ["down_proj"], "up_proj": ["up_proj"]][leaf] ?? []
        // Without a gate the first matrix stands alone.
        guard !parts.isEmpty, leaf != "up_proj" || base.shape("\(front).gate_proj.weight") == nil else { return nil }
        let tensors = parts.map { "\(front).\($0).weight" }
        let shapes = tensors.compactMap { base.shape($0) }
        guard shapes.count == tensors.count, let first = shapes.first,
            shapes.allSatisfy({ $0.count == 3 && $0[0] == first[0] && $0[2] == first[2] })
        else { return nil }
        var pieces: [ParameterPiece] = []
        for expert in 0..<first[0] {
            var row = 0
            for (tensor, shape) in zip(tensors, shapes) {
                pieces.append(ParameterPiece(expert: expert, rows: row..<row + shape[1], tensor: ExactString(tensor), storedExpert: expert))
                row += shape[1]
            }
        }
        return StoredParameter(shape: [first[0], shapes.reduce(0) { $0 + $1[1] }, first[2]], pieces: pieces)
    }

    private static func gather(
        _ parts: [String], of container: String, in base: BaseDirectory
    ) throws(PeftfileError) -> StoredParameter? {
        var pieces: [ParameterPiece] = []
        var shape: Shape = []
        for expert in 0... {
            var row = 0
            for part in parts {
                let tensor = ExactString("\(container).\(expert).\(part).weight")
                guard let stored = base.shapes[tensor], stored.count == 2 else {
                    if row == 0 && part == parts[0] { break }
                    throw PeftfileError(
                        .refused, "expert \(expert) of \(container) has \(parts[0]) and no matrix \(part)",
                        tensor: tensor, rule: "IncompleteExpert",
                        help: "complete the base checkpoint: the adapter changes all experts at once")
                }
                pieces.append(ParameterPiece(expert: expert, rows: row..<row + stored[0], tensor: tensor))
                row += stored[0]
                let last = shape.last ?? stored[1]
                if last != stored[1] { throw unequal(tensor) }
                if shape.isEmpty { shape = [0, 0, stored[1]] }
            }
            if row == 0 { break }
            if expert > 0 && row != shape[1] { throw unequal(pieces[pieces.count - 1].tensor) }
            shape[0] = expert + 1
            shape[1] = row
        }
        return pieces.isEmpty ? nil : StoredParameter(shape: shape, pieces: pieces)
    }

    private static func unequal(_ tensor: ExactString) -> PeftfileError {
        PeftfileError(
            .refused, "the experts differ in shape, so they are no 3-D parameter in memory", tensor: tensor,
            rule: "UnequalExperts", help: "check the base checkpoint")
    }

    /// How a base holds its own stacks.
    enum Layout {
        /// (E, out, in), the gate's rows before up's.
        case rows
        /// (E, in, out), the gate's columns before up's: llama4.
        case columns
        /// Either of the two, which the pair of gate_up_proj and down_proj tells: qwen3_vl_moe.
        case asPair
        /// (E, in, out), in which columns of gate and up take turns: gpt_oss; and others that are not read by expert.
        case unread

        init(_ modelTypes: [String]) {
            self = DiskTransposition.concerns(modelTypes)
                ? .asPair
                : !UpdateOrientation.holdsExpertsInOut(modelTypes) ? .rows : modelTypes.contains { $0.hasPrefix("llama4") } ? .columns : .unread
        }

        /// Whether the stacks of a container are transposed; nil where that is not read.
        fileprivate func isTransposed(_ container: String, in base: BaseDirectory) -> Bool? {
            switch self {
            case .rows: return false
            case .columns: return true
            case .asPair:
                guard let gateUp = base.shape(container + ".gate_up_proj"), let down = base.shape(container + ".down_proj") else { return nil }
                return DiskTransposition.isOnDisk(gateUp: gateUp, down: down)
            case .unread: return nil
            }
        }
    }

    /// One expert's matrix of version 4's memory (`<moe>.experts.N.w1.weight`), inside the fused parameter of the base or mlx-lm's stack;
    /// nil if the base holds neither in its place.
    ///
    /// IBM Granite's are called `<moe>.input_linear` and `<moe>.output_linear` (`GraniteMoeParallelExperts` in modeling_granitemoe.py).
    static func slice(_ name: String, in base: BaseDirectory, layout own: Layout) -> StoredParameter? {
        let parts = name.dottedComponents
        guard parts.count > 3, parts.last == "weight", let expert = Int(parts[parts.count - 3]), expert >= 0,
            String(expert) == parts[parts.count - 3]
        else { return nil }
        let container = parts.dropLast(3).joined(separator: ".")
        let leaf = String(parts[parts.count - 2])
        guard let layout = leaves.first(where: { [$0.gate, $0.up, $0.down].contains(leaf) }) else { return nil }
        let front = container.hasSuffix(".experts") ? String(container.dropLast("experts".count)) : nil
        let stack = leaf == layout.gate ? "gate_proj" : leaf == layout.up ? "up_proj" : "down_proj"
        let half: Int? = leaf == layout.gate ? 0 : leaf == layout.up ? 1 : nil
        var candidates: [(tensor: String, half: Int?, turned: Bool)] = []
        if let turned = own.isTransposed(container, in: base) {
            candidates.append(("\(container).\(half == nil ? "down_proj" : "gate_up_proj")", half, turned))
            if half == 1 { candidates.append((container + ".up_proj", nil, turned)) }
            if let front { candidates.append(("\(front)\(half == nil ? "output" : "input")_linear.weight", half, turned)) }
        }
        if let front { candidates.append(("\(front)switch_mlp.\(stack).weight", nil, false)) }
        for (tensor, half, turned) in candidates {
            guard let stack = base.shape(tensor), stack.count == 3, expert < stack[0] else { continue }
            let (height, width) = turned ? (stack[2], stack[1]) : (stack[1], stack[2])
            if half != nil && height % 2 != 0 { continue }
            let rows = half == nil ? height : height / 2
            let piece = ParameterPiece(
                rows: 0..<rows, tensor: ExactString(tensor), storedExpert: expert,
                storedOffset: (half ?? 0) * rows, transposed: turned)
            return StoredParameter(shape: [rows, width], pieces: [piece])
        }
        return nil
    }
}

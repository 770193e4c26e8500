import ByteAccess
import Tensors

/// Whether the matrices of stacked experts are the transposes of their updates B·A.
enum UpdateOrientation {
    /// Whether B·A may lie in each matrix of a stack: nil if it fits neither way round, `.some(nil)` if both.
    static func fit(_ update: (rows: Int, columns: Int), stack shape: Shape) -> Bool?? {
        let straight = shape[1] == update.rows && shape[2] == update.columns
        let turned = shape[1] == update.columns && shape[2] == update.rows
        switch (straight, turned) {
        case (true, true): return .some(nil)
        case (false, false): return nil
        default: return .some(turned)
        }
    }

    /// Modules that transformers 5 marks `is_transposed` (`use_experts_implementation`): (E, in, out) in memory.
    private static let markedTransposed: Set<String> = [
        "gpt_oss", "aria", "aria_text", "openai_privacy_filter",
    ]

    /// Whether version 5 holds this model's experts as (E, in, out): the marked ones, and llama4, which is not marked.
    static func holdsExpertsInOut(_ modelTypes: [String]) -> Bool {
        modelTypes.contains { markedTransposed.contains($0) || $0 == "llama4" || $0 == "llama4_text" }
    }

    /// For square experts: what the PEFT version that trained the adapter did with a 3-D parameter (E, d1, d2).
    ///
    /// `lora.ParamWrapper`, src/peft/tuners/lora/layer.py:
    /// - before 0.19: A runs over d1, B gives d2, so the parameter is the transpose of B·A. Under version 4's memory
    ///   qwen3_vl_moe was (E, in, out), the other way round than here, which undoes it.
    /// - 0.19.0 swapped the two for marked modules only (commit 5356277);
    /// - from 0.19.1 on they are swapped for all but marked modules (commit e84dd8f).
    /// `peft_version` was not written before 0.18, so an absent one means the first.
    static func ofSquareStack(peftVersion: String?, modelTypes: [String]) -> Bool {
        let marked = !markedTransposed.isDisjoint(with: modelTypes)
        let version = releaseNumbers(peftVersion ?? "0")
        if version.lexicographicallyPrecedes([0, 19]) {
            return !DiskTransposition.concerns(modelTypes)
        }
        return version.starts(with: [0, 19]) && version.dropFirst(2).first ?? 0 == 0 ? !marked : marked
    }

    /// `0.19.1.dev0@abc` as [0, 19, 1].
    private static func releaseNumbers(_ version: String) -> [Int] {
        version.dottedComponents.prefix { $0.isDecimal }.map { Int($0) ?? .max }
    }
}

/// Stacked experts that lie transposed on disk.
enum DiskTransposition {
    /// Entry `qwen3_vl_moe` of conversion_mapping.py: Transpose(1, 2, check_dims=True).
    static func concerns(_ modelTypes: [String]) -> Bool {
        modelTypes.contains { $0 == "qwen3_vl_moe" || $0 == "qwen3_vl_moe_text" }
    }

    /// Whether a pair lies as on the hub, and not as in memory; nil where the two do not belong together.
    static func isOnDisk(gateUp: Shape, down: Shape) -> Bool? {
        guard gateUp.count == 3, down.count == 3 else { return nil }
        let onDisk = gateUp[2] == 2 * down[1] && gateUp[1] == down[2]
        let inMemory = gateUp[1] == 2 * down[2] && gateUp[2] == down[1]
        return onDisk == inMemory ? nil : onDisk
    }

    /// The stored stack as it is in memory: (E, 2m, h) and (E, h, m) there, (E, h, 2m) and (E, m, h) on disk.
    ///
    /// A file that version 5 saved under its own layout is not transposed. Which of the two it is shows in the pair:
    /// with gate_up (E, x, y) and down (E, p, q), the hub's layout has y = 2p and x = q, memory's has x = 2q and y =
    /// p; both at once would need q = 2p = 4q.
    static func applied(
        to stored: StoredParameter, gateUp: Shape, down: Shape
    ) throws(PeftfileError) -> StoredParameter {
        guard let onDisk = isOnDisk(gateUp: gateUp, down: down) else {
            throw PeftfileError(
                .refused, "gate_up_proj \(gateUp) and down_proj \(down) of the same experts do not belong together",
                tensor: stored.pieces.first?.tensor, rule: "ExpertShapes", help: "check the base checkpoint")
        }
        guard onDisk else { return stored }
        var copy = stored
        copy.shape = [stored.shape[0], stored.shape[2], stored.shape[1]]
        copy.pieces = stored.pieces.map { piece in
            var turned = piece
            turned.rows = 0..<copy.shape[1]
            turned.transposed = true
            return turned
        }
        return copy
    }
}

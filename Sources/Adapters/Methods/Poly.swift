import ByteAccess
import Tensors

/// Poly, Polytropon (arXiv:2202.13914) and multi-head routing (arXiv:2211.03831): skills that a router mixes for each task.
///
///     w = σ(ℓ) / (Σ_s σ(ℓ_s) + 10⁻¹²)                     ℓ: the task's logits for the skills of a split
///     A[q] = Σ_s w[q, s]·A[q, s],   B[q] = Σ_s w[q, s]·B[q, s]
///     W' = W + (1/r)·Bᵀ × Aᵀ                              A the splits below each other, B beside each other
///
/// | keys | shape |
/// |---|---|
/// | `poly_lora_A` | (splits, skills, in / splits, r) |
/// | `poly_lora_B` | (splits, skills, r, out / splits) |
/// | `poly_router.module_logits` | (tasks, splits·skills) |
///
/// The mixture depends on the task and on nothing else of the input, so each task has a merged weight: `--task` names it.
/// PEFT has no merge for this method; that the merged weight answers as the unmerged layer does is shown by a test that
/// computes the layer's forward pass. In training the router draws its weights at random; in inference, which is what
/// is merged, it does not.
///
/// Config: `r`, `n_tasks`, `n_skills`, `n_splits`, `poly_type`. Order: σ; the sum of a split's skills ascending; its sum with
/// 10⁻¹²; the quotient; the two mixtures, skills ascending; their product in order of the rank; the scale.
/// Source: `PolyLayer.update_layer`, `Linear.forward` in peft/tuners/poly/layer.py, `PolyRouter.forward` in router.py.
struct Poly: ModuleMethod {
    let name = "Poly"
    let peftTypes = ["POLY"]
    let components: Set<String> = ["poly_lora_A", "poly_lora_B", "poly_router"]
    let configKeys: Set<String> = ["r", "n_tasks", "n_skills", "n_splits", "poly_type", "init_weights"]
    let requiredKeys: Set<String> = ["poly_type"]
    let takesTask = true

    func extent(of module: MethodModule) throws -> UpdateExtent {
        let splits = try module.side("poly_lora_A", 0)
        return UpdateExtent(
            rows: splits * (try module.side("poly_lora_B", 3)), columns: splits * (try module.side("poly_lora_A", 2)))
    }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        let rank = try module.side("poly_lora_A", 3)
        return (rank, nil, 1 / Double(max(1, rank)))
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [
            .init("n_tasks", try module.side("poly_router.module_logits", 0)),
            .init("n_skills", try module.side("poly_lora_A", 1)), .init("n_splits", try module.side("poly_lora_A", 0)),
        ]
    }

    func remarks(on adapter: Adapter) -> [String] {
        ["\(adapter.path): the mixture of skills depends on the task: merge with --task"]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let kind = module.config["poly_type"]?.stringValue ?? "poly"
        guard kind == "poly" else { throw module.config.wrong("poly_type", "poly") }
        let shape = try module.shape("poly_lora_A")
        guard shape.count == 4, shape.allSatisfy({ $0 > 0 }), !weight.isConvolution else {
            throw module.misfit(try module.tensor("poly_lora_A"), "splits, skills, inputs and rank of a Linear layer")
        }
        let (splits, skills, rank) = (shape[0], shape[1], shape[3])
        try module.requireRank(rank, of: "poly_lora_A", pattern: nil)
        let tasks = try module.side("poly_router.module_logits", 0)
        try module.require("n_splits", is: splits, of: "poly_lora_A")
        try module.require("n_skills", is: skills, of: "poly_lora_A")
        try module.require("n_tasks", is: tasks, of: "poly_router.module_logits")
        let task = try task(of: module, among: tasks)
        let inputs = weight.columns / splits
        let outputs = weight.rows / splits
        let a = try module.matrix("poly_lora_A", [splits, skills, inputs, rank]).reshaped(columns: inputs * rank)
        let b = try module.matrix("poly_lora_B", [splits, skills, rank, outputs]).reshaped(columns: rank * outputs)
        let logits = try module.matrix("poly_router.module_logits", [tasks, splits * skills]).rows(task..<(task + 1))
        guard inputs * splits == weight.columns, outputs * splits == weight.rows else {
            throw module.misfit(try module.tensor("poly_lora_A"), "parts of \(weight.rows) × \(weight.columns)")
        }
        let mixed = (0..<splits).map { split in
            let own = (split * skills)..<((split + 1) * skills)
            let gates = MatrixExpression.function(.activation(.sigmoid), logits.columns(own))
            let sum = gates × .filled(1, rows: skills, columns: 1) + .filled(1e-12, rows: 1, columns: 1)
            let weights = gates / sum
            return (
                a: (weights × a.rows(own)).reshaped(columns: rank),
                b: (weights × b.rows(own)).reshaped(columns: outputs).transpose
            )
        }
        let right = MatrixExpression.stacked(mixed.map(\.a)).transpose
        return ModuleChanges(weight: .add(.stacked(mixed.map(\.b)) × right, scale: 1 / Double(rank)))
    }

    private func task(of module: MethodModule, among tasks: Int) throws -> Int {
        guard let task = module.options.task else {
            throw PeftfileError(
                .refused, "POLY cannot be merged without a task: a router mixes its skills for each task, so there is one "
                    + "weight for every task", file: module.config.path, rule: "TaskMissing",
                help: "name one of the \(tasks), from 0 on: merge with --task 0")
        }
        guard (0..<tasks).contains(task) else {
            throw PeftfileError(
                .usage, "--task \(task): the adapter has \(tasks) task\(tasks == 1 ? "" : "s"), from 0 on", file: module.config.path,
                rule: "TaskRange", help: "name one of them")
        }
        return task
    }
}

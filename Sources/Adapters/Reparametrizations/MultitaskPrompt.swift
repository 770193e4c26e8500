import ByteAccess

/// Multitask prompt tuning in a PeftModel's training state, or as PEFT saves it: one prompt, and a low-rank factor for
/// each task.
///
///     P_t = E ⊙ (cols_t · rows_t)        (tokens, token_dim)
///
/// | key below `prompt_encoder.<adapter>` | saved as | shape |
/// |---|---|---|
/// | `embedding.weight` | `prompt_embeddings` | (tokens, token_dim) |
/// | `prefix_task_cols` | the same | (tasks, tokens, ranks) |
/// | `prefix_task_rows` | the same | (tasks, ranks, token_dim) |
///
/// PEFT's saved form keeps the three; one task's prompt alone is a plain prompt. Source: `MultitaskPromptEmbedding` in
/// peft/tuners/multitask_prompt_tuning/model.py; Z. Wang et al., arXiv:2303.02861.
struct MultitaskPrompt: PromptForm {
    let name = "PEFT multitask prompt"

    func place(_ parts: [String]) -> PromptPlace? { PEFTPromptNames.place(parts) }
    func recognises(_ group: PromptGroup) -> Bool { group.has("prefix_task_") }

    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule {
        try MultitaskPrompt.module(of: group, embedding: "embedding.weight", form: name, config: config)
    }

    static func module(
        of group: PromptGroup, embedding leaf: String, form: String, config: AdapterConfig?
    ) throws -> PromptModule {
        let embedding = try group.required(leaf)
        let columns = try group.required("prefix_task_cols")
        let rows = try group.required("prefix_task_rows")
        try embedding.requireNumbers(rank: 2)
        try columns.requireNumbers(rank: 3)
        try rows.requireNumbers(rank: 3)
        try group.requireOnly([leaf, "prefix_task_cols", "prefix_task_rows"])
        let (tasks, ranks) = (columns.shape[0], columns.shape[2])
        try columns.requireShape([tasks, embedding.shape[0], ranks], dueTo: embedding)
        try rows.requireShape([tasks, ranks, embedding.shape[1]], dueTo: columns)
        let section = PEFTPromptNames.section(config)
        try PEFTPromptNames.require(.tasks, of: section, embedding)
        try PEFTPromptNames.requireInputTokens(embedding, section)
        try embedding.requireClaim("token_dim", of: section, axis: 1)
        try columns.requireClaim("num_tasks", of: section, axis: 0)
        try columns.requireClaim("num_ranks", of: section, axis: 2)
        var module = PromptModule(
            form: form, kind: .tasks, isPEFT: true, group: group, formula: .stored(embedding.stored),
            embedding: embedding, tokens: embedding.shape[0],
            elements: try PromptModule.elements(embedding.shape[0], embedding.shape[1], embedding),
            sourceName: leaf, config: section)
        module.factors = .init(columns: columns.stored, rows: rows.stored, tasks: tasks, ranks: ranks)
        return module
    }
}

extension PromptModule {
    /// One task's prompt, baked.
    ///
    /// - Throws: `.refused` where the prompt has no tasks, or not this one.
    public func prompt(ofTask task: Int) throws -> PromptFormula {
        guard case .stored(let embedding) = formula, let factors, let tokens, let width else {
            throw PeftfileError(
                .usage, "--task \(task): \(form) has no tasks", rule: "TaskUnknown", help: "leave --task out")
        }
        guard (0..<factors.tasks).contains(task) else {
            throw PeftfileError(
                .usage, "--task \(task): the prompt has tasks 0 to \(factors.tasks - 1)", tensor: factors.columns,
                rule: "TaskUnknown", help: "give one of them")
        }
        return .task(
            TaskPrompt(
                embedding: embedding, columns: factors.columns, rows: factors.rows, task: task, tokens: tokens,
                ranks: factors.ranks, width: width))
    }
}

import ByteAccess
import Tensors

/// Matrices that version 5 holds apart and the file holds one below the other, or the reverse.
struct FusedRows: Sendable {
    let modelTypes: Set<String>
    /// The modules in memory, top rows first; all have the same number of rows.
    let memory: [DottedPattern]
    /// The module on disk.
    let file: DottedPattern

    private init(_ modelTypes: Set<String>, _ memory: [String], _ file: String) {
        self.modelTypes = modelTypes
        self.memory = memory.map(DottedPattern.init)
        self.file = DottedPattern(file)
    }

    /// Entries of conversion_mapping.py whose operation is Chunk(dim=0).
    static let table: [FusedRows] = [
        // Entry Dinov2Model: the SwiGLU feed-forward of the giant sizes.
        FusedRows(["dinov2", "dinov2_with_registers"], ["mlp.gate_proj", "mlp.up_proj"], "mlp.weights_in"),
        // Entry nomic_bert.
        FusedRows(
            ["nomic_bert"],
            ["layers.*.self_attn.q_proj", "layers.*.self_attn.k_proj", "layers.*.self_attn.v_proj"],
            "encoder.layers.*.attn.Wqkv"),
        // Entry jina_embeddings_v3.
        FusedRows(
            ["jina_embeddings_v3"],
            ["layers.*.self_attn.q_proj", "layers.*.self_attn.k_proj", "layers.*.self_attn.v_proj"],
            "encoder.layers.*.mixer.Wqkv"),
        // Entry gte: up rows first.
        FusedRows(
            ["gte"],
            ["layers.*.self_attn.q_proj", "layers.*.self_attn.k_proj", "layers.*.self_attn.v_proj"],
            "encoder.layer.*.attention.qkv_proj"),
        FusedRows(["gte"], ["layers.*.mlp.up_proj", "layers.*.mlp.gate_proj"], "encoder.layer.*.mlp.up_gate_proj"),
        // Entries hrm_text, Molmo2TextModel.
        FusedRows(["hrm_text"], ["layers.*.mlp.gate_proj", "layers.*.mlp.up_proj"], "layers.*.mlp.gate_up_proj"),
        FusedRows(["hrm_text"], ["layers.*.self_attn.gate_proj"] + qkv("layers.*.self_attn", "_proj"), "layers.*.attn.gqkv_proj"),
        FusedRows(["molmo2_text"], ["^layers.*.mlp.up_proj", "^layers.*.mlp.gate_proj"], "^layers.*.mlp.ff_proj"),
        FusedRows(
            ["molmo2"], ["^model.language_model.layers.*.mlp.up_proj", "^model.language_model.layers.*.mlp.gate_proj"],
            "^model.transformer.blocks.*.mlp.ff_proj"),
        // Entries radio, qianfan_ocr, Tipsv2VisionModel, Tipsv2TextModel, UnlimitedOcrVisionEncoder, RfDetrModel.
        FusedRows(["radio"], qkv("^encoder.layer.*.attention", "_proj"), "^radio_model.model.blocks.*.attn.qkv"),
        FusedRows(
            ["nemotron_h_omni"], qkv("^vision_model.encoder.layer.*.attention", "_proj"),
            "^vision_model.radio_model.model.blocks.*.attn.qkv"),
        FusedRows(
            ["qianfan_ocr"], qkv("^model.vision_tower.layers.*.attention", "_proj"), "^vision_model.encoder.layers.*.attn.qkv"),
        FusedRows(["tipsv2_vision_model"], qkv("^encoder.layer.*.attention", "_proj"), "^blocks.*.attn.qkv"),
        FusedRows(["tipsv2"], qkv("^vision_model.encoder.layer.*.attention", "_proj"), "^vision_encoder.blocks.*.attn.qkv"),
        FusedRows(["tipsv2_dpt"], qkv("^backbone.encoder.layer.*.attention", "_proj"), "^vision_encoder.blocks.*.attn.qkv"),
        FusedRows(
            ["unlimited_ocr"], qkv("^model.vision_tower.vision_encoder.encoder.layers.*.self_attn", "_proj"),
            "^model.vision_model.transformer.layers.*.self_attn.qkv_proj"),
        // A dense layer of mlx-lm's, apart there: `sanitize` in mlx_lm/models/granitemoehybrid.py.
        FusedRows(["granitemoehybrid"], ["mlp.gate_proj", "mlp.up_proj"], "shared_mlp.input_linear"),
        // Entry minimax_m3_vl: fused in memory, apart in the file.
        FusedRows(
            ["minimax_m3_vl"],
            [
                "^language_model.model.layers.*.block_sparse_moe.shared_experts.gate_proj",
                "^language_model.model.layers.*.block_sparse_moe.shared_experts.up_proj",
            ], "^model.language_model.layers.*.mlp.shared_experts.gate_up_proj"),
    ]
        // An nn.MultiheadAttention in the file, whose parameters have names of their own.
        + ["weight", "bias"].flatMap { leaf in
            [
                ("rf_detr", "^model.decoder.layers.*.self_attn", "^transformer.decoder.layers.*.self_attn"),
                ("tipsv2_text_model", "^encoder.layers.*.self_attn", "^transformer.resblocks.*.attn"),
                ("tipsv2", "^text_model.encoder.layers.*.self_attn", "^text_encoder.transformer.resblocks.*.attn"),
            ].map { type, memory, file in FusedRows([type], qkv(memory, "_proj.\(leaf)$"), "\(file).in_proj_\(leaf)$") }
        }

    /// The query, key and value projections of an attention.
    private static func qkv(_ attention: String, _ end: String) -> [String] { ["q", "k", "v"].map { "\(attention).\($0)\(end)" } }

    /// OpenCLIP's text encoders, which lie in files of whole pipelines without a config (``OpenCLIPNames``).
    static let openCLIP = ["weight", "bias"].map { leaf in
        FusedRows(
            [], ["q_proj", "k_proj", "v_proj"].map { "transformer.resblocks.*.attn.\($0).\(leaf)$" },
            "transformer.resblocks.*.attn.in_proj_\(leaf)$")
    }

    static func rules(for modelTypes: [String]) -> [FusedRows] {
        table.filter { !$0.modelTypes.isDisjoint(with: modelTypes) }
    }

    /// Whether the base holds any of the fused modules.
    func isUsed(by base: BaseDirectory) -> Bool { base.names.contains { file.firstMatch(in: $0.text.dottedComponents) != nil } }

    /// The tensor that `name` is the whole or a part of, each name passed through `spell` before it is looked up.
    func locate(_ name: String, in base: BaseDirectory, spell: (String) -> String) -> StoredParameter? {
        let parts = name.dottedComponents
        for (index, pattern) in memory.enumerated() {
            guard let fused = pattern.rewrite(parts, as: file).map(spell), let shape = base.shape(fused),
                let total = shape.first, total % memory.count == 0
            else { continue }
            let rows = total / memory.count
            let piece = ParameterPiece(
                rows: 0..<rows, tensor: ExactString(fused), storedOffset: index * rows)
            return StoredParameter(shape: [rows] + shape.dropFirst(), pieces: [piece])
        }
        let separate = memory.compactMap { file.rewrite(parts, as: $0).map(spell) }
        let shapes = separate.compactMap { base.shape($0) }
        guard separate.count == memory.count, shapes.count == memory.count, let first = shapes.first,
            let rows = first.first, shapes.allSatisfy({ $0 == first })
        else { return nil }
        let pieces = separate.enumerated().map { index, tensor in
            ParameterPiece(rows: index * rows..<(index + 1) * rows, tensor: ExactString(tensor))
        }
        return StoredParameter(shape: [rows * memory.count] + first.dropFirst(), pieces: pieces)
    }
}

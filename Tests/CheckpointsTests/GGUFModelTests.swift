import ByteAccess
import Checkpoints
import Tensors
import TestSupport
import Testing

/// GGUF files as checkpoints: blocks against gguf-py, names and orders against the converter's rules.
@Suite struct GGUFModelTests {
    /// A block of made-up bytes and what `gguf.quants.dequantize` of gguf-py 0.19.0 makes of it: some elements, and the sum of
    /// element · (index + 1).
    struct Block: Sendable {
        let type: UInt32
        let count: Int
        let bytes: Int
        let elements: [Int: Double]
        let sum: Double
    }

    static let blocks: [Block] = [
        .init(type: 8, count: 32, bytes: 34, elements: [0: -5.5, 2: 31, 8: 12.5, 22: 12, 30: 30], sum: 1552),
        .init(type: 2, count: 32, bytes: 18, elements: [0: 0, 2: 0.5, 8: -2, 18: -1.25, 30: 0.5], sum: 27),
        .init(type: 3, count: 32, bytes: 20, elements: [0: 0.75, 12: -0.25, 16: 0.5, 22: 3.25, 30: 0.5], sum: 795.5),
        .init(type: 6, count: 32, bytes: 22, elements: [0: -2, 2: 2.5, 14: -2.5, 20: -3.75, 26: 3.25], sum: 237),
        .init(type: 7, count: 32, bytes: 24, elements: [0: 4.75, 2: 1.25, 18: 0, 28: -0.5, 30: 5.75], sum: 1509.5),
        .init(type: 12, count: 256, bytes: 144, elements: [0: 46, 21: 16, 105: 28.5, 168: 129.75, 252: 97.25], sum: 2413636),
        .init(type: 13, count: 256, bytes: 176, elements: [0: 406.75, 42: 31, 105: 77.5, 189: 366, 252: 108], sum: 5126430),
        .init(type: 14, count: 256, bytes: 210, elements: [0: 225, 21: -534.75, 105: 16, 189: 968.75, 252: 403.75], sum: 150225),
        .init(type: 39, count: 32, bytes: 17, elements: [0: 2, 1: -3, 3: 0.25, 16: -3, 21: 2, 31: 0.75], sum: -142.5),
    ]

    @Test(arguments: blocks.indices) func blocksAreGGMLs(_ number: Int) throws {
        let block = Self.blocks[number]
        var bytes = (0..<block.bytes).map { UInt8(truncatingIfNeeded: $0 * 73 + 11 * Int(block.type)) }
        // d = 0.25, and m or dmin = -0.5.
        if block.type == 39 {
            bytes[0] = 126
        } else {
            bytes.replaceSubrange(block.type == 14 ? 208..<210 : 0..<2, with: [0, 0x34])
        }
        if [3, 7, 12, 13].contains(block.type) { bytes.replaceSubrange(2..<4, with: [0, 0xB8]) }
        var builder = GGUFBuilder()
        builder.tensors = [.init("t", [UInt64(block.count), 2], type: block.type, bytes + bytes)]
        let directory = try TemporaryDirectory()
        let checkpoint = try Checkpoint.open(directory.write(builder.file(), to: "a.gguf"), entire: true)
        let tensor = try #require(checkpoint["t"])
        #expect(tensor.shape == [2, block.count])
        let values = try Conversion.widened(checkpoint.read(tensor), as: .f64, count: tensor.info.elementCount)
        for row in 0..<2 {
            let row = Array(values[(row * block.count)..<((row + 1) * block.count)])
            for (index, value) in block.elements { #expect(row[index] == value, "\(index)") }
            #expect(row.enumerated().reduce(0) { $0 + $1.element * Double($1.offset + 1) } == block.sum)
        }
    }

    /// Two layers of nothing but what is named, in F32: rows hold their own number.
    static func model(
        _ architecture: String, _ tensors: [(String, [UInt64])], heads: UInt32 = 2, keys: UInt32? = nil, experts: UInt32 = 0
    ) -> GGUFBuilder {
        var builder = GGUFBuilder()
        builder.add("general.architecture", architecture)
        builder.add("\(architecture).attention.head_count", heads)
        if let keys { builder.add("\(architecture).attention.head_count_kv", keys) }
        if experts > 0 { builder.add("\(architecture).expert_count", experts) }
        builder.tensors = tensors.map { name, dimensions in
            let columns = dimensions.count > 1 ? Int(dimensions[0]) : 1
            let count = dimensions.reduce(1) { $0 * Int($1) }
            return .init(name, dimensions, GGUFBuilder.bytes((0..<count).map { Float($0 / columns) }))
        }
        return builder
    }

    static func open(_ builder: GGUFBuilder) throws -> Checkpoint {
        let directory = try TemporaryDirectory()
        return try Checkpoint.open(directory.write(builder.file(), to: "a.gguf"))
    }

    static func values(_ checkpoint: Checkpoint, _ name: ExactString) throws -> [Double] {
        let tensor = try #require(checkpoint[name])
        return try Conversion.widened(checkpoint.read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
    }

    /// numpy: np.arange(8).reshape(2, 2, 2).swapaxes(1, 2).reshape(8) is [0, 2, 1, 3, 4, 6, 5, 7]: what the converter makes of 8 rows
    /// in 2 heads. Undone, stored row 1 is row 2 of the model.
    @Test func rowsAreTheModels() throws {
        let checkpoint = try Self.open(
            Self.model(
                "llama", [("blk.0.attn_q.weight", [3, 8]), ("blk.0.attn_k.weight", [3, 4]), ("blk.0.attn_v.weight", [3, 4]), ("blk.0.attn_q.bias", [8])],
                keys: 1))
        func rows(_ name: ExactString) throws -> [Double] {
            let values = try Self.values(checkpoint, name)
            return stride(from: 0, to: values.count, by: 3).map { values[$0] }
        }
        #expect(try rows("model.layers.0.self_attn.q_proj.weight") == [0, 2, 1, 3, 4, 6, 5, 7])
        #expect(try rows("model.layers.0.self_attn.k_proj.weight") == [0, 2, 1, 3])
        #expect(try rows("model.layers.0.self_attn.v_proj.weight") == [0, 1, 2, 3])
        #expect(try Self.values(checkpoint, "model.layers.0.self_attn.q_proj.bias") == [0, 2, 1, 3, 4, 6, 5, 7])
        // With heads of six rows the order is no involution: 0 1 2 3 4 5 is stored as 0 3 1 4 2 5.
        let six = try Self.open(Self.model("llama", [("blk.1.attn_q.weight", [1, 6])], heads: 1))
        #expect(try Self.values(six, "model.layers.1.self_attn.q_proj.weight") == [0, 2, 4, 1, 3, 5])
        let qwen = try Self.open(Self.model("qwen2", [("blk.0.attn_q.weight", [1, 8])]))
        #expect(try Self.values(qwen, "model.layers.0.self_attn.q_proj.weight") == [0, 1, 2, 3, 4, 5, 6, 7])
    }

    /// numpy: np.arange(12).reshape(2, 3, 2).swapaxes(0, 1).reshape(12) is what the converter makes of the fused rows of 2 heads.
    @Test func fusedRowsAreTheModels() throws {
        let checkpoint = try Self.open(Self.model("bloom", [("blk.0.attn_qkv.weight", [2, 12])]))
        let values = try Self.values(checkpoint, "transformer.h.0.self_attention.query_key_value.weight")
        let stored = [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]
        let rows = stride(from: 0, to: 24, by: 2).map { Int(values[$0]) }
        #expect(stored.indices.map { stored[rows[$0]] } == Array(0..<12))
    }

    @Test func normsAreWithoutTheOneThatWasAdded() throws {
        let gemma = try Self.open(Self.model("gemma2", [("output_norm.weight", [4]), ("blk.0.post_ffw_norm.weight", [2]), ("blk.0.ffn_up.weight", [1, 2])]))
        #expect(try Self.values(gemma, "model.norm.weight") == [-1, 0, 1, 2])
        #expect(try Self.values(gemma, "model.layers.0.post_feedforward_layernorm.weight") == [-1, 0])
        #expect(try Self.values(gemma, "model.layers.0.mlp.up_proj.weight") == [0, 1])
    }

    @Test func expertsAreMatricesOfTheirOwn() throws {
        let mixtral = try Self.open(
            Self.model("llama", [("blk.0.ffn_gate_exps.weight", [2, 3, 4]), ("blk.0.ffn_gate_inp.weight", [2, 4])], experts: 4))
        #expect(mixtral.tensors.map(\.name.text).prefix(2) == ["model.layers.0.block_sparse_moe.experts.0.w1.weight", "model.layers.0.block_sparse_moe.experts.1.w1.weight"])
        #expect(try Self.values(mixtral, "model.layers.0.block_sparse_moe.experts.2.w1.weight") == [6, 6, 7, 7, 8, 8])
        let qwen = try Self.open(Self.model("qwen3moe", [("blk.7.ffn_down_exps.weight", [1, 2, 1])], experts: 1))
        #expect(qwen.tensors.map(\.name.text) == ["model.layers.7.mlp.experts.0.down_proj.weight"] && qwen.tensors[0].shape == [2, 1])
    }

    /// What the converter computed from the config is no tensor of the model.
    @Test func computedTensorsAreLeftOut() throws {
        let checkpoint = try Self.open(Self.model("llama", [("rope_freqs.weight", [4]), ("output.weight", [2, 2])]))
        #expect(checkpoint.tensors.map(\.name) == ["lm_head.weight"])
        #expect(checkpoint.quantisation?.dropped.map(\.name) == ["rope_freqs.weight"])
    }

    @Test(arguments: [
        (model("rwkv7", [("token_embd.weight", [2, 2])]), "GGUFArchitecture"),
        (model("falcon-h1", [("token_embd.weight", [2, 2])]), "GGUFArchitecture"),
        // One part of two, parts of other shapes, both forms of one tensor at once, and a stack that is a matrix.
        (model("granitemoe", [("blk.0.ffn_up_exps.weight", [2, 3, 4])], experts: 4), "GGUFPlace"),
        (model("granitemoe", [("blk.0.ffn_up_exps.weight", [2, 3, 4]), ("blk.0.ffn_gate_exps.weight", [2, 2, 4])], experts: 4), "GGUFPlace"),
        (model("deepseek2", [("blk.0.attn_k_b.weight", [2, 3, 2]), ("blk.0.attn_v_b.weight", [2, 2, 2])]), "GGUFPlace"),
        (model("deepseek2", [("blk.0.attn_k_b.weight", [2, 3, 2]), ("blk.0.attn_v_b.weight", [3, 2, 2]), ("blk.0.attn_kv_b.weight", [3, 8])]), "GGUFPlace"),
        (model("gpt-oss", [("blk.0.ffn_down_exps.weight", [4])]), "GGUFPlace"),
        (model("lfm2", [("blk.0.shortconv.conv.weight", [4])]), "GGUFPlace"),
        (model("llama", [("blk.0.attn_rot.weight", [2, 2])]), "GGUFPlace"),
        // Queries, keys and values below each other, of which nothing counts the rows.
        (model("llama", [("blk.0.attn_qkv.weight", [2, 2])]), "GGUFHeads"),
        (model("llama", [("blk.00.attn_q.weight", [2, 8])]), "GGUFPlace"),
        (model("llama", [("blk.0.attn_q.weight", [2, 8])], heads: 3), "GGUFHeads"),
        (model("llama", [("blk.0.attn_q.weight", [2, 6])], heads: 2), "GGUFHeads"),
        (model("llama", [("blk.0.attn_q.weight", [2, 8])], heads: 0), "GGUFHeads"),
        (model("llama", [("blk.0.ffn_up_exps.weight", [2, 8])], experts: 2), "GGUFPlace"),
    ]) func whatCannotBeTheHubsIsRefusedAndShown(_ builder: GGUFBuilder, _ rule: String) throws {
        let checkpoint = try Self.open(builder)
        #expect(checkpoint.tensors.map(\.name.text) == builder.tensors.map { String(decoding: $0.name, as: UTF8.self) })
        let error = #expect(throws: PeftfileError.self) { _ = try checkpoint.requireReadableWeights() }
        #expect(error?.rule == rule && error?.file != nil, "\(error as Any)")
    }

    /// Types that are not read are named, in a model and beside none.
    @Test(arguments: [(16, "IQ2_XXS"), (10, "Q2_K"), (11, "Q3_K"), (34, "TQ1_0"), (23, "IQ4_XS")] as [(UInt32, String)])
    func otherTypesAreNamed(_ type: UInt32, _ name: String) throws {
        let bytes = [10: 84, 11: 110, 16: 66, 23: 136, 34: 54][type] ?? 0
        for architecture in ["llama", "none"] {
            var builder = GGUFBuilder()
            if architecture != "none" { builder.add("general.architecture", architecture) }
            builder.tensors = [.init("output.weight", [256, 1], type: type, [UInt8](repeating: 0, count: bytes))]
            let error = #expect(throws: PeftfileError.self) { _ = try Self.open(builder).requireReadableWeights() }
            #expect(error?.message.contains(name) == true && error?.tensor == "output.weight", "\(error as Any)")
        }
    }
}

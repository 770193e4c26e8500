import Peftfile

/// A GGUF file of version 3, as llama.cpp lays it out: metadata, the list of tensors, their data at multiples of 32 bytes.
struct GGUFFile {
    /// A type: its number in a file, and the elements and bytes of its block.
    struct Block {
        let type: UInt32, elements: Int, bytes: Int

        func bytes(of count: Int) -> Int { count / elements * bytes }
    }

    static let blocks: [(name: String, block: Block)] = [
        ("q4_0", Block(type: 2, elements: 32, bytes: 18)), ("q4_1", Block(type: 3, elements: 32, bytes: 20)),
        ("q5_0", Block(type: 6, elements: 32, bytes: 22)), ("q5_1", Block(type: 7, elements: 32, bytes: 24)),
        ("q8_0", Block(type: 8, elements: 32, bytes: 34)), ("q4_k", Block(type: 12, elements: 256, bytes: 144)),
        ("q5_k", Block(type: 13, elements: 256, bytes: 176)), ("q6_k", Block(type: 14, elements: 256, bytes: 210)),
    ]
    private static let float = Block(type: 0, elements: 1, bytes: 4), brain = Block(type: 30, elements: 1, bytes: 2)

    private let metadata: [(key: String, value: Int)]
    /// Each by llama.cpp's name, with its shape as the Hub has it.
    private let tensors: [(name: String, shape: [Int], block: Block, data: Tensor)]

    /// One matrix of blocks.
    init(_ name: String, _ block: Block, rows: Int, columns: Int) {
        metadata = []
        tensors = [(name, [rows, columns], block, Tensor(name, "U8", [block.bytes(of: rows * columns)], .blocks))]
    }

    /// The base with its linear layers in blocks, norms in F32, all else in BF16.
    init(_ model: Model, _ block: Block) {
        metadata = [
            ("block_count", model.layers), ("embedding_length", Model.hidden), ("feed_forward_length", Model.feedForward),
            ("attention.head_count", Model.hidden / 64), ("attention.head_count_kv", Model.keyValue / 64),
            ("context_length", 2048), ("vocab_size", Model.vocabulary),
        ]
        tensors = model.tensors.map { tensor in
            let name = Self.name(tensor.name)
            if tensor.shape.count == 1 {
                return (name, tensor.shape, Self.float, Tensor(name, "F32", tensor.shape, tensor.content))
            }
            if !name.hasPrefix("blk.") { return (name, tensor.shape, Self.brain, Tensor(name, "BF16", tensor.shape, tensor.content)) }
            return (name, tensor.shape, block, Tensor(name, "U8", [block.bytes(of: tensor.count)], .blocks))
        }
    }

    func write(to path: String) throws {
        var header = Array("GGUF".utf8) + Self.little(3 as UInt32) + Self.little(UInt64(tensors.count))
        header += Self.little(UInt64(metadata.count + 1)) + Self.string("general.architecture") + Self.little(8 as UInt32)
        header += Self.string("llama")
        for (key, value) in metadata {
            header += Self.string("llama.\(key)") + Self.little(4 as UInt32) + Self.little(UInt32(value))
        }
        var offset = 0
        for (name, shape, block, data) in tensors {
            header += Self.string(name) + Self.little(UInt32(shape.count))
            header += shape.reversed().flatMap { Self.little(UInt64($0)) } + Self.little(block.type) + Self.little(UInt64(offset))
            offset += (data.bytes + 31) / 32 * 32
        }
        header += [UInt8](repeating: 0, count: -header.count & 31)
        try Generator.write(tensors.map(\.data), after: header, alignment: 32, to: path, seed: "gguf")
    }

    /// llama.cpp's name for a tensor of Llama (`gguf-py/gguf/tensor_mapping.py`).
    private static func name(_ name: String) -> String {
        let words = [
            "model.layers": "blk", "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
            "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
            "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
            "post_attention_layernorm": "ffn_norm", "input_layernorm": "attn_norm",
        ]
        return words.reduce(name) { $0.replacing($1.key, with: $1.value) }
    }

    private static func little(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
    private static func string(_ text: String) -> [UInt8] { little(UInt64(text.utf8.count)) + Array(text.utf8) }
}

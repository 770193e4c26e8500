/// A way to store the linear layers of the base as codes, four or eight bits an element; of MXFP4 the experts of GPT-OSS.
enum QuantisedKind: String, CaseIterable {
    case nf4, nf4Nested = "nf4-double", int8, gptq, awq, fp8, packed, mlx, mxfp4, q4k = "q4_k", q6k = "q6_k"

    /// The file that holds the base.
    var fileName: String { block == nil ? "model.safetensors" : "model.gguf" }

    /// A type of GGUF.
    var block: GGUFFile.Block? { GGUFFile.blocks.first { $0.name == rawValue }?.block }

    /// The adapter that is merged into it. GPT-OSS has no layers by the names of Llama's MLP.
    var adapter: AdapterKind { self == .mxfp4 ? .b : .a }

    /// Experts in a layer of GPT-OSS: together as large as the MLP that they stand for.
    static let experts = 4

    /// The parts of a weight, in the order of its file. Codes are random, scales such that weights are about 0.02 wide.
    func parts(_ name: String, rows: Int, columns: Int) -> [Tensor] {
        let weight = "\(name).weight"
        switch self {
        case .nf4, .nf4Nested:
            let blocks = rows * columns / 64
            let state = "\(weight).quant_state.bitsandbytes__nf4"
            let table = Tensor("\(weight).quant_map", "F32", [16], .bytes(Self.bytes(Self.normalFloat)))
            let shape = "\"shape\": [\(rows), \(columns)], \"blocksize\": 64, \"quant_type\": \"nf4\", \"dtype\": \"bfloat16\""
            guard self == .nf4Nested else {
                return [
                    Tensor(weight, "U8", [rows * columns / 2, 1]),
                    Tensor("\(weight).absmax", "F32", [blocks], mean: 0.04, deviation: 0.004), table,
                    text(state, "{\(shape)}"),
                ]
            }
            return [
                Tensor(weight, "U8", [rows * columns / 2, 1]), Tensor("\(weight).absmax", "U8", [blocks]),
                Tensor("\(weight).nested_absmax", "F32", [(blocks + 255) / 256], mean: 0.01, deviation: 0.001),
                Tensor("\(weight).nested_quant_map", "F32", [256], .bytes(Self.bytes((0..<256).map { Float($0 - 128) / 128 }))), table,
                text(state, "{\(shape), \"nested_blocksize\": 256, \"nested_offset\": 0.04, \"nested_dtype\": \"float32\"}"),
            ]
        case .int8:
            return [Tensor(weight, "I8", [rows, columns]), Tensor("\(name).SCB", "F32", [rows], mean: 0.06, deviation: 0.003)]
        case .gptq:
            return [
                Tensor("\(name).qweight", "I32", [columns / 8, rows]),
                Tensor("\(name).qzeros", "I32", [columns / 128, rows / 8], .bytes([0x77])),
                Tensor("\(name).scales", "F16", [columns / 128, rows], mean: 0.005, deviation: 0.0005),
            ]
        case .awq:
            return [
                Tensor("\(name).qweight", "I32", [columns, rows / 8]),
                Tensor("\(name).qzeros", "I32", [columns / 128, rows / 8], .bytes([0x88])),
                Tensor("\(name).scales", "F16", [columns / 128, rows], mean: 0.005, deviation: 0.0005),
            ]
        case .fp8:
            return [
                Tensor(weight, "F8_E4M3", [rows, columns]),
                Tensor("\(weight)_scale_inv", "F32", [(rows + 127) / 128, (columns + 127) / 128], mean: 0.0001, deviation: 0.00001),
            ]
        case .packed:
            return [
                Tensor("\(name).weight_packed", "I32", [rows, columns / 8]),
                Tensor("\(name).weight_scale", "BF16", [rows, columns / 128], mean: 0.005, deviation: 0.0005),
                Tensor("\(name).weight_shape", "I64", [2], .bytes([rows, columns].flatMap { word in (0..<8).map { UInt8(word >> ($0 * 8) & 255) } })),
            ]
        case .mxfp4:
            // `gate_proj` stands for both of the first projections, whose rows alternate.
            let words = name.split(separator: ".")
            let (block, projection) = (words.dropLast().joined(separator: "."), words.last ?? "")
            if projection == "up_proj" { return [] }
            guard block.hasSuffix(".mlp") else { return [Tensor(weight, "BF16", [rows, columns], deviation: 0.02)] }
            let (fused, inner) = projection == "gate_proj" ? ("gate_up_proj", rows * 2 / Self.experts) : ("down_proj", rows)
            let groups = (projection == "gate_proj" ? columns : columns / Self.experts) / 32
            return [
                Tensor("\(block).experts.\(fused)_blocks", "U8", [Self.experts, inner, groups, 16]),
                Tensor("\(block).experts.\(fused)_scales", "U8", [Self.experts, inner, groups], .bytes([118, 119, 120, 121])),
            ]
        case .q4k, .q6k:
            return block.map { [Tensor(weight, "U8", [$0.bytes(of: rows * columns)], .blocks)] } ?? []
        case .mlx:
            return [
                Tensor(weight, "U32", [rows, columns / 8]),
                Tensor("\(name).scales", "BF16", [rows, columns / 64], mean: 0.005, deviation: 0.0005),
                Tensor("\(name).biases", "BF16", [rows, columns / 64], mean: -0.04, deviation: 0.004),
            ]
        }
    }

    /// `quantization_config`, as an entry of config.json.
    var config: String? {
        switch self {
        case .nf4, .nf4Nested:
            """
            "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4",
             "bnb_4bit_use_double_quant": \(self == .nf4Nested), "bnb_4bit_compute_dtype": "bfloat16"}
            """
        case .int8: #""quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": true}"#
        case .gptq: #""quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": false, "sym": true}"#
        case .awq: #""quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": true, "version": "gemm"}"#
        case .fp8: #""quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}"#
        case .packed:
            """
            "quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0":
             {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "symmetric": true, "strategy": "group",
             "group_size": 128}}}, "ignore": ["lm_head"]}
            """
        case .mxfp4: #""quantization_config": {"quant_method": "mxfp4"}"#
        case .q4k, .q6k: nil
        case .mlx: #""quantization": {"group_size": 64, "bits": 4}"#
        }
    }

    private func text(_ name: String, _ json: String) -> Tensor {
        Tensor(name, "U8", [json.utf8.count], .bytes(Array(json.utf8)))
    }

    private static func bytes(_ values: [Float]) -> [UInt8] {
        values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> ($0 * 8)) } }
    }

    /// bitsandbytes' table: `create_normal_map` in bitsandbytes/functional.py.
    static let normalFloat: [Float] = [
        -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
        -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
    ]
}

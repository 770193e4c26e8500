import ByteAccess
import Tensors

/// compressed-tensors: packed integers (`pack-quantized`), bare integers (`int-quantized`, `naive-quantized`) and FP8
/// (`float-quantized`).
///
/// | tensor | dtype, shape | format |
/// |---|---|---|
/// | `m.weight_packed` | I32 (out, ⌈in·bits/32⌉), code + 2^(bits−1) | pack |
/// | `m.weight_shape` | I64 or I32 (2) | pack |
/// | `m.weight_zero_point` | I32 (⌈out·bits/32⌉, groups), packed along dimension 0 | pack, asymmetric |
/// | `m.weight_g_idx` | I32 (in) | pack, `actorder` |
/// | `m.weight` | I8 or F8_E4M3 (out, in) | int, float |
/// | `m.weight_scale` | (out, groups), (out, 1) or (1) | all |
///
///     W = (code − zero point) · scale
///
/// Settings stand in `config_groups`; all of them must give weights the same format. Source: `unpack_from_int32` in
/// compressors/pack_quantized, `dequantize` in quantization/lifecycle/forward.py of compressed-tensors.
enum CompressedTensors: QuantisationScheme {
    static let name = "compressed-tensors"
    static let methods = ["compressed-tensors"]
    static let marks = [".weight_packed", ".weight_scale", ".weight_shape", ".weight_zero_point", ".weight_g_idx"]

    /// A byte is the power of two of the formats mxfp4 and mxfp8, and in those that are read no scale at all.
    private static let scales: [DType] = [.bf16, .f16, .f32]

    static func isMarked(_ checkpoint: Checkpoint) -> Bool {
        checkpoint.tensors.contains { $0.dtype == .i32 && $0.name.text.hasSuffix(".weight_packed") }
    }

    static func read(_ base: inout QuantisedBase) throws(PeftfileError) {
        let format = try base.text("format") ?? ""
        base.title = "compressed-tensors \(format)"
        let first = (base.stems(".weight_packed").first ?? base.stems(".weight_scale").first).map { ExactString($0.stem + ".weight") }
        guard ["pack-quantized", "int-quantized", "float-quantized", "naive-quantized"].contains(format) else {
            throw QuantisationRule.unsupportedPacking.broken(
                base.title, format.isEmpty ? "the config names no format" : "this format is not read", tensor: first,
                help: "decompress the base with compressed-tensors, then merge")
        }
        // Rotations before and after a layer act when the model runs; without the config nobody would know of them.
        if let transforms = base.settings["transform_config"], transforms["config_groups"]?.objectValue?.isEmpty == false {
            throw QuantisationRule.unsupportedPacking.broken(
                base.title, "transform_config turns what goes into layers at run time, and a plain checkpoint has no place for that", tensor: first)
        }
        if let sparsity = base.settings["sparsity_config"]?["format"]?.stringValue, sparsity != "dense" {
            throw QuantisationRule.unsupportedPacking.broken(base.title, "the sparsity format \(sparsity) is not read", tensor: first)
        }
        let weights = try weightSettings(base, first: first)
        let bits = try base.integer("num_bits", in: weights)
        let kind = try base.text("type", in: weights) ?? "int"
        base.title = "compressed-tensors \(format), \(bits) bits"
        let strategy = try base.text("strategy", in: weights) ?? (weights["group_size"]?.intValue != nil ? "group" : "tensor")
        if format == "pack-quantized" {
            guard kind == "int", [2, 4, 8].contains(bits) else {
                throw QuantisationRule.unsupportedPacking.broken(base.title, "2, 4 and 8 bits of type int are read", tensor: first)
            }
            for (stem, codes) in base.stems(".weight_packed") {
                try base.add(try packed(base, stem, codes, bits: bits, settings: weights, strategy: strategy))
            }
        } else {
            guard bits == 8 else { throw QuantisationRule.unsupportedPacking.broken(base.title, "8 bits are read", tensor: first) }
            for (stem, codes) in base.stems(".weight") where codes.dtype == (kind == "int" ? .i8 : .f8E4M3) {
                try base.add(try bare(base, stem, codes, settings: weights, strategy: strategy))
            }
        }
        base.drop(endingIn: FineGrainedFP8.activations + [".input_zero_point", ".output_zero_point", ".k_zero_point", ".v_zero_point"])
    }

    /// The weight settings that all groups share.
    private static func weightSettings(_ base: QuantisedBase, first: ExactString?) throws(PeftfileError) -> JSONObject {
        let groups = base.settings["config_groups"]?.objectValue?.members ?? []
        var found: JSONObject?
        for group in groups {
            if let own = group.value["format"]?.stringValue, own != base.settings["format"]?.stringValue {
                throw QuantisationRule.unsupportedPacking.broken(base.title, "groups have formats of their own (mixed precision)", tensor: first)
            }
            guard let weights = group.value["weights"]?.objectValue else { continue }
            let keys: [ExactString] = ["num_bits", "type", "symmetric", "strategy", "group_size", "block_structure", "actorder"]
            if let found, keys.contains(where: { found[$0] ?? .null != weights[$0] ?? .null }) {
                throw QuantisationRule.unsupportedPacking.broken(base.title, "groups have settings of their own (mixed precision)", tensor: first)
            }
            found = weights
        }
        guard let found else {
            throw QuantisationRule.settings.broken(base.title, "the config has no config_groups with weights", tensor: first)
        }
        return found
    }

    private static func groupSize(
        _ base: QuantisedBase, _ settings: JSONObject, strategy: String, columns: Int, name: ExactString
    ) throws(PeftfileError) -> Int {
        switch strategy {
        case "tensor", "channel": return columns
        case "group":
            let size = try base.integer("group_size", in: settings)
            guard size > 0, columns % size == 0 else {
                throw QuantisationRule.groupSize.broken(base.title, "group_size \(size) does not divide \(columns) inputs", tensor: name)
            }
            return size
        default:
            throw QuantisationRule.unsupportedPacking.broken(base.title, "the strategy \(strategy) is not read", tensor: name)
        }
    }

    private static func packed(
        _ base: QuantisedBase, _ stem: String, _ codes: StoredTensor, bits: Int, settings: JSONObject, strategy: String
    ) throws(PeftfileError) -> RowPackedWeight {
        let name = ExactString(stem + ".weight")
        let shapeTensor = try base.component(stem + ".weight_shape", of: name)
        try base.require(shapeTensor, [.i64, .i32], [2], for: name)
        let dimensions = ((try? base.checkpoint.read(shapeTensor)).flatMap {
            try? Conversion.widened($0, as: shapeTensor.dtype, count: 2)
        } ?? []).compactMap { Int(exactly: $0) }
        guard dimensions.count == 2, dimensions.allSatisfy({ $0 > 0 && $0 <= 1 << 32 }) else {
            throw QuantisationRule.componentShape.broken(base.title, "is no pair of positive dimensions", tensor: shapeTensor.name)
        }
        let (rows, columns) = (dimensions[0], dimensions[1])
        let fields = 32 / bits
        try base.require(codes, [.i32], [rows, (columns + fields - 1) / fields], for: name)
        let size = try groupSize(base, settings, strategy: strategy, columns: columns, name: name)
        let groups = (columns + size - 1) / size
        let scale = try base.component(stem + ".weight_scale", of: name)
        guard strategy != "tensor" else {
            throw QuantisationRule.unsupportedPacking.broken(base.title, "packed codes with one scale a tensor are not read", tensor: name)
        }
        try base.require(scale, scales, [rows, groups], for: name)
        var offset = RowPackedWeight.Offset.middle
        if settings["symmetric"]?.boolValue == false {
            let zero = try base.component(stem + ".weight_zero_point", of: name)
            try base.require(zero, [.i32], [(rows + fields - 1) / fields, groups], for: name)
            offset = .zeroPoints(zero)
        }
        let index = base.tensor(stem + ".weight_g_idx")
        if let index { try base.require(index, [.i32, .i64], [columns], for: name) }
        if index == nil, settings["actorder"]?.stringValue == "group" {
            throw QuantisationRule.missingComponent.broken(
                base.title, "\(stem).weight_g_idx is missing, and actorder says that groups are out of order", tensor: name)
        }
        return RowPackedWeight(
            name: name, shape: [rows, columns], codes: codes, bits: bits, groupSize: size, scale: scale, offset: offset,
            groupIndex: index, others: [shapeTensor])
    }

    private static func bare(
        _ base: QuantisedBase, _ stem: String, _ codes: StoredTensor, settings: JSONObject, strategy: String
    ) throws(PeftfileError) -> ScaledWeight {
        let name = codes.name
        guard codes.shape.count == 2, codes.info.elementCount > 0 else {
            throw QuantisationRule.componentShape.broken(base.title, "is no matrix", tensor: name)
        }
        let scale = try base.component(stem + ".weight_scale", of: name)
        try base.require(scale, scales, scale.shape, for: name)
        var block: (rows: Int, columns: Int)?
        switch strategy {
        case "group":
            block = (1, try groupSize(base, settings, strategy: strategy, columns: codes.shape[1], name: name))
        case "block":
            guard let sizes = settings["block_structure"]?.arrayValue?.compactMap(\.intValue), sizes.count == 2,
                sizes.allSatisfy({ $0 > 0 })
            else { throw QuantisationRule.groupSize.broken(base.title, "block_structure is no pair of positive integers", tensor: name) }
            block = (sizes[0], sizes[1])
        case "tensor": block = scale.info.elementCount == 1 ? nil : (codes.shape[0], codes.shape[1])
        case "channel": block = (1, codes.shape[1])
        default:
            throw QuantisationRule.unsupportedPacking.broken(base.title, "the strategy \(strategy) is not read", tensor: name)
        }
        let zero = settings["symmetric"]?.boolValue == false ? try base.component(stem + ".weight_zero_point", of: name) : nil
        let shape = base.tensor(stem + ".weight_shape")
        // A symmetric weight may have zero points all the same, which are 0.
        let spare = zero == nil ? base.tensor(stem + ".weight_zero_point") : nil
        return try FineGrainedFP8.scaled(
            base, codes, scale, zero: zero, block: block, others: [shape, spare].compactMap { $0 })
    }
}

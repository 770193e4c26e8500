import ByteAccess
import Tensors

/// GPTQ: 2, 3, 4 or 8 bits, groups along the input, with or without act-order, zero points of both conventions.
///
/// | tensor | dtype, shape |
/// |---|---|
/// | `m.qweight` | I32 (in·bits/32, out), bit streams down the columns |
/// | `m.qzeros` | I32 (groups, out·bits/32) |
/// | `m.scales` | F16, BF16 or F32 (groups, out) |
/// | `m.g_idx` | I32 (in), the group of each input |
///
/// `checkpoint_format` `gptq` (or none) stores zero points less one, `gptq_v2` as they are; `marlin` and others pack otherwise and
/// are refused. Source: `QuantLinear.pack` in auto_gptq/nn_modules/qlinear/qlinear_cuda.py.
enum GPTQ: QuantisationScheme {
    static let name = "GPTQ"
    static let methods = ["gptq"]
    static let marks = [".qweight", ".qzeros", ".g_idx", ".scales"]

    static func read(_ base: inout QuantisedBase) throws(PeftfileError) {
        let bits = try base.integer("bits")
        base.title = "GPTQ, \(bits) bits"
        let format = try base.text("checkpoint_format") ?? "gptq"
        let first = base.stems(".qweight").first.map { ExactString($0.stem + ".weight") }
        guard ["gptq", "gptq_v2"].contains(format), base.settings["is_marlin_format"]?.boolValue != true else {
            throw QuantisationRule.unsupportedPacking.broken(
                base.title, "checkpoint_format \(base.settings["is_marlin_format"]?.boolValue == true ? "marlin" : format) packs the codes in another order",
                tensor: first, help: "save the base with checkpoint_format gptq or gptq_v2")
        }
        guard [2, 3, 4, 8].contains(bits) else {
            throw QuantisationRule.unsupportedPacking.broken(base.title, "2, 3, 4 and 8 bits are read", tensor: first)
        }
        if let dynamic = base.settings["dynamic"]?.objectValue, !dynamic.isEmpty {
            throw QuantisationRule.unsupportedPacking.broken(
                base.title, "modules have settings of their own (dynamic), which are not read", tensor: first)
        }
        // Readers disagree about which of the two files counts: transformers takes config.json.
        if let other = base.checkpoint.json(besides: "quantize_config.json"), base.config?["quantization_config"]?.objectValue != nil,
            let said = other["checkpoint_format"]?.stringValue, said != format
        {
            base.warnings.append(
                "quantize_config.json says checkpoint_format \(said), and config.json \(base.settings["checkpoint_format"] == nil ? "says none, which is gptq" : format): "
                    + "read by config.json, as transformers does; every zero point is one off if that is wrong [\(QuantisationRule.settings.rawValue)]")
        }
        let groupSize = try base.integer("group_size")
        guard groupSize == -1 || groupSize > 0 else {
            throw QuantisationRule.groupSize.broken(base.title, "group_size \(groupSize) is neither positive nor -1", tensor: first)
        }
        for (stem, codes) in base.stems(".qweight") {
            try base.add(try weight(base, stem, codes, bits: bits, groupSize: groupSize, isV1: format == "gptq"))
        }
        try base.refuseTransposedModels()
    }

    private static func weight(
        _ base: QuantisedBase, _ stem: String, _ codes: StoredTensor, bits: Int, groupSize: Int, isV1: Bool
    ) throws(PeftfileError) -> ColumnPackedWeight {
        let name = ExactString(stem + ".weight")
        guard codes.dtype == .i32, codes.shape.count == 2, codes.shape[0] > 0, codes.shape[1] > 0,
            codes.shape[0] * 32 % bits == 0, codes.shape[1] * bits % 32 == 0
        else {
            throw QuantisationRule.componentShape.broken(
                base.title, "is \(codes.dtype.rawValue) \(codes.shape), which are no whole words of codes", tensor: codes.name)
        }
        let (inputs, outputs) = (codes.shape[0] * 32 / bits, codes.shape[1])
        let size = groupSize == -1 ? inputs : min(groupSize, inputs)
        let groups = (inputs + size - 1) / size
        let scale = try base.component(stem + ".scales", of: name)
        try base.require(scale, [.f16, .bf16, .f32], [groups, outputs], for: name)
        let zero = try base.component(stem + ".qzeros", of: name)
        try base.require(zero, [.i32], [groups, outputs * bits / 32], for: name)
        let index = base.tensor(stem + ".g_idx")
        if let index {
            try base.require(index, [.i32, .i64], [inputs], for: name)
        } else if base.settings["desc_act"]?.boolValue == true {
            throw QuantisationRule.missingComponent.broken(
                base.title, "\(stem).g_idx is missing, and desc_act says that groups are out of order", tensor: name)
        }
        return ColumnPackedWeight(
            name: name, shape: [outputs, inputs], codes: codes, bits: bits, scale: scale, zero: zero,
            packing: .inputs(zerosAreLess: isV1), groupIndex: index, groupSize: size)
    }
}

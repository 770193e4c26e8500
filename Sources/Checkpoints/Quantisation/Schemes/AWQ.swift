import ByteAccess
import Tensors

/// AWQ, the GEMM packing: 4 bits, eight output columns a word in the order 0 2 4 6 1 3 5 7.
///
/// | tensor | dtype, shape |
/// |---|---|
/// | `m.qweight` | I32 (in, out/8) |
/// | `m.qzeros` | I32 (in/group, out/8), zero points as they are |
/// | `m.scales` | F16 (in/group, out) |
///
/// GEMV and the packing of llm-awq have the same names and another order: `version` decides. Source: `dequantize_gemm` in
/// awq/utils/packing_utils.py.
enum AWQ: QuantisationScheme {
    static let name = "AWQ"
    static let methods = ["awq"]
    static let marks = [".qweight", ".qzeros", ".scales"]

    static func read(_ base: inout QuantisedBase) throws(PeftfileError) {
        let settings = base.settings
        let version = try base.text(settings["version"] != nil ? "version" : "format")?.lowercased() ?? "gemm"
        base.title = "AWQ \(version)"
        let first = base.stems(".qweight").first.map { ExactString($0.stem + ".weight") }
        guard version == "gemm", ["autoawq", nil].contains(settings["backend"]?.stringValue) else {
            throw QuantisationRule.unsupportedPacking.broken(
                base.title, "only the GEMM packing is read, and this one orders codes otherwise", tensor: first,
                help: "save the base with version GEMM")
        }
        let bits = try base.integer(settings["bits"] == nil ? "w_bit" : "bits")
        let size = try base.integer(settings["group_size"] == nil ? "q_group_size" : "group_size")
        base.title = "AWQ GEMM, \(bits) bits"
        guard bits == 4 else { throw QuantisationRule.unsupportedPacking.broken(base.title, "4 bits are read", tensor: first) }
        guard settings["zero_point"]?.boolValue != false else {
            throw QuantisationRule.unsupportedPacking.broken(base.title, "codes without zero points are not read", tensor: first)
        }
        for (stem, codes) in base.stems(".qweight") {
            try base.add(try weight(base, stem, codes, groupSize: size))
        }
        try base.refuseTransposedModels()
    }

    private static func weight(
        _ base: QuantisedBase, _ stem: String, _ codes: StoredTensor, groupSize: Int
    ) throws(PeftfileError) -> ColumnPackedWeight {
        let name = ExactString(stem + ".weight")
        guard codes.dtype == .i32, codes.shape.count == 2, codes.shape[0] > 0, codes.shape[1] > 0 else {
            throw QuantisationRule.componentShape.broken(
                base.title, "is \(codes.dtype.rawValue) \(codes.shape), and I32 (in, out/8) is expected", tensor: codes.name)
        }
        let (inputs, outputs) = (codes.shape[0], codes.shape[1] * 8)
        let size = groupSize == -1 ? inputs : groupSize
        guard size > 0, inputs % size == 0 else {
            throw QuantisationRule.groupSize.broken(base.title, "group_size \(groupSize) does not divide \(inputs) inputs", tensor: name)
        }
        let scale = try base.component(stem + ".scales", of: name)
        try base.require(scale, [.f16, .bf16, .f32], [inputs / size, outputs], for: name)
        let zero = try base.component(stem + ".qzeros", of: name)
        try base.require(zero, [.i32], [inputs / size, outputs / 8], for: name)
        return ColumnPackedWeight(
            name: name, shape: [outputs, inputs], codes: codes, bits: 4, scale: scale, zero: zero, packing: .outputs,
            groupIndex: nil, groupSize: size)
    }
}

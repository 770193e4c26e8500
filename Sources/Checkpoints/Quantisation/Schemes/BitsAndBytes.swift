import ByteAccess
import Tensors

/// bitsandbytes: NF4 and FP4 in blocks of the flat tensor, with or without double quantisation, and LLM.int8 by rows.
///
/// | tensor | dtype, shape | what |
/// |---|---|---|
/// | `m.weight` | U8 (⌈n/2⌉, 1), or the same bytes as BF16, F16 or F32 | 4-bit codes |
/// | `m.weight.absmax` | F32 (blocks), or U8 with double quantisation | |
/// | `m.weight.quant_map` | F32 (16) | the table |
/// | `m.weight.quant_state.bitsandbytes__nf4`, `__fp4` | U8, JSON | block size, shape, dtype |
/// | `m.weight.nested_absmax`, `.nested_quant_map` | F32, F32 (256) | double quantisation |
/// | `m.weight`, `m.SCB`, `m.weight_format` | I8 (out, in), F32 (out), U8 () | LLM.int8: W = codes · SCB / 127 |
///
/// Source: `QuantState.as_dict` in bitsandbytes/functional.py; `Linear8bitLt` in bitsandbytes/nn/modules.py.
enum BitsAndBytes: QuantisationScheme {
    static let name = "bitsandbytes"
    static let methods = ["bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit"]
    static let marks = [
        ".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4", ".absmax", ".quant_map", ".nested_absmax",
        ".nested_quant_map", ".SCB", ".weight_format",
    ]

    static func read(_ base: inout QuantisedBase) throws(PeftfileError) {
        for type in ["nf4", "fp4"] {
            for (stem, state) in base.stems(".quant_state.bitsandbytes__\(type)") {
                base.title = "bitsandbytes \(type.uppercased())"
                try base.add(try fourBit(base, stem, state, type: type))
            }
        }
        if let nested = base.weights.first as? CodebookWeight {
            base.title += ", blocks of \(nested.blockSize)" + (nested.nested != nil ? ", double quantisation" : "")
        }
        for (stem, scale) in base.stems(".SCB") {
            base.title = "bitsandbytes LLM.int8"
            try base.add(try eightBit(base, stem, scale))
        }
        if let said = try base.text("bnb_4bit_quant_type"), let weight = base.weights.first as? CodebookWeight,
            !weight.components.contains(where: { $0.name.text.hasSuffix("bitsandbytes__\(said)") })
        {
            throw QuantisationRule.quantState.broken(
                base.title, "the config says bnb_4bit_quant_type \(said), and the tensors are of another type", tensor: weight.name)
        }
        try base.refuseTransposedModels()
    }

    private static func fourBit(
        _ base: QuantisedBase, _ stem: String, _ state: StoredTensor, type: String
    ) throws(PeftfileError) -> CodebookWeight {
        let name = ExactString(stem)
        func broken(_ what: String) -> PeftfileError {
            QuantisationRule.quantState.broken(base.title, what, tensor: state.name)
        }
        guard state.dtype == .u8, state.byteCount <= 1 << 16 else { throw broken("is no short JSON in U8") }
        let json: JSONObject
        do {
            let bytes = try base.checkpoint.read(state)
            guard let object = try JSONValue.parse(bytes, file: nil, allowing: .python).objectValue else { throw broken("is no JSON object") }
            json = object
        } catch let error as PeftfileError {
            throw error.rule == QuantisationRule.quantState.rawValue ? error : broken("is no JSON object")
        } catch { throw broken("cannot be read") }
        if let own = try base.text("quant_type", in: json), own != type { throw broken("says quant_type \(own)") }
        guard let shape = json["shape"]?.arrayValue?.map(\.intValue), !shape.isEmpty, shape.allSatisfy({ ($0 ?? 0) > 0 }),
            let count = shape.compactMap(\.self).elementCount, count <= Int.max / 64
        else { throw broken("has no shape of positive integers") }
        guard let blockSize = json["blocksize"]?.intValue, blockSize > 0, blockSize <= 1 << 24 else {
            throw QuantisationRule.groupSize.broken(base.title, "has no positive blocksize", tensor: state.name)
        }
        let codes = try base.component(stem, of: name)
        guard [.u8, .bf16, .f16, .f32, .i8].contains(codes.dtype), codes.byteCount == UInt64((count + 1) / 2)
            || codes.byteCount == UInt64((count + 1) / 2 + 3) / 4 * 4 && codes.dtype != .u8
        else {
            throw QuantisationRule.componentShape.broken(
                base.title, "has \(codes.byteCount) bytes, and \(count) codes of 4 bits need \((count + 1) / 2)", tensor: name)
        }
        let table = try base.component(stem + ".quant_map", of: name)
        try base.require(table, [.f32], [16], for: name)
        let absmax = try base.component(stem + ".absmax", of: name)
        let blocks = (count + blockSize - 1) / blockSize
        var nested: CodebookWeight.Nested?
        if absmax.dtype == .u8 || base.tensor(stem + ".nested_absmax") != nil {
            try base.require(absmax, [.u8], [blocks], for: name)
            let map = try base.component(stem + ".nested_quant_map", of: name)
            try base.require(map, [.f32], [256], for: name)
            guard let size = json["nested_blocksize"]?.intValue, size > 0 else {
                throw QuantisationRule.groupSize.broken(base.title, "has no positive nested_blocksize", tensor: state.name)
            }
            guard let offset = json["nested_offset"]?.doubleValue, offset.isFinite else { throw broken("has no nested_offset") }
            let scales = try base.component(stem + ".nested_absmax", of: name)
            try base.require(scales, [.f32], [(blocks + size - 1) / size], for: name)
            nested = .init(table: map, absmax: scales, blockSize: size, offset: offset)
        } else {
            try base.require(absmax, [.f32], [blocks], for: name)
        }
        return CodebookWeight(
            name: name, shape: shape.compactMap(\.self), codes: codes, table: table, blockSize: blockSize, absmax: absmax,
            nested: nested, state: state)
    }

    private static func eightBit(
        _ base: QuantisedBase, _ stem: String, _ scale: StoredTensor
    ) throws(PeftfileError) -> ScaledWeight {
        let name = ExactString(stem + ".weight")
        let codes = try base.component(name.text, of: name)
        guard codes.shape.count == 2, codes.info.elementCount > 0 else {
            throw QuantisationRule.componentShape.broken(base.title, "is no matrix", tensor: name)
        }
        try base.require(codes, [.i8], codes.shape, for: name)
        try base.require(scale, [.f32], [codes.shape[0]], for: name)
        let format = base.tensor(stem + ".weight_format")
        if let format {
            let bytes = (try? base.checkpoint.read(format)) ?? []
            guard format.byteCount <= 8, bytes.allSatisfy({ $0 == 0 }), !bytes.isEmpty else {
                throw QuantisationRule.unsupportedPacking.broken(
                    base.title, "names a tiling of an older GPU kernel; only rows (0) are read", tensor: format.name)
            }
        }
        return ScaledWeight(
            name: name, shape: codes.shape, codes: codes, scale: scale, zero: nil, block: (1, codes.shape[1]), divisor: 127,
            scaleIsExponent: false, others: [format].compactMap { $0 })
    }
}

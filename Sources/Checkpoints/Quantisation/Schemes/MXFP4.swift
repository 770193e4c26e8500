import ByteAccess
import Tensors

/// MXFP4 experts, as gpt-oss stores them: `experts.gate_up_proj_blocks` U8 (experts, out, in/32, 16) with `_scales` U8
/// (experts, out, in/32), and the same for `down_proj`. The plain tensors are `experts.gate_up_proj` (experts, in, out) and so on;
/// the biases are plain already.
///
/// Source: `convert_moe_packed_tensors` in transformers/integrations/mxfp4.py.
enum MXFP4: QuantisationScheme {
    static let name = "MXFP4"
    static let methods = ["mxfp4"]
    static let marks = ["_blocks", "_scales"]

    static func isMarked(_ checkpoint: Checkpoint) -> Bool {
        checkpoint.tensors.contains { tensor in
            let name = tensor.name.text
            return tensor.dtype == .u8 && name.hasSuffix("_blocks") && checkpoint[ExactString(name.dropLast(7) + "_scales")] != nil
        }
    }

    static func read(_ base: inout QuantisedBase) throws(PeftfileError) {
        for (stem, codes) in base.stems("_blocks") {
            let name = ExactString(stem)
            let shape = codes.shape
            guard codes.dtype == .u8, shape.count == 4, shape[3] == 16, codes.info.elementCount > 0 else {
                throw QuantisationRule.componentShape.broken(
                    base.title, "is \(codes.dtype.rawValue) \(shape), and U8 (experts, out, in/32, 16) is expected", tensor: codes.name)
            }
            let scale = try base.component(stem + "_scales", of: name)
            try base.require(scale, [.u8], [shape[0], shape[1], shape[2]], for: name)
            try base.add(
                MXFP4Weight(name: name, shape: [shape[0], shape[2] * 32, shape[1]], codes: codes, scale: scale))
        }
    }
}

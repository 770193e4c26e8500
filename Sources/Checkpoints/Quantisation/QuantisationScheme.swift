public import ByteAccess

/// A way to store weights as codes: recognised from `quantization_config` and the tensors, it claims the component tensors and
/// gives each weight a reader.
///
/// A scheme is one file in `Schemes/` and one line in `QuantisationSchemes`.
public protocol QuantisationScheme {
    /// What pages call it.
    static var name: String { get }
    /// The values of `quant_method` that are this scheme's.
    static var methods: [String] { get }
    /// The last parts of names that only components of this scheme have: a base without a config is recognised by them, and
    /// none may be left over.
    static var marks: [String] { get }

    /// Whether a base without a config is of this scheme.
    static func isMarked(_ checkpoint: Checkpoint) -> Bool

    /// Claims the tensors of the base and adds its weights.
    ///
    /// - Throws: a `QuantisationRule`, naming the tensor.
    static func read(_ base: inout QuantisedBase) throws(PeftfileError)
}

extension QuantisationScheme {
    public static func isMarked(_ checkpoint: Checkpoint) -> Bool {
        checkpoint.tensors.contains { tensor in marks.contains { tensor.name.text.hasSuffix($0) } }
    }
}

/// The one list of schemes.
public enum QuantisationSchemes {
    /// All schemes; the first that recognises a checkpoint has it.
    public static let all: [any QuantisationScheme.Type] = [
        BitsAndBytes.self, GPTQ.self, AWQ.self, FineGrainedFP8.self, MXFP4.self, CompressedTensors.self, MLXAffine.self,
        GGUFBlocks.self,
    ]
}

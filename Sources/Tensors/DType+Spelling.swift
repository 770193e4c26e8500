extension DType {
    /// The name that torch and transformers' configs use.
    public var torchName: String {
        switch self {
        case .f64: "float64"
        case .f32: "float32"
        case .f16: "float16"
        case .bf16: "bfloat16"
        default: rawValue
        }
    }

    /// Reads a dtype as people write it: `bfloat16`, `bf16`, `BF16`, `float16`, `fp16`, `half`…
    public init?(spelling: String) {
        switch spelling.lowercased() {
        case "f64", "float64", "fp64", "double": self = .f64
        case "f32", "float32", "fp32", "float": self = .f32
        case "f16", "float16", "fp16", "half": self = .f16
        case "bf16", "bfloat16": self = .bf16
        default: return nil
        }
    }
}

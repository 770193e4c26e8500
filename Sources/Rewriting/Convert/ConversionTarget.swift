/// What a conversion writes.
public enum ConversionTarget: String, Sendable, Hashable, CaseIterable {
    /// PEFT's directory; kohya's, diffusers' and MLX' names.
    case peft, kohya, diffusers, mlx
}

/// A loader that the result is meant for.
public enum ConversionLoader: String, Sendable, Hashable, CaseIterable {
    /// vLLM.
    case vllm
    /// llama.cpp's converter of adapters.
    case llamaCpp = "llama.cpp"
    /// mlx_lm.
    case mlx
}

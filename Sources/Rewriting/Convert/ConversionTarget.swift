/// What a conversion writes.
public enum ConversionTarget: String, Sendable, Hashable, CaseIterable {
    case peft, kohya, diffusers, mlx
}

/// A loader that the result is meant for.
public enum ConversionLoader: String, Sendable, Hashable, CaseIterable {
    case vllm
    case llamaCpp = "llama.cpp"
    case mlx
}

/// The dialects that the house knows, one line each; the first that recognises a file reads it.
enum DialectRegistry {
    static let dialects: [any Dialect] = [
        GGUFLoRA(),
        Kohya(),
        MLX(),
        Torchtune(),
        AdapterHubLoRA(),
        XLabs(),
        Diffusers(),
        MergedLinear(),
    ]

    /// The dialect of a file without a `peft_type`; nil where its keys are PEFT's or no adapter's.
    static func dialect(of file: DialectFile) -> (any Dialect)? {
        dialects.first { (file.config?.peftType == nil || $0.acceptsPEFTConfig) && $0.recognises(file) }
    }
}

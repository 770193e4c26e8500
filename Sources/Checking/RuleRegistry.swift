/// The rules of the house, one line each, in the order of the report.
public enum RuleRegistry {
    public static let rules: [any CheckRule] = [
        WeightsMissing(),
        LFSPointer(),
        NotSafetensors(),
        Truncated(),
        TrailingBytes(),
        HeaderInvalid(),
        HeaderSize(),
        IndexInvalid(),
        ShardedAdapter(),
        ConfigMissing(),
        ConfigInvalid(),
        PeftTypeMissing(),
        PeftTypeUnknown(),
        PeftTypeMismatch(),
        PrefixDoubled(),
        PrefixMissing(),
        AdapterNameInKey(),
        UnexpectedKeys(),
        MissingPair(),
        EmptyTensor(),
        DTypeMismatch(),
        RankMismatch(),
        AlphaMissing(),
        UnknownConfigKey(),
        TargetNotInBase(),
        ShapeMismatch(),
        Transposed(),
        NonFinite(),
        Untrained(),
        SuspiciousScale(),
        PickleWeights(),
    ]

    /// The rule of this id, or nil.
    public static func rule(_ id: String) -> (any CheckRule)? { rules.first { $0.id == id } }
}

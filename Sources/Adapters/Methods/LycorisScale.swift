import ByteAccess

/// The scale of LoHa and LoKr in PEFT: `alpha / r`, with the module's own r and alpha where a pattern names them.
///
/// Source: `LoHaModel._create_and_replace` and `LoHaLayer.update_layer` in peft/tuners/loha; a config that
/// lacks one of them is refused, as PEFT would take 8 in silence.
struct LycorisScale {
    let rank: Int
    let alpha: Double
    let value: Double

    init(_ module: MethodModule) throws {
        if let own = module.scale {
            (rank, value) = (own.rank, own.value)
            alpha = own.alpha ?? own.value * Double(own.rank)
            return
        }
        rank = try module.required(module.count("r", pattern: "rank_pattern"), "r")
        alpha = try module.required(module.number("alpha", pattern: "alpha_pattern"), "alpha")
        value = alpha / Double(rank)
    }

    /// The keys of a LyCORIS config; dropouts and initialisations act in training only, and the form of the factors is
    /// told by the tensors.
    static let configKeys: Set<String> = [
        "r", "alpha", "rank_pattern", "alpha_pattern", "rank_dropout", "module_dropout", "init_weights",
        "use_effective_conv2d",
    ]
}

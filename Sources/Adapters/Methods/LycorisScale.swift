import ByteAccess

/// The scale of LoHa and LoKr in PEFT: `alpha / r`, with the module's own r and alpha where a pattern names them.
///
/// Source: `LoHaModel._create_and_replace` and `LoHaLayer.update_layer` in peft/tuners/loha; the defaults of `r` and
/// `alpha` are 8.
struct LycorisScale {
    let rank: Int
    let alpha: Double
    var value: Double { alpha / Double(rank) }

    init(_ module: MethodModule) throws {
        rank = try module.count("r", pattern: "rank_pattern") ?? 8
        alpha = try module.number("alpha", pattern: "alpha_pattern") ?? 8
    }

    /// The keys of a LyCORIS config; dropouts and initialisations act in training only, and the form of the factors is
    /// told by the tensors.
    static let configKeys: Set<String> = [
        "r", "alpha", "rank_pattern", "alpha_pattern", "rank_dropout", "module_dropout", "init_weights",
        "use_effective_conv2d",
    ]
}

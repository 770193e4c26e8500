/// Where a `layers_pattern` without `layers_to_transform` makes a config that PEFT refuses to load.
///
/// Source: `__post_init__` in peft/tuners/*/config.py of PEFT 0.21.2; the methods that are not named here ignore the pattern.
enum LayersPattern {
    static let needsLayers: Set<String> = [
        "ADALORA", "BOFT", "DEFT", "DELORA", "FOURIERFT", "FROD", "HRA", "LILY", "LOHA", "LOKR", "LORA", "OFT", "PEANUT", "PSOFT",
        "PVERA", "SHADOW", "TINYLORA", "VBLORA", "VERA", "WAVEFT",
    ]
}

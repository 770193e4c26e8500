/// Where a layer of diffusers' FLUX.1 is in the model's own repository, by whose names sd-scripts trains.
///
/// One layer there may be several of diffusers' below each other: q, k and v of `img_attn.qkv`, and the feed-forward's first of `linear1`.
///
/// Source: `_convert_kohya_flux_lora_to_diffusers` in src/diffusers/loaders/lora_conversion_utils.py, read backwards; `LoRANetwork` in
/// networks/lora_flux.py of sd-scripts.
public struct OriginalLayer: Sendable, Hashable {
    /// The layer, with underscores for dots: `double_blocks_0_img_attn_qkv`.
    public let name: String
    /// Which of the layers below each other it is.
    public let part: Int
    /// The rows of each of them, in the measure of the input's width.
    public let shares: [Int]
    /// Whether the two halves of the rows change places.
    public let isSwapped: Bool

    init(name: String, part: Int, shares: [Int], isSwapped: Bool) {
        (self.name, self.part, self.shares, self.isSwapped) = (name, part, shares, isSwapped)
    }

    /// The layer that a module of diffusers' FLUX.1 is, or is a part of; nil where FLUX.1 has no such module.
    public init?(flux path: String) {
        guard let layer = DiffusersLayers.original(ofFlux: path) else { return nil }
        self = layer
    }

    /// Whether it is one of several.
    public var isFused: Bool { shares.count > 1 }
    /// The rows of the layers before it, and its own, for a width.
    public func rows(width: Int) -> Range<Int> {
        let first = shares.prefix(part).reduce(0, +) * width
        return first..<(first + shares[part] * width)
    }
    /// All rows, for a width.
    public func rowCount(width: Int) -> Int { shares.reduce(0, +) * width }
}

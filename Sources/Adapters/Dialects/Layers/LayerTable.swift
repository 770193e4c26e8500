/// What the layers of a model's own repository are in diffusers: under which names, and cut into which parts.
///
/// A layer of the repository is one of diffusers' or several below each other, each with its share of the rows. The two halves of the last
/// modulation's rows change places: the repositories have shift before scale, diffusers' `AdaLayerNormContinuous` scale before shift.
///
/// Both directions are read from one table. An adapter under the repository's names finds diffusers' layers (``DiffusersLayers``), and one
/// under diffusers' names finds its rows in the repository's (``OriginalRows``).
///
/// Source: the converters of checkpoints in src/diffusers/loaders/single_file_utils.py, which each table names; where diffusers' converter of
/// LoRA files says something else, the model that is loaded decides (`Formats/diffusers.md`, Errata).
struct LayerTable: Sendable {
    /// A layer of the repository.
    struct Layer: Sendable {
        /// Its path, below the block where it is in one.
        let own: String
        /// The layers of diffusers below each other, each with its share of the rows.
        let parts: [(name: String, share: Int)]
        /// The input in the measure of the shares; nil where the model's sizes decide.
        var input: Int?
        /// Whether the two halves of the rows change places.
        var isSwapped = false

        /// All shares.
        var total: Int { parts.reduce(0) { $0 + $1.share } }

        /// Whether the proportions of a matrix are those of the layer; with no columns, whether its rows can be shared out.
        func fits(rows: Int, columns: Int?) -> Bool {
            guard rows % total == 0, !isSwapped || rows % 2 == 0 else { return false }
            guard let input, let columns else { return true }
            // A matrix without elements may claim any side.
            let (wanted, isTooLarge) = (columns / input).multipliedReportingOverflow(by: total)
            return columns % input == 0 && !isTooLarge && rows == wanted
        }

        /// The rows of one of the parts.
        func rows(of part: Int, among rows: Int) -> Range<Int> {
            let unit = rows / total
            let first = parts.prefix(part).reduce(0) { $0 + $1.share } * unit
            return first..<(first + parts[part].share * unit)
        }

        /// The two halves of the rows, in the other order.
        static func halves(of rows: Int) -> [Range<Int>] { [(rows / 2)..<rows, 0..<(rows / 2)] }

        static func one(_ own: String, _ name: String, _ share: Int = 1, of input: Int? = nil) -> Layer {
            Layer(own: own, parts: [(name, share)], input: input)
        }

        static func fused(_ own: String, _ parts: [(String, Int)], of input: Int? = 1) -> Layer {
            Layer(own: own, parts: parts.map { (name: $0.0, share: $0.1) }, input: input)
        }

        /// Shift and scale, each as wide as the model.
        static func swapped(_ own: String, _ name: String, of input: Int? = 1) -> Layer {
            Layer(own: own, parts: [(name, 2)], input: input, isSwapped: true)
        }
    }

    /// Blocks with a number, or the layers that are in none.
    struct Block: Sendable {
        /// What stands before the number in the repository, with its dot; empty for the layers in no block.
        let front: String
        /// The same in diffusers.
        let other: String
        /// By the path with `_` for `.`; of several the first whose proportions are right is meant.
        let layers: [String: [Layer]]
        /// By the name in diffusers, with the number of the part.
        let parts: [String: [(layer: Layer, part: Int)]]

        init(_ front: String, _ other: String, _ layers: [Layer]) {
            (self.front, self.other) = (front, other)
            self.layers = Dictionary(grouping: layers) { LayerTable.underscored($0.own) }
            var parts: [String: [(layer: Layer, part: Int)]] = [:]
            for layer in layers {
                for (index, part) in layer.parts.enumerated() { parts[part.name, default: []].append((layer, index)) }
            }
            self.parts = parts
        }
    }

    /// What people call the model.
    let model: String
    /// `_class_name` of diffusers' config.json.
    let className: String
    /// The numbered blocks.
    let blocks: [Block]
    /// The layers in no block.
    let others: Block
    /// Other classes of diffusers whose pipelines load the same LoRA files.
    var relatives: Set<String> = []
    /// How `modelspec.architecture` of the model's files begins, in small letters.
    var architectures: [String] = []
    /// How many blocks its models have, by what stands before the number, where the files of another model may have these names and more blocks.
    var counts: [String: Int] = [:]
    /// Widths of the models that there are, where names alone do not tell this model from another; empty where they do.
    var widths: [Int] = []

    init(
        _ model: String, _ className: String, relatives: Set<String> = [], architectures: [String], blocks: [Block], others: [Layer], widths: [Int] = [],
        counts: [String: Int] = [:]
    ) {
        (self.model, self.className, self.relatives, self.architectures) = (model, className, relatives, architectures)
        (self.blocks, self.widths, self.counts) = (blocks, widths, counts)
        self.others = Block("", "", others)
    }

    /// All tables; those of models with the same names are told apart by proportions, and else by the base.
    static let all: [LayerTable] = [flux, flux2, hunyuanVideo, stableDiffusion3, wan, lumina2, zImage]

    static func underscored(_ path: String) -> String { String(path.map { $0 == "." ? "_" : $0 }) }

    /// The number at the start of a name and what follows behind it.
    private static func numbered(_ rest: Substring, separator: Character) -> (number: Int, rest: String)? {
        guard let end = rest.firstIndex(of: separator), let number = Int(rest[..<end]), number >= 0, "\(number)" == rest[..<end] else { return nil }
        return (number, String(rest[rest.index(after: end)...]))
    }

    /// The layers that a path of the repository may be, with what diffusers has before their names; nil where it has none of the table.
    ///
    /// - Parameter path: with dots, or with `_` for them.
    func layers(of path: String) -> (front: String, layers: [Layer], isInBlock: Bool)? {
        let name = LayerTable.underscored(path)
        for block in blocks {
            let front = LayerTable.underscored(block.front)
            guard name.hasPrefix(front), let (number, rest) = LayerTable.numbered(name.dropFirst(front.count), separator: "_"),
                let layers = block.layers[rest]
            else { continue }
            return ("\(block.other)\(number).", layers, true)
        }
        return others.layers[name].map { ("", $0, false) }
    }

    /// Whether the repository writes a path so, with its dots.
    func isOwn(_ path: String) -> Bool {
        guard let (_, layers, isInBlock) = layers(of: path) else { return false }
        return layers.contains { layer in
            isInBlock ? blocks.contains { path.hasPrefix($0.front) && path.hasSuffix("." + layer.own) } : layer.own == path
        }
    }

    /// The layers of the repository that a module of diffusers is, or is a part of.
    func originals(of path: String) -> [(path: String, layer: Layer, part: Int)] {
        for block in blocks where path.hasPrefix(block.other) {
            guard let (number, rest) = LayerTable.numbered(path.dropFirst(block.other.count), separator: ".") else { continue }
            return (block.parts[rest] ?? []).map { ("\(block.front)\(number).\($0.layer.own)", $0.layer, $0.part) }
        }
        return (others.parts[path] ?? []).map { ($0.layer.own, $0.layer, $0.part) }
    }

    /// Whether diffusers has a layer of this path in a numbered block, under another name than the repository.
    func isInBlockOfDiffusers(_ path: String) -> Bool {
        blocks.contains { path.hasPrefix($0.other) } && originals(of: path).contains { $0.path != path }
    }
}

/// Where a module stands in a model of repeated layers: `model.layers` 3 `self_attn.q_proj`.
struct ModulePlace: Hashable {
    /// The list that the layer is in; empty for a module outside every layer.
    var stack: String
    var layer: Int?
    /// The module within its layer, or the whole path of one outside.
    var kind: String
}

extension ModulePlace {
    /// Takes a path apart at the number of its layer.
    ///
    /// That is the last number behind a word such as `layers`, `blocks` or `h`; else the first behind `layer` or `block`
    /// (T5 numbers the parts of a block, BERT its layers); else the first number of all. Files that write underscores for dots
    /// (kohya) are taken apart at those. Experts of one kind share a place.
    init(_ path: String) {
        let dotted = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let isDotted = dotted.contains { ModulePlace.number($0) != nil }
        let separator: Character = isDotted ? "." : "_"
        let words = isDotted ? dotted : path.split(separator: "_", omittingEmptySubsequences: false).map(String.init)
        let numbers = words.indices.filter { $0 > 0 && $0 < words.count - 1 && ModulePlace.number(words[$0]) != nil }
        let place = numbers.last { ModulePlace.isList(words[$0 - 1]) }
            ?? numbers.first { words[$0 - 1].hasSuffix("layer") || words[$0 - 1].hasSuffix("block") }
            ?? (isDotted ? numbers.first : nil)
        guard let place else {
            (stack, layer, kind) = ("", nil, path)
            return
        }
        stack = words[..<place].joined(separator: String(separator))
        layer = ModulePlace.number(words[place])
        var rest = Array(words[(place + 1)...])
        for index in rest.indices.dropFirst() where rest[index - 1] == "experts" && ModulePlace.number(rest[index]) != nil {
            rest[index] = "*"
        }
        kind = rest.joined(separator: String(separator))
    }

    private static func number(_ word: String) -> Int? {
        !word.isEmpty && word.utf8.allSatisfy { (48...57).contains($0) } ? Int(word) : nil
    }

    private static func isList(_ word: String) -> Bool {
        word.hasSuffix("layers") || word.hasSuffix("blocks") || word == "h"
    }
}

public import ByteAccess

/// The names that a source has for the keys and values of each layer, where it stores them apart.
public struct PromptSlots: Sendable {
    /// Keys and values in turn, where the file has them.
    private let stored: [ExactString]
    /// The width of one, where the file tells.
    public let width: Int?
    /// The path of the first attention module, for a file that holds only what makes the slots.
    private let first: [String]
    /// OpenDelta's `modified_modules`: the ends of the paths of the changed modules.
    private let modified: [String]

    init(names: [ExactString], width: Int) {
        (stored, self.width, first, modified) = (names, width, [], [])
    }

    init(first: [String], modified: [String]) {
        (stored, width, self.first, self.modified) = ([], nil, first, modified)
    }

    /// Whether the names follow from the number of layers, and not from the file.
    public var isDerived: Bool { stored.isEmpty }

    /// The first name, which is certain.
    public var firstName: ExactString? {
        isDerived ? ExactString((first + ["prefix", "past_key"]).joined(separator: ".")) : stored.first
    }

    /// The name of every slot.
    ///
    /// The path of the first module holds one number, that of its layer; the modules are the layers that `modified_modules`
    /// names by number, or as many in a row as there are. OpenDelta changes modules in the model's order, and a module's path is
    /// told only as far as that: with two numbers in it (T5's blocks of layers), or as many numbers in `modified_modules` as there
    /// are not modules, the names stay unknown.
    ///
    /// - Throws: `.refused` with rule `NoSourceLayout` where they do.
    public func names(layers: Int) throws -> [ExactString] {
        guard isDerived else { return stored }
        let positions = first.indices.filter { Int(first[$0]) != nil }
        let named = modified.flatMap { $0.dottedComponents.compactMap { Int($0) } }
        guard positions.count == 1, let start = Int(first[positions[0]]), layers > 0, layers < 1 << 20,
            start < 1 << 20, named.isEmpty || Set(named).count == layers && named.min() == start
        else {
            throw PeftfileError(
                .refused, "keeps the prefix as past_key and past_value of \(layers) attention modules, and of their paths the file "
                    + "tells the first, \"\(first.joined(separator: ".").printable)\"", rule: "NoSourceLayout",
                help: "give it PEFT's layout: --layout peft")
        }
        let numbers = named.isEmpty ? Array(start..<(start + layers)) : Set(named).sorted()
        return numbers.flatMap { number -> [ExactString] in
            var path = first
            path[positions[0]] = String(number)
            return ["past_key", "past_value"].map { ExactString((path + ["prefix", $0]).joined(separator: ".")) }
        }
    }
}

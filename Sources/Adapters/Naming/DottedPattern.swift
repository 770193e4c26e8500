/// A pattern over the dotted components of a tensor name, in which `*` stands for one decimal component.
///
/// `layers.*.mlp.fc1` matches these four components anywhere in a name, never a part of a component: `mlp` does not
/// match `mlp2`. A leading `^` ties it to the start of the name, a closing `$` to its end. There is no other syntax, so
/// a rule can be read in both directions.
struct DottedPattern: Sendable {
    private let components: [String]
    private let atStart: Bool
    private let atEnd: Bool

    init(_ text: String) {
        var body = Substring(text)
        atStart = body.hasPrefix("^")
        if atStart { body = body.dropFirst() }
        atEnd = body.hasSuffix("$")
        if atEnd { body = body.dropLast() }
        components = body.split(separator: ".").map(String.init)
    }

    /// Where the pattern first occurs in `name`, and the numbers that its stars stand for.
    func firstMatch(in name: [Substring]) -> (range: Range<Int>, numbers: [Substring])? {
        guard name.count >= components.count else { return nil }
        let last = name.count - components.count
        let starts = atEnd ? last...last : atStart ? 0...0 : 0...last
        for start in starts where !(atStart && start != 0) && !(atEnd && start != last) {
            var numbers: [Substring] = []
            let hit = components.indices.allSatisfy { index in
                let part = name[start + index]
                guard components[index] == "*" else { return components[index] == part }
                numbers.append(part)
                return part.isDecimal
            }
            if hit { return (start..<start + components.count, numbers) }
        }
        return nil
    }

    /// Whether `other` is the beginning of this pattern's text, inside of its last component.
    func continues(_ other: DottedPattern) -> Bool {
        guard components.count == other.components.count, components.dropLast() == other.components.dropLast(), let last = components.last,
            let begin = other.components.last
        else { return false }
        return last != begin && last.hasPrefix(begin)
    }

    /// The components with the stars replaced by `numbers` in order.
    func filled(with numbers: [Substring]) -> [Substring] {
        var rest = numbers[...]
        return components.map { $0 == "*" ? rest.popFirst() ?? "*" : Substring($0) }
    }

    /// `name` with the first occurrence of `self` replaced by `other`, or nil if there is none.
    func rewrite(_ name: [Substring], as other: DottedPattern) -> String? {
        guard let (range, numbers) = firstMatch(in: name) else { return nil }
        let parts = name[..<range.lowerBound] + other.filled(with: numbers) + name[range.upperBound...]
        return parts.joined(separator: ".")
    }
}

extension StringProtocol {
    /// Whether every byte is an ASCII digit, and there is at least one.
    var isDecimal: Bool { !isEmpty && utf8.allSatisfy { (48...57).contains($0) } }
}

extension Substring {
    /// The name cut at its dots; empty components are kept, so that joining gives the name back. Bytes are compared and not
    /// characters: a combining mark behind a dot does not hide it, and most of the time goes into names.
    var dottedComponents: [Substring] {
        utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).map { Substring($0) }
    }
}

extension String {
    /// The name cut at its dots, as a `Substring` is.
    var dottedComponents: [Substring] { self[...].dottedComponents }
}

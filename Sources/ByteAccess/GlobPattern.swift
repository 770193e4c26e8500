/// A shell pattern for tensor names, as `--include` and `--exclude` take it.
///
/// `*` stands for any text, dots included, `?` for one character, `[abc]`, `[a-z]` and `[!abc]` for one character of a
/// set; everything else for itself. The whole name must match, bytes compared exactly. A `[` without its `]` stands for
/// itself. These are the patterns of Python's `fnmatch`, which the Hub's `--include` takes too.
///
/// Source: `fnmatch.translate` of CPython. Characters are Unicode scalars, as there.
public struct GlobPattern: Sendable, Hashable {
    /// The pattern as it was given.
    public let text: String
    private let parts: [Part]

    private enum Part: Hashable {
        case any
        case one
        case scalar(Unicode.Scalar)
        case set([ClosedRange<Unicode.Scalar>], negated: Bool)
    }

    /// Reads a pattern. Every text is one: what has no meaning as a pattern stands for itself.
    public init(_ text: String) {
        self.text = text
        let scalars = Array(text.unicodeScalars)
        var parts: [Part] = []
        var position = 0
        while position < scalars.count {
            let scalar = scalars[position]
            position += 1
            switch scalar {
            // Two stars in a row mean what one does, and cost more.
            case "*": if parts.last != .any { parts.append(.any) }
            case "?": parts.append(.one)
            case "[":
                guard let (set, next) = GlobPattern.set(scalars, from: position) else {
                    parts.append(.scalar(scalar))
                    continue
                }
                parts.append(set)
                position = next
            default: parts.append(.scalar(scalar))
            }
        }
        self.parts = parts
    }

    /// Whether the whole of `name` is of this form. Time is at most the product of the two lengths.
    public func matches(_ name: String) -> Bool {
        let scalars = Array(name.unicodeScalars)
        var part = 0
        var position = 0
        // The last star, and how far it reaches so far: on a mismatch it takes one character more.
        var star: (part: Int, position: Int)?
        while position < scalars.count {
            if part < parts.count {
                if parts[part] == .any {
                    star = (part, position)
                    part += 1
                    continue
                }
                if matches(parts[part], scalars[position]) {
                    part += 1
                    position += 1
                    continue
                }
            }
            guard let last = star else { return false }
            star = (last.part, last.position + 1)
            part = last.part + 1
            position = last.position + 1
        }
        return parts[part...].allSatisfy { $0 == .any }
    }

    private func matches(_ part: Part, _ scalar: Unicode.Scalar) -> Bool {
        switch part {
        case .any, .one: true
        case .scalar(let wanted): scalar == wanted
        case .set(let ranges, let negated): ranges.contains { $0.contains(scalar) } != negated
        }
    }

    /// The set that begins after a `[`, and where the pattern goes on; nil where no `]` closes it. A `]` that comes
    /// first belongs to the set.
    private static func set(_ scalars: [Unicode.Scalar], from start: Int) -> (Part, Int)? {
        var position = start
        let negated = position < scalars.count && scalars[position] == "!"
        if negated { position += 1 }
        let first = position
        guard let end = scalars.indices.first(where: { $0 > first && scalars[$0] == "]" }) else { return nil }
        var ranges: [ClosedRange<Unicode.Scalar>] = []
        while position < end {
            let low = scalars[position]
            if position + 2 < end, scalars[position + 1] == "-" {
                let high = scalars[position + 2]
                // A range that runs backwards is empty.
                if low <= high { ranges.append(low...high) }
                position += 3
            } else {
                ranges.append(low...low)
                position += 1
            }
        }
        return (.set(ranges, negated: negated), end + 1)
    }
}

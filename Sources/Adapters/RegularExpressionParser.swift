import ByteAccess

/// A parsed regular expression.
indirect enum RegularExpressionNode {
    case character(CharacterClass)
    case assertion(RegularExpression.Assertion)
    case look(RegularExpressionNode, isBehind: Bool, isNegative: Bool)
    case sequence([RegularExpressionNode])
    case alternation([RegularExpressionNode])
    /// At least, at most (nil: without end).
    case repetition(RegularExpressionNode, Int, Int?)
}

/// Reads Python's syntax; see ``RegularExpression`` for what of it is known.
struct RegularExpressionParser {
    private let pattern: String
    private let text: [Unicode.Scalar]
    private var position = 0
    private var depth = 0
    private var isInLook = false

    /// The deepest nesting of groups.
    private static let depthLimit = 100
    /// The largest count in `{m,n}`.
    private static let countLimit = 1000

    init(_ pattern: String) {
        self.pattern = pattern
        text = Array(pattern.unicodeScalars)
    }

    static func error(_ message: String) -> PeftfileError {
        PeftfileError(.malformed, message, rule: "PatternSyntax", help: "correct it in adapter_config.json")
    }

    /// The refusal of what Python knows and this engine does not.
    static func unsupported(_ message: String) -> PeftfileError {
        PeftfileError(.unsupported, message, rule: "PatternUnsupported", help: "write the pattern without it, or name the modules in a list")
    }

    private func unknown(_ what: String) -> PeftfileError { Self.unsupported("\"\(pattern.printable)\" has \(what)") }

    private func fail(_ what: String) -> PeftfileError {
        Self.error("\"\(pattern.printable)\" is no regular expression that is known here: \(what)")
    }

    mutating func parse() throws -> RegularExpressionNode {
        let node = try alternation()
        guard position == text.count else { throw fail("a ) without its (") }
        return node
    }

    private var next: Unicode.Scalar? { position < text.count ? text[position] : nil }

    private mutating func skip(_ scalar: Unicode.Scalar) -> Bool {
        guard next == scalar else { return false }
        position += 1
        return true
    }

    private mutating func alternation() throws -> RegularExpressionNode {
        var branches = [try sequence()]
        while skip("|") { branches.append(try sequence()) }
        return branches.count == 1 ? branches[0] : .alternation(branches)
    }

    private mutating func sequence() throws -> RegularExpressionNode {
        var nodes: [RegularExpressionNode] = []
        while let scalar = next, scalar != "|", scalar != ")" {
            let atom = try atom()
            nodes.append(try quantified(atom))
        }
        return .sequence(nodes)
    }

    private mutating func quantified(_ atom: RegularExpressionNode) throws -> RegularExpressionNode {
        var bounds: (Int, Int?)?
        if skip("*") {
            bounds = (0, nil)
        } else if skip("+") {
            bounds = (1, nil)
        } else if skip("?") {
            bounds = (0, 1)
        } else if next == "{" {
            bounds = try counts()
        }
        guard let bounds else { return atom }
        // Lazy or greedy, the texts that match are the same; possessive ones are not.
        if skip("+") { throw unknown("a possessive repeat, which is not supported") }
        _ = skip("?")
        if next == "*" || next == "+" || next == "?" { throw fail("a repeat of a repeat") }
        return .repetition(atom, bounds.0, bounds.1)
    }

    /// `{m}`, `{m,}`, `{,n}`, `{m,n}`; nil, and nothing read, where the brace is a plain character.
    private mutating func counts() throws -> (Int, Int?)? {
        let start = position
        position += 1
        let least = number()
        let hasComma = skip(",")
        let most = hasComma ? number() : least
        guard skip("}"), least != nil || most != nil else {
            position = start
            return nil
        }
        let lower = least ?? 0
        guard lower <= Self.countLimit, most ?? 0 <= Self.countLimit else { throw unknown("a repeat above \(Self.countLimit)") }
        if let most, most < lower { throw fail("a repeat whose bounds are the wrong way round") }
        return (lower, most)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let scalar = next, CharacterClass.digit.contains(scalar) {
            value = min((value ?? 0) * 10 + Int(scalar.value - 0x30), 1_000_000)
            position += 1
        }
        return value
    }

    private mutating func atom() throws -> RegularExpressionNode {
        let scalar = text[position]
        switch scalar {
        case "(": return try group()
        case "[":
            position += 1
            return .character(try characterClass())
        case ".":
            position += 1
            return .character(.any)
        case "^":
            position += 1
            return .assertion(.start)
        case "$":
            position += 1
            return .assertion(.end)
        case "\\": return try escape()
        case "*", "+", "?": throw fail("a repeat of nothing")
        case "{":
            if try counts() != nil { throw fail("a repeat of nothing") }
            position += 1
            return .character(.init(scalar: scalar))
        default:
            position += 1
            return .character(.init(scalar: scalar))
        }
    }

    private mutating func group() throws -> RegularExpressionNode {
        position += 1
        if skip("?") {
            if skip("P") {
                guard skip("<"), let end = text[position...].firstIndex(of: ">") else { throw fail("a group of unknown kind") }
                position = end + 1
            } else if next == "=" || next == "!" || next == "<" {
                return try look()
            } else if !skip(":") {
                throw unknown("flags or a group of another kind, which are not supported")
            }
        }
        depth += 1
        guard depth <= Self.depthLimit else { throw fail("groups nested deeper than \(Self.depthLimit)") }
        let node = try alternation()
        depth -= 1
        guard skip(")") else { throw fail("a ( without its )") }
        return node
    }

    /// `(?=…)`, `(?!…)`, `(?<=…)`, `(?<!…)`, behind the question mark.
    private mutating func look() throws -> RegularExpressionNode {
        let isBehind = skip("<")
        guard next == "=" || next == "!" else { throw fail("a group of unknown kind") }
        let isNegative = skip("!") || !skip("=")
        guard !isInLook else { throw unknown("a look inside another, which is not supported") }
        isInLook = true
        defer { isInLook = false }
        let node = try alternation()
        guard skip(")") else { throw fail("a ( without its )") }
        return .look(node, isBehind: isBehind, isNegative: isNegative)
    }

    private mutating func escape() throws -> RegularExpressionNode {
        position += 1
        guard let scalar = next else { throw fail("a \\ at the end") }
        position += 1
        if let set = Self.namedClass(scalar) { return .character(set) }
        switch scalar {
        case "A": return .assertion(.start)
        case "Z": return .assertion(.end)
        case "b": return .assertion(.wordBoundary)
        case "B": return .assertion(.noWordBoundary)
        default: return .character(.init(scalar: try plain(scalar)))
        }
    }

    private static func namedClass(_ scalar: Unicode.Scalar) -> CharacterClass? {
        switch scalar {
        case "d": .digit
        case "D": CharacterClass.digit.inverted
        case "w": .word
        case "W": CharacterClass.word.inverted
        case "s": .space
        case "S": CharacterClass.space.inverted
        default: nil
        }
    }

    /// A character behind a backslash that stands for itself or for a control character.
    private func plain(_ scalar: Unicode.Scalar) throws -> Unicode.Scalar {
        switch scalar {
        case "n": return "\n"
        case "t": return "\t"
        case "r": return "\r"
        default:
            guard scalar.value < 0x80, !CharacterClass.word.contains(scalar) || scalar == "_" else {
                throw unknown("\\\(scalar), which is not supported")
            }
            return scalar
        }
    }

    private mutating func characterClass() throws -> CharacterClass {
        let isInverted = skip("^")
        var set = CharacterClass([])
        var isFirst = true
        while let scalar = next, scalar != "]" || isFirst {
            isFirst = false
            position += 1
            var lower = scalar
            if scalar == "\\" {
                guard let escaped = next else { throw fail("a [ without its ]") }
                position += 1
                if let named = Self.namedClass(escaped) {
                    set.formUnion(named)
                    continue
                }
                lower = try plain(escaped)
            }
            guard next == "-", position + 1 < text.count, text[position + 1] != "]" else {
                set.formUnion(.init(scalar: lower))
                continue
            }
            position += 1
            var upper = text[position]
            position += 1
            if upper == "\\" {
                guard let escaped = next else { throw fail("a [ without its ]") }
                position += 1
                upper = try plain(escaped)
            }
            guard lower.value <= upper.value else { throw fail("a range whose ends are the wrong way round") }
            set.formUnion(CharacterClass([lower.value...upper.value]))
        }
        guard skip("]") else { throw fail("a [ without its ]") }
        return isInverted ? set.inverted : set
    }
}

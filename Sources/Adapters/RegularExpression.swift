import ByteAccess

/// A regular expression in the part of Python's syntax that adapter configs use, matched in time linear in the text.
///
/// Backtracking engines take exponential time on patterns such as `(a+)+b`, and a config is input like any other. So the
/// expression is compiled to a small program that all alternatives walk through side by side (K. Thompson, 1968): a text
/// of n characters and a program of m steps take at most n·m steps. Known are literals, `.`, classes, groups,
/// alternation, `* + ? {m,n}` and their lazy forms, `^ $ \A \Z \b \B`, `\d \w \s` with their opposites, and looks ahead and
/// behind that hold no other look, each of which starts a walk of its own where it stands. Back references, inline flags and
/// possessive repeats are refused by name.
package struct RegularExpression: Sendable {
    /// One step of the program.
    enum Step: Sendable {
        /// Takes one character of the set.
        case take(CharacterClass)
        /// Goes on at both places.
        case fork(Int, Int)
        case jump(Int)
        case assert(Assertion)
        case accept
    }

    enum Assertion: Sendable {
        case start, end, wordBoundary, noWordBoundary
        /// What follows, or what stands before, matches; or does not.
        case look(RegularExpression, isBehind: Bool, isNegative: Bool)
    }

    /// How far a look goes at most; module paths are shorter.
    static let lookLimit = 512

    /// The most steps that a pattern may compile to; counted repeats multiply.
    static let stepLimit = 20_000

    private let program: [Step]

    /// Compiles a pattern that is to match a module path whole, after any number of leading components: Python's
    /// `re.match(rf"(.*\.)?({pattern})$", path)`.
    ///
    /// - Throws: `.malformed` with what is wrong in the pattern.
    package init(modulePattern pattern: String) throws {
        var parser = RegularExpressionParser(pattern)
        let node = try parser.parse()
        let front = RegularExpressionNode.repetition(
            .sequence([.repetition(.character(.any), 0, nil), .character(.init(scalar: "."))]), 0, 1)
        var steps: [Step] = []
        try RegularExpression.compile(.sequence([front, node]), into: &steps, pattern)
        steps.append(.accept)
        program = steps
    }

    /// Compiles a pattern that is to match a whole text: Python's `re.fullmatch(pattern, text)`.
    ///
    /// - Throws: `.malformed` with what is wrong in the pattern.
    package init(wholePattern pattern: String) throws {
        var parser = RegularExpressionParser(pattern)
        try self.init(parser.parse(), pattern)
    }

    private init(_ node: RegularExpressionNode, _ pattern: String) throws {
        var steps: [Step] = []
        try RegularExpression.compile(node, into: &steps, pattern)
        steps.append(.accept)
        program = steps
    }

    /// Compiles a pattern that is to stand anywhere in a text: Python's `re.search(pattern, text)`.
    ///
    /// - Throws: `.malformed` with what is wrong in the pattern.
    init(searching pattern: String) throws {
        var parser = RegularExpressionParser(pattern)
        let anything = RegularExpressionNode.repetition(.character(.any), 0, nil)
        var steps: [Step] = []
        try RegularExpression.compile(.sequence([anything, parser.parse(), anything]), into: &steps, pattern)
        steps.append(.accept)
        program = steps
    }

    /// Whether the whole text matches.
    package func matchesWhole(_ text: String) -> Bool {
        let scalars = Array(text.unicodeScalars)
        return matches(scalars, from: 0, to: scalars.count)
    }

    /// Whether the characters from `start` on match, up to `end`, or up to any place before it where `end` is nil.
    private func matches(_ scalars: [Unicode.Scalar], from start: Int, to end: Int?) -> Bool {
        func isAccepted(_ set: StepSet) -> Bool { set.members.contains { if case .accept = program[$0] { true } else { false } } }
        var current = StepSet(count: program.count)
        add(0, at: start, scalars, to: &current)
        for position in start..<(end ?? min(scalars.count, start + RegularExpression.lookLimit)) {
            if end == nil, isAccepted(current) { return true }
            var next = StepSet(count: program.count)
            for step in current.members {
                if case .take(let set) = program[step], set.contains(scalars[position]) {
                    add(step + 1, at: position + 1, scalars, to: &next)
                }
            }
            if next.members.isEmpty { return false }
            current = next
        }
        return isAccepted(current)
    }

    /// The steps that wait for a character, each once.
    private struct StepSet {
        var members: [Int] = []
        var seen: [Bool]
        init(count: Int) { seen = [Bool](repeating: false, count: count) }
    }

    /// Follows forks, jumps and assertions from `step`, with a list of its own instead of recursion.
    private func add(_ step: Int, at position: Int, _ text: [Unicode.Scalar], to set: inout StepSet) {
        var open = [step]
        while let step = open.popLast() {
            guard !set.seen[step] else { continue }
            set.seen[step] = true
            switch program[step] {
            case .take, .accept: set.members.append(step)
            case .jump(let target): open.append(target)
            case .fork(let first, let second): open += [second, first]
            case .assert(let assertion): if holds(assertion, at: position, text) { open.append(step + 1) }
            }
        }
    }

    private func holds(_ assertion: Assertion, at position: Int, _ text: [Unicode.Scalar]) -> Bool {
        func isWord(_ index: Int) -> Bool { text.indices.contains(index) && CharacterClass.word.contains(text[index]) }
        switch assertion {
        case .start: return position == 0
        case .end: return position == text.count
        case .wordBoundary: return isWord(position - 1) != isWord(position)
        case .noWordBoundary: return isWord(position - 1) == isWord(position)
        case .look(let expression, isBehind: false, let isNegative):
            return expression.matches(text, from: position, to: nil) != isNegative
        case .look(let expression, isBehind: true, let isNegative):
            let first = max(0, position - RegularExpression.lookLimit)
            return (first...position).contains { expression.matches(text, from: $0, to: position) } != isNegative
        }
    }

    private static func compile(_ node: RegularExpressionNode, into steps: inout [Step], _ pattern: String) throws {
        guard steps.count < stepLimit else {
            throw RegularExpressionParser.unsupported("\"\(pattern.printable)\" is too long when its repeats are counted out")
        }
        switch node {
        case .character(let set): steps.append(.take(set))
        case .assertion(let assertion): steps.append(.assert(assertion))
        case .look(let node, let isBehind, let isNegative):
            steps.append(.assert(.look(try RegularExpression(node, pattern), isBehind: isBehind, isNegative: isNegative)))
        case .sequence(let nodes): for node in nodes { try compile(node, into: &steps, pattern) }
        case .alternation(let nodes):
            var exits: [Int] = []
            for (index, node) in nodes.enumerated() {
                if index == nodes.count - 1 {
                    try compile(node, into: &steps, pattern)
                    break
                }
                let fork = steps.count
                steps.append(.jump(0))
                try compile(node, into: &steps, pattern)
                exits.append(steps.count)
                steps.append(.jump(0))
                steps[fork] = .fork(fork + 1, steps.count)
            }
            for exit in exits { steps[exit] = .jump(steps.count) }
        case .repetition(let node, let least, let most):
            for _ in 0..<least { try compile(node, into: &steps, pattern) }
            guard let most else {
                let fork = steps.count
                steps.append(.jump(0))
                try compile(node, into: &steps, pattern)
                steps.append(.jump(fork))
                steps[fork] = .fork(fork + 1, steps.count)
                return
            }
            var forks: [Int] = []
            for _ in least..<most {
                forks.append(steps.count)
                steps.append(.jump(0))
                try compile(node, into: &steps, pattern)
            }
            for fork in forks { steps[fork] = .fork(fork + 1, steps.count) }
        }
    }
}

/// A set of characters.
struct CharacterClass: Sendable {
    private var ranges: [ClosedRange<UInt32>]
    private var isInverted: Bool

    init(_ ranges: [ClosedRange<UInt32>], isInverted: Bool = false) {
        self.ranges = ranges
        self.isInverted = isInverted
    }

    init(scalar: Unicode.Scalar) { self.init([scalar.value...scalar.value]) }

    /// Every character but a line feed.
    static let any = CharacterClass([0x0A...0x0A], isInverted: true)
    static let digit = CharacterClass([0x30...0x39])
    /// Letters, digits and the underscore; everything beyond ASCII counts as a letter, as nearly all of it is.
    static let word = CharacterClass([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A, 0x80...0x10FFFF])
    static let space = CharacterClass([0x09...0x0D, 0x20...0x20])

    var inverted: CharacterClass { CharacterClass(ranges, isInverted: !isInverted) }

    mutating func formUnion(_ other: CharacterClass) {
        ranges += other.isInverted ? other.complement : other.ranges
    }

    func contains(_ scalar: Unicode.Scalar) -> Bool {
        ranges.contains { $0.contains(scalar.value) } != isInverted
    }

    /// The ranges between the ranges.
    private var complement: [ClosedRange<UInt32>] {
        var result: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if range.lowerBound > next { result.append(next...(range.lowerBound - 1)) }
            next = max(next, range.upperBound + 1)
        }
        if next <= 0x10FFFF { result.append(next...0x10FFFF) }
        return result
    }
}

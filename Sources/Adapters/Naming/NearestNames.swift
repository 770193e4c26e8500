import ByteAccess

/// Which names of a base come nearest to one that it does not have.
///
/// Names are compared by their components. A component that is missing or added costs 120; one in place of another costs 40,
/// and up to 80 more as their spellings, or their numbers, are apart. Of names at one distance those with the longest common
/// end come first, then those that come first in the files.
struct NearestNames {
    private let names: [ExactString]
    private let parts: [[Int]]
    /// The different components, each once.
    private var words: [String] = []

    init(_ names: [ExactString]) {
        self.names = names
        var numbers: [Substring: Int] = [:]
        var words: [String] = []
        parts = names.map { name in
            name.text.split(separator: ".", omittingEmptySubsequences: false).map { word in
                if let number = numbers[word] { return number }
                numbers[word] = words.count
                words.append(String(word))
                return words.count - 1
            }
        }
        self.words = words
    }

    /// At most `count` names, the nearest first; none only where there are no names.
    func nearest(to name: String, count: Int = 3) -> [String] {
        let wanted = name.split(separator: ".", omittingEmptySubsequences: false).map { String($0) }
        var costs = [[Int?]](repeating: [Int?](repeating: nil, count: words.count), count: wanted.count)
        func cost(_ i: Int, _ word: Int) -> Int {
            if let known = costs[i][word] { return known }
            let value = NearestNames.cost(wanted[i], words[word])
            costs[i][word] = value
            return value
        }
        var best: [(distance: Int, end: Int, index: Int)] = []
        // Column j has the distances of the name's first j components from each beginning of what is wanted. Names that follow each
        // other begin alike, and share those columns.
        var columns = [(0...wanted.count).map { 120 * $0 }]
        var before: [Int] = []
        for (index, parts) in parts.enumerated() {
            let shared = zip(before, parts).prefix { $0 == $1 }.count
            columns.removeLast(columns.count - 1 - shared)
            for word in parts[shared...] {
                let last = columns[columns.count - 1]
                var next = [last[0] + 120]
                for i in wanted.indices { next.append(min(last[i] + cost(i, word), last[i + 1] + 120, next[i] + 120)) }
                columns.append(next)
            }
            before = parts
            let distance = columns[parts.count][wanted.count]
            if best.count == count, let worst = best.last, distance > worst.distance { continue }
            let end = zip(wanted.reversed(), parts.reversed()).prefix { $0 == words[$1] }.count
            let position = best.firstIndex { (distance, -end) < ($0.distance, -$0.end) } ?? best.count
            guard position < count else { continue }
            best.insert((distance, end, index), at: position)
            if best.count > count { best.removeLast() }
        }
        return best.map { names[$0.index].text }
    }

    /// What one component in place of another costs.
    private static func cost(_ one: String, _ other: String) -> Int {
        if one == other { return 0 }
        if let a = Int(one), let b = Int(other), let apart = a.subtracted(b) { return 40 + 80 * apart / (apart + 8) }
        let longest = max(one.count, other.count)
        guard longest > 0, longest <= 64 else { return 120 }
        return 40 + 80 * Spelling.distance(one, other) / longest
    }
}

extension Int {
    /// The distance to another number; nil where it is above 2²⁰.
    fileprivate func subtracted(_ other: Int) -> Int? {
        let (value, overflow) = subtractingReportingOverflow(other)
        return overflow || value.magnitude > 1 << 20 ? nil : Int(value.magnitude)
    }
}

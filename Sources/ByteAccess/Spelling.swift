/// What a misspelt word was meant to be.
public enum Spelling {
    /// The word nearest to `word`, letter case aside, where at most a third of its letters differ; nil where none is near.
    ///
    /// The distance counts letters that are missing, added, replaced or exchanged with their neighbour (optimal string
    /// alignment); of several words the first of the smallest distance is taken.
    public static func nearest(to word: String, among words: [String]) -> String? {
        let limit = max(1, word.count / 3)
        let close = words.map { (word: $0, distance: distance(word.lowercased(), $0.lowercased())) }
            .filter { $0.distance <= limit }
        return close.min { $0.distance < $1.distance }?.word
    }

    /// How many letters are missing, added, replaced or exchanged with their neighbour between two words.
    public static func distance(_ one: String, _ other: String) -> Int {
        let (a, b) = (Array(one), Array(other))
        var rows = [Array(0...b.count)]
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var best = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, rows[i - 1][j - 1] + 1) }
                row.append(best)
            }
            rows.append(row)
        }
        return rows[a.count][b.count]
    }
}

import TestSupport

/// A page of `man/`, as far as its macros say what it documents.
struct ManualPage {
    let lines: [String]

    init(_ name: String) throws {
        lines = try TestFile.text("\(Fixtures.repository)/man/\(name).1").split(separator: "\n").map(String.init)
    }

    /// The lines of a section, without its head.
    func section(_ name: String) -> [String] {
        guard let start = lines.firstIndex(of: ".Sh \(name)") else { return [] }
        return Array(lines[(start + 1)...].prefix { !$0.hasPrefix(".Sh ") })
    }

    var sections: [String] { lines.filter { $0.hasPrefix(".Sh ") }.map { String($0.dropFirst(4)) } }

    /// An entry of the OPTIONS list: `.It Fl o , Fl -output Ar out`.
    struct Option: Hashable {
        /// `-o`, `--output`.
        var names: Set<String>
        var value: String?
    }

    var options: [Option] {
        section("OPTIONS").filter { $0.hasPrefix(".It ") }.map { line in
            let words = line.split(separator: " ").map(String.init)
            var names: Set<String> = []
            for (index, word) in words.enumerated() where word == "Fl" && index + 1 < words.count {
                names.insert("-" + words[index + 1])
            }
            return Option(
                names: names, value: words.firstIndex(of: "Ar").map { words[($0 + 1)...].joined(separator: " ") })
        }
    }

    /// The words of an option's paragraph, without macros.
    func description(of option: String) -> [String] {
        let lines = section("OPTIONS")
        guard let start = lines.firstIndex(where: { $0.hasPrefix(".It ") && $0.contains("Fl -\(option)") }) else { return [] }
        return lines[(start + 1)...].prefix { !$0.hasPrefix(".It ") }.joined(separator: " ")
            .split { " .,;".contains($0) }.map(String.init)
    }

    /// Every name that the JSON section sets with `.Va` or `Va`.
    var jsonKeys: Set<String> {
        var keys: Set<String> = []
        for line in section("JSON") where line.hasPrefix(".") {
            var isKey = false
            for word in line.dropFirst().split(separator: " ") {
                switch word {
                case "Va": isKey = true
                case "Fl", "Pq", "Ql", "Pa", "Ar", "Po", "Pc", "Xr": isKey = false
                case ",", ";", ":", ".", "It": break
                default: if isKey { keys.insert(String(word)) }
                }
            }
        }
        return keys
    }
}

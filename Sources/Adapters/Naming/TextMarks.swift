/// Texts that are looked for in names. The first byte of each decides whether it is compared at all: a header may have a hundred
/// thousand names, and nearly none of them holds any.
struct TextMarks: Sendable {
    /// The marks that begin with a byte, at its place.
    private let byFirstByte: [[[UInt8]]]

    /// - Parameter texts: none of them empty.
    init(_ texts: [String]) {
        var table = [[[UInt8]]](repeating: [], count: 256)
        for text in texts {
            let bytes = Array(text.utf8)
            table[Int(bytes[0])].append(bytes)
        }
        byFirstByte = table
    }

    /// Whether `text` begins with one of the marks.
    func begin(_ text: String) -> Bool {
        guard let first = text.utf8.first else { return false }
        return byFirstByte[Int(first)].contains { text.utf8.starts(with: $0) }
    }

    /// Whether one of the marks stands anywhere in `text`.
    func occur(in text: String) -> Bool {
        text.utf8.indices.contains { index in
            let marks = byFirstByte[Int(text.utf8[index])]
            return !marks.isEmpty && marks.contains { text.utf8[index...].starts(with: $0) }
        }
    }
}

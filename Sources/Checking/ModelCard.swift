import ByteAccess

/// `README.md` as far as rules look at it: whether it says anything, and the licence in its front matter.
///
/// The front matter stands between a first line `---` and the next one; of it only keys at the left edge are read, which needs no
/// YAML library. Source: the Hub's "Model cards", section "Model card metadata".
struct ModelCard: Sendable {
    let isEmpty: Bool
    /// The value of `license`; nil where there is none, or where it is empty.
    let license: String?

    /// More than model cards have.
    static let sizeLimit: UInt64 = 16 << 20

    /// Reads a card; nil where there is no file.
    ///
    /// - Throws: ``NotChecked`` where there is something else, or a file that cannot be read.
    init?(path: String) throws {
        guard FileSystem.exists(path) else { return nil }
        guard FileSystem.isRegularFile(path) else { throw NotChecked("\(path.printable) is no file") }
        do { self.init(text: String(decoding: try FileReader(path: path).allBytes(limit: ModelCard.sizeLimit), as: UTF8.self)) }
        catch { throw NotChecked("\(error)") }
    }

    init(text: String) {
        let lines = text.split(whereSeparator: \.isNewline).map(String.init)
        isEmpty = lines.allSatisfy { $0.allSatisfy(\.isWhitespace) }
        var license: String?
        // Behind a byte order mark, too.
        if let first = lines.first, first.drop(while: { $0 == "\u{FEFF}" }).elementsEqual("---") {
            for line in lines.dropFirst().prefix(while: { $0 != "---" }) where line.hasPrefix("license:") {
                let value = line.dropFirst("license:".count).prefix { $0 != "#" }.filter { !$0.isWhitespace && $0 != "\"" && $0 != "'" }
                if !value.isEmpty, value != "~", value != "null" { license = value }
            }
        }
        self.license = license
    }
}

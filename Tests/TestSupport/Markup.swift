/// A page read by rules stricter than a browser's: every element closed, every attribute quoted, every reference known. It is
/// XML then, and HTML where what HTML does not let stand empty is not written so.
public struct Markup {
    public struct Element {
        public var name: String
        public var attributes: [String: String]
        public var text = ""
        public var children: [Element] = []

        /// The element and all below it.
        public var all: [Element] { [self] + children.flatMap(\.all) }
        /// The text of the element and of all below it.
        public var wholeText: String { text + children.map(\.wholeText).filter { !$0.isEmpty }.joined(separator: " ") }
    }

    public let root: Element

    public init(_ page: String) throws {
        var reader = Reader(page)
        try reader.expect("<!DOCTYPE html>")
        reader.skipSpace()
        root = try reader.element(inSVG: false)
        reader.skipSpace()
        guard reader.isAtEnd else { throw TestSupportError("something follows </\(root.name)>") }
        let ids = root.all.compactMap { $0.attributes["id"] }
        guard Set(ids).count == ids.count else { throw TestSupportError("two elements share an id") }
    }

    private struct Reader {
        private let scalars: [Unicode.Scalar]
        private var position = 0

        init(_ page: String) { scalars = Array(page.unicodeScalars) }

        var isAtEnd: Bool { position == scalars.count }
        private var next: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

        private func starts(_ text: String) -> Bool { scalars[position...].starts(with: text.unicodeScalars) }

        mutating func expect(_ text: String) throws {
            guard starts(text) else {
                let found = String(String.UnicodeScalarView(scalars[position...].prefix(40)))
                throw TestSupportError("\(text) is expected at scalar \(position), and there is \(found)")
            }
            position += text.unicodeScalars.count
        }

        mutating func skipSpace() {
            while let scalar = next, scalar.properties.isWhitespace { position += 1 }
        }

        private mutating func word() throws -> String {
            var result = String.UnicodeScalarView()
            while let scalar = next, scalar.properties.isAlphabetic || scalar == "-" || ("0"..."9").contains(scalar) {
                result.append(scalar)
                position += 1
            }
            guard !result.isEmpty else { throw TestSupportError("a name is expected at scalar \(position)") }
            return String(result)
        }

        /// Text up to `end`, with its references resolved.
        private mutating func text(until end: Unicode.Scalar) throws -> String {
            var result = String.UnicodeScalarView()
            while let scalar = next, scalar != end {
                guard scalar != "<", scalar != ">" else { throw TestSupportError("a bare \(scalar) at scalar \(position)") }
                guard scalar.value >= 0x20 || scalar == "\n" else { throw TestSupportError("a control character at \(position)") }
                position += 1
                guard scalar == "&" else {
                    result.append(scalar)
                    continue
                }
                let known: [(String, Unicode.Scalar)] = [
                    ("amp;", "&"), ("lt;", "<"), ("gt;", ">"), ("quot;", "\""), ("#39;", "'"),
                ]
                guard let found = known.first(where: { starts($0.0) }) else {
                    throw TestSupportError("an unknown reference at scalar \(position)")
                }
                result.append(found.1)
                position += found.0.unicodeScalars.count
            }
            return String(result)
        }

        mutating func element(inSVG: Bool) throws -> Element {
            try expect("<")
            var element = Element(name: try word(), attributes: [:])
            let isSVG = inSVG || element.name == "svg"
            while true {
                skipSpace()
                if starts("/>") {
                    guard inSVG || ["meta", "br", "wbr"].contains(element.name) else {
                        throw TestSupportError("<\(element.name)/> is not empty to a browser")
                    }
                    position += 2
                    return element
                }
                if starts(">") { break }
                let name = try word()
                try expect("=\"")
                guard element.attributes[name] == nil else { throw TestSupportError("\(name) stands twice") }
                element.attributes[name] = try text(until: "\"")
                try expect("\"")
            }
            try expect(">")
            if element.name == "style" {
                // Rules hold what text may not, and nothing that ends them early.
                while !starts("</style>"), !isAtEnd {
                    element.text.unicodeScalars.append(scalars[position])
                    position += 1
                }
            }
            while !starts("</") {
                guard !isAtEnd else { throw TestSupportError("<\(element.name)> is not closed") }
                if next == "<" {
                    element.children.append(try self.element(inSVG: isSVG))
                } else {
                    element.text += try text(until: "<")
                }
            }
            try expect("</\(element.name)>")
            return element
        }
    }
}

import Peftfile

/// A piece of a page, well-formed as XML too. What comes from outside enters as text or as an attribute's value, and both
/// are escaped here and nowhere else.
struct HTML {
    private(set) var markup: String

    private init(markup: String) { self.markup = markup }

    /// Text as it is to be read: control characters and those that turn the direction of a line are spelt out.
    static func text(_ text: String) -> HTML { HTML(markup: escaped(text.printable)) }

    /// The contents of `style`, which are the house's own.
    static func style(_ sheet: String) -> HTML { HTML(markup: "<style>\n\(sheet)</style>\n") }

    /// A name of parts with dots between, which a narrow page breaks behind a dot rather than in a word.
    static func name(_ text: String) -> [HTML] {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.enumerated().flatMap { index, part in
            index < parts.count - 1 ? [.text("\(part)."), .element("wbr")] : [.text(String(part))]
        }
    }

    typealias Attributes = KeyValuePairs<String, String>

    static func element(_ name: String, _ attributes: Attributes = [:], of children: [HTML] = []) -> HTML {
        var open = "<" + name
        for (key, value) in attributes { open += " \(key)=\"\(escaped(value.printable))\"" }
        guard !children.isEmpty || !empty.contains(name) else { return HTML(markup: open + "/>" + ending(name)) }
        return HTML(markup: open + ">" + children.map(\.markup).joined() + "</\(name)>" + ending(name))
    }

    static func element(_ name: String, _ attributes: Attributes = [:], text: String) -> HTML {
        element(name, attributes, of: [.text(text)])
    }

    /// Elements that HTML closes by themselves, and those of SVG that hold nothing.
    private static let empty: Set<String> = ["meta", "line", "circle", "polyline", "rect", "br", "wbr"]
    private static let blocks: Set<String> = [
        "tr", "section", "figure", "table", "tbody", "thead", "p", "svg", "details", "div", "ul", "li", "dl", "header", "footer", "main",
        "head", "body", "title", "meta", "h1", "h2", "h3", "summary", "caption", "polyline", "circle", "figcaption",
    ]

    private static func ending(_ name: String) -> String { blocks.contains(name) ? "\n" : "" }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

extension HTML {
    /// A table that scrolls by itself where it is wider than the page, with columns of numbers to the right.
    static func table(_ caption: String, _ header: [String], _ rows: [[String]], numbers: Set<Int>) -> HTML {
        func row(_ cells: [String], _ cell: (Int, String) -> HTML) -> HTML {
            .element("tr", of: cells.enumerated().map { cell($0.offset, $0.element) })
        }
        func title(_ column: Int, _ text: String) -> HTML {
            .element("th", numbers.contains(column) ? ["scope": "col", "class": "n"] : ["scope": "col"], text: text)
        }
        func cell(_ column: Int, _ text: String) -> HTML {
            if column == 0 { return .element("th", ["scope": "row"], of: name(text)) }
            return .element("td", numbers.contains(column) ? ["class": "n"] : [:], text: text)
        }
        let head = HTML.element("thead", of: [row(header, title)])
        let body = HTML.element("tbody", of: rows.map { row($0, cell) })
        return scrolling(caption, .element("table", ["class": "figures"], of: [.element("caption", text: caption), head, body]))
    }

    /// What may be wider than the page, in a frame that a keyboard can scroll too.
    static func scrolling(_ label: String, _ content: HTML) -> HTML {
        .element("div", ["class": "scroll", "role": "region", "aria-label": label, "tabindex": "0"], of: [content])
    }

    /// What stands behind a picture, folded away.
    static func behind(_ summary: String, _ content: [HTML]) -> HTML {
        .element("details", of: [.element("summary", text: summary)] + content)
    }
}

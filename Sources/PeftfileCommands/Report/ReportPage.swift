import Peftfile

/// One page about an adapter or a merge: pictures with the figures behind them, in one file that needs nothing else.
///
/// No scripts, no fonts, no network: the content security policy allows the page's own style sheet and nothing more. The same
/// inputs give the same bytes: no time, no host, and of paths the last part alone.
struct ReportPage {
    /// What made it: `inspect` or `merge`.
    let command: String
    let title: String
    let facts: [(key: String, value: String)]
    let warnings: [String]
    let spectrum: SpectrumReport
    /// Nil without a base.
    let changes: [WeightChange]?

    var text: String {
        let body = HTML.element("body", of: [.element("main", of: [header] + sections + [foot])])
        return "<!DOCTYPE html>\n" + HTML.element("html", ["lang": "en"], of: [head, body]).markup + "\n"
    }

    private var head: HTML {
        let policy = "default-src 'none'; style-src 'unsafe-inline'"
        return .element(
            "head",
            of: [
                .element("meta", ["charset": "utf-8"]),
                .element("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"]),
                .element("meta", ["name": "color-scheme", "content": "light dark"]),
                .element("meta", ["http-equiv": "Content-Security-Policy", "content": policy]),
                .element("title", text: "\(title): peftfile \(command)"),
                .style(ReportStyle.sheet),
            ])
    }

    private var header: HTML {
        let list = facts.map { fact in
            HTML.element("div", of: [.element("dt", text: fact.key), .element("dd", text: fact.value)])
        }
        var parts: [HTML] = [
            .element("p", ["class": "eyebrow"], text: "peftfile \(command)"), .element("h1", text: title),
            .element("dl", of: list),
        ]
        if !warnings.isEmpty {
            let lines = HTML.element("ul", of: warnings.map { HTML.element("li", text: $0) })
            parts.append(.behind(Text.counted(warnings.count, "warning"), [lines]))
        }
        return .element("header", of: parts)
    }

    private var sections: [HTML] {
        var result: [HTML] = []
        if let map = SpectrumSection.map(spectrum, changes) {
            result.append(HeatMapFigure(map: map, changes: changes, spectrum: spectrum).section)
        }
        result.append(SpectraFigure(report: spectrum).section)
        result.append(SurvivalFigure(changes: changes).section)
        return result
    }

    private var foot: HTML {
        .element("footer", of: [.element("p", text: "Made by peftfile \(Receipt.toolVersion). Norms are Frobenius norms.")])
    }

    /// The last part of a path, which is all that a page says of a place; of what lies in the Hub's cache the id and the commit.
    static func name(of path: String) -> String {
        if HubOrigin(of: path) != nil { return Text.place(path) }
        var path = path
        while path.hasSuffix("/"), path.count > 1 { path.removeLast() }
        return FileSystem.fileName(of: path)
    }

    /// Refuses a place for the page before any work is done.
    ///
    /// - Parameter made: a directory that the command makes first, in which the page may lie.
    static func requirePlace(_ path: String, inputs: [String], replacing: Bool, made: String? = nil) throws {
        try InputPaths.requireOutsideCache(path)
        guard path != "-" else {
            throw PeftfileError(.usage, "the report is a file, and - is none", rule: "ReportPlace", help: "--report report.html")
        }
        if FileSystem.isDirectory(path) {
            throw PeftfileError(
                .exists, "is a directory, and the report is one file", file: path, rule: "ReportPlace",
                help: "--report \(FileSystem.join(path, "report.html").shellQuoted)")
        }
        guard !FileSystem.exists(path) || FileSystem.isRegularFile(path) else {
            throw PeftfileError(.refused, "is no regular file, and the report is one", file: path, rule: "ReportPlace")
        }
        let parent = FileSystem.directory(of: path)
        let isMade = made.map { path.hasPrefix($0.hasSuffix("/") ? $0 : $0 + "/") && parent == ($0.hasSuffix("/") ? String($0.dropLast()) : $0) } ?? false
        guard isMade || FileSystem.isDirectory(parent) else {
            throw PeftfileError(
                .notFound, "the directory that is to hold the report does not exist", file: path, rule: "ParentMissing",
                help: "mkdir -p \(parent.shellQuoted)")
        }
        guard FileSystem.exists(path) else { return }
        for input in inputs where FileSystem.exists(input) {
            let (own, other) = (try FileSystem.resolved(path), try FileSystem.resolved(input))
            let isReport = own.hasSuffix(".html")
            guard own != other, !own.hasPrefix(other + "/") || isReport else {
                throw PeftfileError(
                    .refused, "is an input and is never written over", file: path, rule: "OutputIsInput",
                    help: "choose another place for the report")
            }
        }
        guard replacing else {
            throw PeftfileError(.exists, "exists already", file: path, help: "choose another place for the report or give --force")
        }
    }

    /// Writes the page, whole or not at all.
    func write(to path: String, replacing: Bool) throws {
        try FileWriter.write(Array(text.utf8), to: path, replacing: replacing)
    }
}

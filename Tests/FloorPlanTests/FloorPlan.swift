import Foundation

/// The table of `Sources/README.md`, and the source files that it rules.
struct FloorPlan {
    /// A row: what a module may import.
    struct Floor {
        var module: String
        var package: Set<String>
        var outside: Set<String>
    }

    /// A source file, with its path below `Sources/`.
    struct SourceFile {
        var path: String
        var module: String
        var text: String
        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
    }

    static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    let floors: [Floor]
    let files: [SourceFile]

    init() throws {
        let page = try FloorPlan.text("Sources/README.md")
        guard let start = page.range(of: "## Who imports what"), let end = page.range(of: "## Reasons") else {
            throw CocoaError(.fileReadCorruptFile)
        }
        floors = page[start.upperBound..<end.lowerBound].split(separator: "\n").compactMap { line in
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
                .map { FloorPlan.words($0) }
            guard cells.count == 3, cells[0].count == 1 else { return nil }
            return Floor(module: cells[0][0], package: Set(cells[1]), outside: Set(cells[2]))
        }
        let sources = FloorPlan.repository.appendingPathComponent("Sources")
        let paths = try FileManager.default.subpathsOfDirectory(atPath: sources.path).sorted()
        files = try paths.filter { path in [".swift", ".c", ".h"].contains { path.hasSuffix($0) } }.map { path in
            SourceFile(
                path: path, module: String(path.prefix { $0 != "/" }), text: try FloorPlan.text("Sources/\(path)"))
        }
    }

    static func text(_ path: String) throws -> String {
        try String(contentsOf: repository.appendingPathComponent(path), encoding: .utf8)
    }

    /// The words between backquotes.
    static func words(_ cell: Substring) -> [String] {
        cell.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            .compactMap { $0.offset % 2 == 1 ? String($0.element) : nil }
    }

    /// The modules that a Swift file imports: `import A`, `@_exported public import A`, `import struct A.B`.
    static func imports(of file: SourceFile) -> [String] {
        let import_ = /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+(?:(?:struct|class|enum|protocol|typealias|func|var|let|actor)\s+)?(\w+)/
        return file.lines.compactMap { line in line.firstMatch(of: import_).map { String($0.1) } }
    }

    /// The dependencies that the manifest declares for a target, without those of other packages.
    static func declared(_ module: String, manifest: String) -> Set<String>? {
        guard let start = manifest.range(of: "name: \"\(module)\"", options: .backwards)?.upperBound else { return nil }
        // The arguments of this target end where the next target begins.
        let rest = manifest[start...]
        let end = rest.range(of: #"\.(target|executableTarget|testTarget|systemLibrary)\("#, options: .regularExpression)
        let arguments = rest[..<(end?.lowerBound ?? rest.endIndex)]
        guard let list = arguments.firstMatch(of: /dependencies:\s*\[(?<names>(?:[^\[\]])*)\]/) else { return [] }
        let names = list.names.replacing(/\.product\([^)]*\)/, with: "")
        return Set(names.matches(of: /"(\w+)"/).map { String($0.1) })
    }
}

import Foundation
import TestSupport
import Testing

/// The library as its documentation shows it: every public symbol under the one import.
@Suite struct DocumentationTests {
    /// What of a symbol graph is read here.
    struct Graph: Decodable {
        struct Symbol: Decodable {
            struct Kind: Decodable { var identifier: String }
            struct Comment: Decodable { var lines: [Line] }
            struct Line: Decodable { var text: String }
            struct Location: Decodable { var uri: String }
            struct Fragment: Decodable { var kind: String, spelling: String }
            var kind: Kind
            var pathComponents: [String]
            var docComment: Comment?
            var location: Location?
            var declarationFragments: [Fragment]?

            /// Whether its declaration says that it, or what it is given, throws.
            var throwsErrors: Bool {
                (declarationFragments ?? []).contains { $0.kind == "keyword" && $0.spelling == "throws" }
            }
        }
        var symbols: [Symbol]
    }

    static let build = URL(filePath: Tool.path).deletingLastPathComponent().path()

    /// Runs a script of `Packaging/`, and returns what it printed where it failed.
    static func run(_ script: String, _ arguments: [String]) throws -> String? {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["bash", "\(Fixtures.repository)/Packaging/\(script)"] + arguments
        let directory = try TemporaryDirectory()
        let log = directory.path("log")
        FileManager.default.createFile(atPath: log, contents: nil)
        let handle = FileHandle(forWritingAtPath: log)
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus == 0 ? nil : try TestFile.text(log)
    }

    /// Initialisers too: the properties of a type do not say what its defaults mean, nor what a caller makes one for.
    @Test func everyPublicSymbolIsDocumented() throws {
        let directory = try TemporaryDirectory()
        let failure = try Self.run("symbols", [Self.build, directory.path])
        try #require(failure == nil, "\(failure ?? "")")
        let data = try Data(contentsOf: URL(filePath: directory.path("Peftfile.symbols.json")))
        let symbols = try JSONDecoder().decode(Graph.self, from: data).symbols
        #expect(symbols.count > 1500)
        var missing: [String] = [], silent: [String] = []
        for symbol in symbols where symbol.location != nil {
            if symbol.docComment?.lines.contains(where: { !$0.text.isEmpty }) == true {
                if symbol.throwsErrors, symbol.docComment?.lines.contains(where: { $0.text.lowercased().contains("throw") }) == false {
                    silent.append(symbol.pathComponents.joined(separator: "."))
                }
                continue
            }
            missing.append(symbol.pathComponents.joined(separator: "."))
        }
        #expect(silent.isEmpty, "without what it throws: \(silent.sorted().joined(separator: ", "))")
        #expect(missing.isEmpty, "without a doc comment: \(missing.sorted().joined(separator: ", "))")
    }

    static let hasDocC = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").contains {
        FileManager.default.isExecutableFile(atPath: "\($0)/docc")
    }

    /// Articles and doc comments, with every link between them.
    @Test(.enabled(if: hasDocC)) func documentationBuildsWithoutWarnings() throws {
        let directory = try TemporaryDirectory()
        let failure = try Self.run("docs", [Self.build, directory.path("Peftfile.doccarchive")])
        #expect(failure == nil, "\(failure ?? "")")
        for page in ["peftfile", "peftfile/inspectandmerge", "peftfile/checkrule", "peftfile/checkpoint/tensors"] {
            let path = directory.path("Peftfile.doccarchive/data/documentation/\(page).json")
            #expect(FileManager.default.fileExists(atPath: path), "\(page)")
        }
    }
}

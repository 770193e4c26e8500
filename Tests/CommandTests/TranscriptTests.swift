import Foundation
import TestSupport
import Testing

/// What the commands print, compared byte for byte with transcripts that people have read.
///
/// A transcript is a list of commands (`$ peftfile …`) with what each prints: stdout as it is, stderr behind `! `, then
/// `[status]`. `$TMP` stands for a fresh directory, shared by the commands of one transcript. After a wanted change,
/// `PEFTFILE_RECORD=1 swift test --filter TranscriptTests` writes them anew; read the difference before committing it.
@Suite struct TranscriptTests {
    static let directory = Fixtures.repository + "/Tests/CommandTests/Transcripts"
    static let names = ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [])
        .filter { $0.hasSuffix(".txt") }.sorted()

    /// Figures of `verify` and `diff` come from OpenBLAS, whose last digits depend on its build: six decimals of them count.
    static func withoutLastDigits(_ text: String) -> String { text.replacing(/(\.\d{6})\d+/) { $0.1 } }

    @Test func transcriptsAreThere() { #expect(Self.names.count >= 8) }

    @Test(arguments: names) func printsWhatTheTranscriptSays(_ name: String) throws {
        let path = "\(Self.directory)/\(name)"
        let wanted = try TestFile.text(path)
        let temporary = try TemporaryDirectory()
        var printed = ""
        for line in wanted.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("# ") { printed += line + "\n" }
            guard line.hasPrefix("$ peftfile ") else { continue }
            let words = line.dropFirst("$ peftfile ".count).split(separator: " ")
                .map { String($0.replacing("$TMP", with: temporary.path)) }
            let result = try Tool.run(words, environment: ["HF_HUB_CACHE": temporary.path("hub"), "LC_ALL": "C.UTF-8"])
            printed += line + "\n"
            // What is free on the disk is the machine's.
            let output = result.output.replacing(temporary.path, with: "$TMP")
                .replacing(/(  disk     ).* free/) { "\($0.1)$FREE free" }
                .replacing(/("free_bytes": )\d+/) { "\($0.1)$FREE" }
            printed += ["verify", "diff"].contains(words.first) ? Self.withoutLastDigits(output) : output
            for line in result.errors.replacing(temporary.path, with: "$TMP").split(separator: "\n") {
                printed += "! \(line)\n"
            }
            printed += "[\(result.status)]\n\n"
        }
        if ProcessInfo.processInfo.environment["PEFTFILE_RECORD"] != nil {
            try TestFile.write(printed, to: path)
        } else {
            #expect(printed == wanted)
        }
    }
}

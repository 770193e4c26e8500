@testable import ByteAccess
import CYAML
import TestSupport
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

@Suite struct LocatedDocumentTests {
    private func read(_ text: String) throws -> LocatedDocument { try LocatedDocument(Array(text.utf8), file: "settings") }

    private func error(_ text: String) -> PeftfileError? {
        do {
            _ = try read(text)
            return nil
        } catch { return error as? PeftfileError }
    }

    @Test func readsBlocksAndFlows() throws {
        let text = """
            # a comment
            name: check
            list:
              - one
              - "2"
              - 3
            flow: {a: [1, -2.5e3], b: ~}
            block: |
              two
              lines
            empty:
            """
        #expect(
            try read(text).value == [
                "name": "check", "list": ["one", "2", 3],
                "flow": ["a": .array([1, .number(JSONNumber(text: "-2.5e3"))]), "b": nil],
                "block": "two\nlines\n", "empty": nil,
            ])
    }

    /// What YAML 1.1 reads as booleans, dates, octal and sexagesimal numbers is text; only what JSON knows is more.
    @Test(arguments: [
        "no", "No", "NO", "yes", "on", "off", "y", "n", "2026-01-31", "2026-01-31T10:00:00Z", "012", "0x1F", "0o17", "1_000",
        "+1", ".5", "5.", ".inf", ".nan", "-.inf", "12:30:45", "1.2.3", "500MB", "truE", "nULL", "--", "=", "<<", "1e999",
    ])
    func ambiguousScalarsAreText(_ text: String) throws {
        #expect(try read("key: \(text)").value["key"] == .string(text))
        #expect(try read("\(text): 1").value.objectValue?.keys == [ExactString(text)])
    }

    @Test(arguments: ["true", "12", "null", "~", "no"]) func quotesMakeText(_ text: String) throws {
        #expect(try read("a: '\(text)'\nb: \"\(text)\"\n").value == ["a": .string(text), "b": .string(text)])
    }

    @Test func linesAreThoseOfTheKeysAndElements() throws {
        for text in ["\na: 1\nb:\n  - x\n  - c: 2\n", "\n{\"a\": 1,\n\"b\": [\n\"x\",\n{\"c\": 2}]}\n"] {
            let document = try read(text)
            let b = LocatedDocument.Step.key("b")
            #expect(document.line(of: [.key("a")]) == 2)
            #expect(document.line(of: [b]) == 3)
            #expect(document.line(of: [b, .index(0)]) == 4)
            #expect(document.line(of: [b, .index(1), .key("c")]) == 5)
            // The nearest that is known.
            #expect(document.line(of: [b, .index(1), .key("d")]) == 5)
            #expect(document.line(of: [.key("z")]) == 1)
        }
    }

    @Test(arguments: [
        ("a: 1\nb: 2\na: 3\n", 3, "DuplicateKey"), ("{\"a\": 1,\n\"\\u0061\": 2}", 2, "DuplicateKey"),
        ("a:\n  b: 1\n  b: 2\n", 3, "DuplicateKey"), ("a: 1\n\tb: 2\n", 2, "InvalidYAML"), ("a: 1\n---\nb: 2\n", 2, "InvalidYAML"),
        ("a: &x 1\nb: *x\n", 1, "InvalidYAML"), ("a: *.weight\n", 1, "InvalidYAML"), ("a: !!str 1\n", 1, "InvalidYAML"),
        ("a: !x\n", 1, "InvalidYAML"), ("? [a]\n: 1\n", 1, "InvalidYAML"), ("a: [1\nb: 2\n", 2, "InvalidYAML"),
        ("a: 'open\n", 2, "InvalidYAML"), ("a: b: c\n", 1, "InvalidYAML"), ("%YAML 3.0\n---\na: 1\n", 1, "InvalidYAML"),
    ])
    func whatIsNotReadHasALine(_ text: String, _ line: Int, _ rule: String) {
        let error = error(text)
        #expect(error?.rule == rule && error?.message.hasPrefix("line \(line): ") == true, "\(String(describing: error))")
        #expect(error?.code == .malformed && error?.file == "settings")
    }

    /// Nine levels of nine aliases each would be 387 million values.
    @Test func bombsDoNotGoOff() {
        var text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
        for (name, last) in zip("bcdefghi", "abcdefgh") {
            text += "\(name): &\(name) [\(Array(repeating: "*\(last)", count: 9).joined(separator: ", "))]\n"
        }
        #expect(error(text)?.rule == "InvalidYAML")
    }

    @Test func depthAndSizeAreBounded() throws {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("{\"a\": ", "}")] {
            func nested(_ levels: Int) -> String {
                "{\"k\": " + String(repeating: open, count: levels) + "1" + String(repeating: close, count: levels) + "}"
            }
            if !open.contains("a:") {
                #expect(throws: Never.self) { try read(nested(LocatedDocument.depthLimit - 1)) }
                #expect(error(nested(LocatedDocument.depthLimit + 1))?.rule == "DocumentDepth")
            }
            let yaml = nested(100_000).utf8.dropFirst()
            #expect(error("# yaml\n{" + String(Substring(yaml)))?.rule == "DocumentDepth")
        }
        let directory = try TemporaryDirectory()
        let path = try directory.write([UInt8](repeating: 0x20, count: LocatedDocument.sizeLimit + 1), to: "large")
        #expect { try LocatedDocument(path: path) } throws: { ($0 as? PeftfileError)?.rule == "DocumentSize" }
    }

    @Test func nothingIsNull() throws {
        for text in ["", "\n\n", "# only a comment\n", "---\n", "---\n...\n"] { #expect(try read(text).value == .null) }
    }

    @Test func notUTF8IsRefused() {
        #expect { try LocatedDocument([0x61, 0x3A, 0x20, 0xFF]) } throws: { ($0 as? PeftfileError)?.rule == "InvalidUTF8" }
        #expect { try LocatedDocument([0xFF, 0xFE, 0x61, 0]) } throws: { ($0 as? PeftfileError)?.rule == "InvalidUTF8" }
    }

    // MARK: Two readers of one text

    private static func random(_ generator: inout SplitMix64, depth: Int = 0) -> JSONValue {
        let words = ["a", "no", "", "ü", "two words", "1", "#x", "-", "a: b", "\"q\"", "back\\slash", "tab\t", "line\nbreak", "😀"]
        switch generator.next() % (depth < 4 ? 7 : 5) {
        case 0: return nil
        case 1: return .bool(generator.next() % 2 == 0)
        case 2: return .number(JSONNumber(Int(generator.next() % 2000) - 1000))
        case 3: return .number(JSONNumber(Double(generator.next() % 4096) / 64 + 0.5))
        case 4: return .string(words[Int(generator.next() % UInt64(words.count))])
        case 5: return .array((0..<generator.next() % 4).map { _ in random(&generator, depth: depth + 1) })
        default:
            return .object(
                JSONObject((0..<generator.next() % 4).map { (ExactString("\(words[Int($0)])\($0)"), random(&generator, depth: depth + 1)) }))
        }
    }

    /// JSON is YAML, so the JSON reader of the house and libyaml must see the same in it.
    @Test func bothReadersSeeTheSame() throws {
        var generator = SplitMix64(seed: 20_261_124)
        for _ in 0..<500 {
            let value: JSONValue = ["k": Self.random(&generator)]
            for indent in [nil, 2] {
                let text = value.serialized(indent: indent)
                #expect(try LocatedDocument(json: Array(text.utf8), file: nil).value == value)
                #expect(try LocatedDocument(yaml: Array(text.utf8), file: nil).value == value, "\(text)")
            }
        }
    }

    /// No change of a document brings the reader down; what it says is an error with a place.
    @Test func mutationsAreReadOrRefused() {
        let seed = Array("rules:\n  nan: error\nlist: [a, \"b\", {c: 1}]\nignore:\n  - rule: x\n    reason: |\n      text\n".utf8)
        let signs = Array("{}[]:,-?&*!|>'\"%@`#\t\n \\~=<\u{0}\u{85}".utf8)
        var generator = SplitMix64(seed: 7)
        for _ in 0..<3000 {
            var bytes = seed
            for _ in 0...generator.next() % 3 {
                let index = Int(generator.next() % UInt64(bytes.count))
                switch generator.next() % 3 {
                case 0: bytes[index] = signs[Int(generator.next() % UInt64(signs.count))]
                case 1: bytes.remove(at: index)
                default: bytes.insert(signs[Int(generator.next() % UInt64(signs.count))], at: index)
                }
            }
            do { _ = try LocatedDocument(bytes) } catch { #expect(error is PeftfileError) }
        }
    }

    // MARK: The library

    @Test func aMissingLibrarySaysWhatToInstall() throws {
        let library = try #require(cy_open("/nowhere/libyaml-0.so.2"))
        defer { cy_forget(library) }
        #expect { try LocatedDocument(yaml: Array("a: 1".utf8), file: "p", library: library) } throws: {
            let error = $0 as? PeftfileError
            return error?.code == .library && error?.help?.contains("libyaml-0-2") == true
                && error?.message.contains("/nowhere/libyaml-0.so.2") == true
        }
    }

    #if os(Linux)
    @Test func aLibraryWithoutTheFunctionsIsNamed() throws {
        let library = try #require(cy_open("libm.so.6"))
        defer { cy_forget(library) }
        #expect { try LocatedDocument(yaml: [], file: nil, library: library) } throws: {
            ($0 as? PeftfileError)?.message.contains("yaml_parser_initialize") == true
        }
    }
    #endif

    @Test func jsonNeedsNoLibrary() async {
        await #expect(processExitsWith: .success) {
            setenv("PEFTFILE_LIBYAML", "/nowhere/libyaml-0.so.2", 1)
            #expect((try? LocatedDocument(Array("{\"a\": 1}".utf8)))?.value == ["a": 1])
            #expect { try LocatedDocument(Array("a: 1".utf8)) } throws: { ($0 as? PeftfileError)?.code == .library }
        }
    }
}

import Adapters
import ByteAccess
import Foundation
import TestSupport
import Testing

/// `Formats/methods.md`, which is made of the doc comments of the method files and of the fixtures' figures.
///
/// After a change to a method's doc comment, `PEFTFILE_RECORD=1 swift test --disable-xctest --filter MethodPageTests` writes
/// the page anew.
@Suite struct MethodPageTests {
    static let path = "\(Fixtures.repository)/Formats/methods.md"
    static let command = "PEFTFILE_RECORD=1 swift test --disable-xctest --filter MethodPageTests"

    @Test func thePageIsWhatTheSourcesSay() throws {
        let page = try MethodPage().text
        if ProcessInfo.processInfo.environment["PEFTFILE_RECORD"] != nil {
            try TestFile.write(page, to: Self.path)
        } else {
            let written = try TestFile.text(Self.path)
            #expect(written == page, "the page is out of date; run \(Self.command)")
        }
    }

    /// Every method says what a reader of its files needs.
    @Test func everyMethodStatesFormulaOrderConfigAndSource() throws {
        for method in MethodPage.methods {
            let text = try MethodPage.comment(of: method)
            for part in ["    ", "Config: ", "Source: ", "`"] { #expect(text.contains(part), "\(method) lacks \"\(part)\"") }
        }
    }
}

/// The page's text.
struct MethodPage {
    /// The type names of the methods with a file of their own, in the registry's order.
    static let methods = MethodRegistry.methods.map { "\(type(of: $0))" }
        .filter { $0 != "UnmergeableMethod" }

    var text: String {
        get throws {
            """
            # Methods of PEFT

            How each `peft_type` is merged, or why it is not. Keys are given without `base_model.model.<module>.` and `peft` 0.21 is
            the library that they are held against. W is a layer's weight (out, in), a kernel's (out, in·k…); × is the matrix product,
            ⊙ the product of elements. A merged element is the formula in float64, evaluated in the order that is stated, rounded once.

            This page is made of the doc comments in `Sources/Adapters/Methods` and of the fixtures' figures. A test holds it to them,
            and `\(MethodPageTests.command)` writes it anew.

            \(try table)

            \(try Self.methods.map(section).joined(separator: "\n\n"))

            ## Not merged

            \(try refusals)

            ## Errata

            \(try errata)

            """
        }
    }

    // MARK: Sections

    private var table: String {
        get throws {
            var rows = ["| `peft_type` | method | |", "|---|---|---|"]
            for method in MethodRegistry.methods {
                let type = "\(Swift.type(of: method))"
                for name in method.peftTypes {
                    if Self.methods.contains(type) {
                        rows.append("| `\(name)` | [\(type)](#\(type.lowercased())) | merged |")
                    } else {
                        rows.append("| `\(name)` | | [refused](#not-merged) |")
                    }
                }
            }
            return rows.joined(separator: "\n")
        }
    }

    private func section(_ method: String) throws -> String { "## \(method)\n\n\(try Self.comment(of: method))" }

    /// The doc comment above `struct NAME:` in its file, as Markdown.
    static func comment(of method: String) throws -> String {
        let text = try TestFile.text("\(Fixtures.repository)/Sources/Adapters/Methods/\(method).swift")
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let end = try #require(lines.firstIndex { $0.hasPrefix("struct \(method): ") })
        let start = lines[..<end].lastIndex { !$0.hasPrefix("///") }.map { $0 + 1 } ?? 0
        return lines[start..<end].map { line in
            String(line.dropFirst(line.hasPrefix("/// ") ? 4 : 3)).replacing(/``(\w+)(?:\/\w+)?``/) { "`\($0.1)`" }
        }.joined(separator: "\n")
    }

    private var refusals: String {
        get throws {
            var rows = ["| `peft_type` | why |", "|---|---|"]
            for method in MethodRegistry.methods where "\(type(of: method))" == "UnmergeableMethod" {
                let fields = Dictionary(uniqueKeysWithValues: Mirror(reflecting: method).children.map { ($0.label ?? "", $0.value) })
                let reason = try #require(fields["reason"] as? String)
                rows.append("| \(method.peftTypes.map { "`\($0)`" }.joined(separator: ", ")) | \(reason) |")
            }
            rows.append("| `LORA` with `alora_invocation_tokens` | activated LoRA acts on the tokens after its invocation alone |")
            rows.append("| `LORA` with `arrow_config` | Arrow's router picks experts for each token |")
            rows.append("| `POLY` without `--task` | a router mixes its skills for each task, so there is one weight for every task |")
            rows.append("| `LORA` on a grouped convolution | the library has no merged form either |")
            return rows.joined(separator: "\n")
        }
    }

    // MARK: Errata

    private static func isMerged(_ type: String) -> Bool {
        MethodRegistry.method(named: type).map { methods.contains("\(Swift.type(of: $0))") } ?? false
    }

    private struct Case {
        let name: String
        let type: String
        let distance: Double
        let share: Double
        let defect: String?
    }

    private func cases() throws -> [Case] {
        let names = try FileManager.default.contentsOfDirectory(atPath: Fixtures.path("merge")).sorted()
        return try names.filter { $0 != "index.json" }.compactMap { name in
            let file = try JSONValue.parse(TestFile.bytes(Fixtures.path("merge/\(name)/case.json")), file: nil)
            guard file["must_refuse"]?.boolValue != true, let type = file["peft_type"]?.stringValue,
                let distance = file["peft_distance"]?["scaled_ulp"]?.doubleValue,
                let share = file["peft_distance"]?["frac_differing"]?.doubleValue
            else { return nil }
            return Case(
                name: name, type: type, distance: distance, share: share, defect: file["known_library_defect"]?.stringValue)
        }
    }

    private var errata: String {
        get throws {
            let cases = try cases()
            var lines = [
                "Where the library's merge is wrong, or is not what its own unmerged model computes, the fixtures expect the unmerged",
                "model's answer, and so does this tool:", "",
            ]
            for entry in cases {
                guard let defect = entry.defect else { continue }
                lines.append("- `\(entry.type)`, case `\(entry.name)`: \(defect).")
            }
            lines += [
                "", "Where it is right, it sums in float32 or in the base's dtype and rounds on the way. How far its merge lies from the",
                "float64 value, in units of the last place of the tensor's largest element, and how many elements differ from the",
                "correctly rounded ones; this tool is within half a unit, or within the tolerance that `case.json` states where the",
                "library decomposes the base in float32:", "",
                "| `peft_type` | cases | largest distance | elements that differ | case |", "|---|---|---|---|---|",
            ]
            for type in Set(cases.map(\.type)).sorted() where Self.isMerged(type) {
                let own = cases.filter { $0.type == type && $0.defect == nil && $0.share > 0 }
                guard let worst = own.max(by: { ($0.distance, $1.name) < ($1.distance, $0.name) }) else { continue }
                let share = String(format: "%.1f %%", worst.share * 100)
                lines.append(
                    "| `\(type)` | \(own.count) | \(String(format: "%.2f", worst.distance)) | \(share) | `\(worst.name)` |")
            }
            return lines.joined(separator: "\n")
        }
    }
}

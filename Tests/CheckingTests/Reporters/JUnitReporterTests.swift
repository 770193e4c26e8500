import ByteAccess
@testable import Checking
import Foundation
import Testing

#if canImport(FoundationXML)
import FoundationXML
#endif

@Suite struct JUnitReporterTests {
    /// An element as libxml2 sees it.
    final class Element {
        let name: String
        let attributes: [String: String]
        var text = ""
        var children: [Element] = []

        init(_ name: String, _ attributes: [String: String]) {
            self.name = name
            self.attributes = attributes
        }

        func children(_ name: String) -> [Element] { children.filter { $0.name == name } }
    }

    final class Reader: NSObject, XMLParserDelegate {
        var open: [Element] = []
        var root: Element?

        func parser(
            _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
            attributes: [String: String]
        ) {
            let element = Element(name, attributes)
            if let parent = open.last { parent.children.append(element) } else { root = element }
            open.append(element)
        }

        func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
            open.removeLast()
        }

        func parser(_ parser: XMLParser, foundCharacters string: String) { open.last?.text += string }
    }

    private func read(_ report: CheckReport) throws -> Element {
        let text = JUnitReporter(rules: SampleReport.rules, paths: SampleReport.paths).render(report)
        let parser = XMLParser(data: Data(text.utf8))
        let reader = Reader()
        parser.delegate = reader
        #expect(parser.parse(), "\(parser.parserError.map(String.init(describing:)) ?? "") line \(parser.lineNumber)")
        return try #require(reader.root)
    }

    @Test func aSuiteForEachAdapterAndACaseForEachRule() throws {
        let root = try read(SampleReport.full)
        #expect(root.name == "testsuites")
        let suites = root.children("testsuite")
        #expect(suites.map { $0.attributes["name"] } == ["loras/a", "loras/b"])
        let cases = suites[0].children("testcase")
        #expect(cases.map { $0.attributes["name"] } == SampleReport.rules.map(\.id) + ["outside-the-registry"])
        #expect(cases.allSatisfy { $0.attributes["classname"] == "loras/a" })
        #expect(cases.map { $0.children.map(\.name) } == [["failure"], ["system-out"], ["skipped"], ["system-out"], ["error"], ["system-out"]])
        #expect(suites[1].children("testcase").allSatisfy { $0.children.isEmpty })
        #expect(
            suites[0].attributes == ["name": "loras/a", "tests": "6", "failures": "1", "errors": "1", "skipped": "1"])
        #expect(root.attributes == ["name": "peftfile check", "tests": "11", "failures": "1", "errors": "1"])
    }

    @Test func saysWhatIsWrongAndWhatToDo() throws {
        let cases = try read(SampleReport.full).children[0].children
        let failure = try #require(cases[0].children("failure").first)
        let line = "error: loras/a/adapter_model.safetensors: tensor \"q_proj.lora_A.weight\": byte 4096: has no lora_B; "
            + "save the adapter again"
        #expect(failure.attributes == ["message": line, "type": "finding"])
        #expect(failure.text == line)
        #expect(cases[2].children[0].attributes["message"] == "no --base")
        #expect(cases[3].children[0].text.hasPrefix("hidden (written before the rule): note: loras/a: "))
        #expect(cases[4].children[0].attributes["type"] == "inconclusive")
    }

    @Test func failOnDecidesWhatFails() throws {
        for (limit, wanted) in [(Severity.error, 1), (.warning, 2), (.note, 3)] {
            var report = SampleReport.full
            report.failOn = limit
            #expect(try read(report).attributes["failures"] == String(wanted))
        }
    }

    /// What the parser gives back is what stands in the report, up to what must not be shown.
    @Test(arguments: SampleReport.hostileNames) func hostileNamesComeBack(_ name: String) throws {
        let finding = SampleReport.finding("missing-pair", .error, name, file: "x")
        let suite = try read(CheckReport(subjects: [SampleReport.subject([finding])])).children[0]
        let message = try #require(suite.children[0].children("failure").first?.attributes["message"])
        let shown = name.printable.replacing("\u{FFFE}", with: "\\u{fffe}").replacing("\u{FFFF}", with: "\\u{ffff}")
        #expect(Array(message.utf8) == Array("error: x: \(shown)".utf8))
        #expect(suite.children[0].children[0].text == message)
    }

    @Test func everyPlaceIsEscaped() throws {
        let root = try read(SampleReport.hostile)
        #expect(root.children.count == SampleReport.hostileNames.count)
    }

    /// Section 2.2 of XML 1.0, over Unicode: what may not stand in a document is written out, the rest survives.
    @Test func everyCharacterIsLegal() {
        // All of the first plane, and samples of the others, where every character is alike.
        for value in Array(UInt32(0)...0xFFFF) + stride(from: 0x10000, through: 0x10FFFF, by: 0x101) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            for written in XMLText.escaped(String(scalar)).unicodeScalars {
                let legal = [0x9, 0xA, 0xD].contains(written.value) || (0x20...0xD7FF).contains(written.value)
                    || (0xE000...0xFFFD).contains(written.value) || written.value >= 0x10000
                if !legal { Issue.record("U+\(String(value, radix: 16))") }
            }
        }
    }
}

import ByteAccess
@testable import Checking
import Foundation
import Testing

@Suite struct GitHubReporterTests {
    let reporter = GitHubReporter(paths: SampleReport.paths)

    /// A workflow command taken apart as the runner does it: split first, unescape after (`ActionCommand.TryParseV2`).
    struct Command {
        var name: String
        var properties: [String: String]
        var data: String

        init?(_ line: String) {
            guard line.hasPrefix("::"), let end = line.dropFirst(2).range(of: "::") else { return nil }
            let head = line.dropFirst(2)[..<end.lowerBound]
            let words = head.split(separator: " ", maxSplits: 1)
            guard let first = words.first else { return nil }
            name = String(first)
            properties = [:]
            for pair in words.count > 1 ? words[1].split(separator: ",") : [] {
                let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard sides.count == 2 else { return nil }
                properties[String(sides[0])] = Self.unescaped(String(sides[1]))
            }
            data = Self.unescaped(String(line[end.upperBound...]))
        }

        /// In the runner's order: `%25` last, so that `%250A` is no line break.
        static func unescaped(_ text: String) -> String {
            text.replacing("%0D", with: "\r").replacing("%0A", with: "\n").replacing("%3A", with: ":")
                .replacing("%2C", with: ",").replacing("%25", with: "%")
        }
    }

    private func lines(_ report: CheckReport) -> [String] {
        reporter.render(report).split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    }

    @Test func printsWorkflowCommands() {
        #expect(
            lines(SampleReport.full) == [
                "::error file=loras/a/adapter_model.safetensors,title=missing-pair::tensor \"q_proj.lora_A.weight\": byte 4096: "
                    + "has no lora_B%0Asave the adapter again",
                "::error file=loras/a,title=nan::could not be checked: 3 tensors have a dtype that is not read",
                "::warning file=loras/a/adapter_config.json,title=unknown-key::\"flavour\" is no key of LORA",
                "::warning title=peftfile check::the ignore of \"nan\" expired",
                "::notice file=loras/a,title=outside-the-registry::is unusual",
                "peftfile check: 2 checked, 1 failed, 0 inconclusive",
            ])
    }

    /// The toolkit's own examples of what must be escaped (packages/core/__tests__/command.test.ts).
    @Test func escapesAsTheToolkitDoes() {
        #expect(
            GitHubReporter.data("percent % percent % cr \r cr \r lf \n lf \n colon : comma ,")
                == "percent %25 percent %25 cr %0D cr %0D lf %0A lf %0A colon : comma ,")
        #expect(
            GitHubReporter.property("percent % percent % cr \r cr \r lf \n lf \n colon : colon : comma , comma ,")
                == "percent %25 percent %25 cr %0D cr %0D lf %0A lf %0A colon %3A colon %3A comma %2C comma %2C")
    }

    /// CR LF is one character to Swift, and two to everybody else.
    @Test func escapesCarriageReturnAndLineFeedTogether() {
        #expect(GitHubReporter.data("a\r\nb") == "a%0D%0Ab")
    }

    @Test(arguments: SampleReport.hostileNames) func whatIsEscapedComesBack(_ name: String) {
        for escaped in [GitHubReporter.data(name), GitHubReporter.property(name)] {
            #expect(!escaped.unicodeScalars.contains { $0 == "\n" || $0 == "\r" })
            #expect(Array(Command.unescaped(escaped).utf8) == Array(name.utf8))
        }
        #expect(!GitHubReporter.property(name).unicodeScalars.contains { $0 == ":" || $0 == "," })
    }

    @Test(arguments: SampleReport.hostileNames) func hostileNamesMakeNoCommands(_ name: String) throws {
        let finding = SampleReport.finding("missing-pair", .error, name, file: "loras/\(name)x", tensor: name, help: name)
        let report = CheckReport(subjects: [SampleReport.subject([finding])])
        let printed = lines(report)
        #expect(printed.count == 2)
        let command = try #require(Command(printed[0]))
        #expect(command.name == "error")
        #expect(Set(command.properties.keys) == ["file", "title"])
        // A path with two slashes in a row is written with one.
        let path = "loras/\(name)x".replacing("//", with: "/")
        #expect(command.properties["file"].map { Array($0.utf8) } == Array(path.printable.utf8))
        #expect(command.data.split(separator: "\n").allSatisfy { line in line.unicodeScalars.allSatisfy { $0.value >= 0x20 } })
    }

    @Test(arguments: [1, 9, 10, 11, 57]) func tenOfAKindAreShown(_ count: Int) throws {
        for severity in Severity.allCases {
            let findings = (0..<count).map { SampleReport.finding("rule", severity, "finding \($0)", help: "##[error]owned") }
            let printed = lines(CheckReport(subjects: [SampleReport.subject(findings)])).dropLast()
            let commands = printed.compactMap(Command.init)
            #expect(commands.count == min(count, 10))
            // Each finding is told once, as an annotation or as a line of the log.
            for index in 0..<count {
                let told = printed.filter { $0.contains("finding \(index)%") || $0.contains("finding \(index);") }
                #expect(told.count == 1)
            }
            if count > 10 {
                #expect(commands.last?.data == "\(count - 9) more \(severity.rawValue)s, in the log of this step")
                #expect(!printed.contains { !$0.hasPrefix("::") && $0.contains("##[") })
            }
        }
    }

    @Test func kindsAreCountedApart() {
        let findings = Severity.allCases.flatMap { severity in
            (0..<10).map { SampleReport.finding("rule", severity, "finding \($0)") }
        }
        let commands = lines(CheckReport(subjects: [SampleReport.subject(findings)])).compactMap(Command.init)
        #expect(commands.map(\.name) == ["error", "warning", "notice"].flatMap { Array(repeating: $0, count: 10) })
    }
}

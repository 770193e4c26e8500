import Foundation
import TestSupport
import Testing

/// The gate in front of this project's own adapters: `Fixtures/check-policy.yml`, as CI would call it.
@Suite struct FixturePolicyTests {
    static let call = ["check", "Fixtures/merge", "--policy", "Fixtures/check-policy.yml", "--fail-on", "error"]

    private func document(_ arguments: [String]) throws -> (json: [String: Any], status: Int32, errors: String) {
        let result = try Tool.run(arguments + ["--json"])
        let json = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
        return (try #require(json as? [String: Any]), result.status, result.errors)
    }

    @Test func everyAdapterMeetsIt() throws {
        let (json, status, errors) = try document(Self.call)
        #expect(status == 0 && errors.isEmpty)
        let checked = try #require(json["checked"] as? [[String: Any]])
        for entry in checked where entry["verdict"] as? String != "pass" { Issue.record("\(entry["path"] ?? "")") }
        // Every folder that holds an adapter was found.
        let folders = try #require(FileManager.default.enumerator(atPath: Fixtures.path("merge"))?.allObjects as? [String])
        let all = Set(
            folders.filter { $0.hasSuffix("/adapter_config.json") }.map { ($0 as NSString).deletingLastPathComponent })
        // The experts of X-LoRA lie in its adapter's folder and are parts of it.
        let holders = all.filter { !all.contains(($0 as NSString).deletingLastPathComponent) }
        let paths = Set(checked.compactMap { $0["path"] as? String }.map { String($0.dropFirst("Fixtures/merge/".count)) })
        #expect(holders.count > 150 && holders.subtracting(paths).isEmpty)
        // The policy is asked: its limits run.
        let idle = checked.flatMap { $0["not_run"] as? [[String: Any]] ?? [] }.compactMap { $0["rule"] as? String }
        #expect(!idle.contains("base-not-allowed"))
    }

    /// The policy is no rubber stamp: what breaks a limit of it, or has a defect, fails.
    @Test func whatBreaksItFails() throws {
        let bad = try document(["check", "Fixtures/negative/nan", "--policy", "Fixtures/check-policy.yml"])
        #expect(bad.status == 1)
        let directory = try TemporaryDirectory()
        let text = try TestFile.text(Fixtures.path("check-policy.yml")).replacing("max-rank: 64", with: "max-rank: 63")
        let strict = try directory.write(text, to: "strict.yml")
        let over = try document(["check", "Fixtures/merge/lora-r64/adapter", "--policy", strict])
        #expect(over.status == 1)
        let errors = (over.json["findings"] as? [[String: Any]])?.filter { $0["severity"] as? String == "error" }
        #expect(errors?.compactMap { $0["rule"] as? String } == ["rank-over-limit"])
    }
}

import ByteAccess
import Checking
import Checkpoints
import Foundation
import TestSupport
import Testing

/// A gate that cries wolf is switched off: adapters that real libraries wrote have no finding that fails, with their base
/// and without.
@Suite struct PrecisionTests {
    /// What is wrong with a genuine adapter after all.
    static let known: [String: (rule: String, needsBase: Bool)] = [
        // PEFT wrote a pickle, as it did before 2023; `negative/pickle-bin` is the same defect.
        "lora-bin": ("pickle", false),
        // The base lacks the layer that was trained, and PEFT would put a random one there.
        "arch-refuse-roberta-pooler": ("target-not-in-base", true),
    ]

    static let cases: [String] = ((try? FileManager.default.contentsOfDirectory(atPath: Fixtures.path("merge"))) ?? [])
        .filter { FileManager.default.fileExists(atPath: Fixtures.path("merge/\($0)/case.json")) }.sorted()

    static func entries(_ name: String, _ prefix: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: Fixtures.path("merge/\(name)"))
            .filter { $0.hasPrefix(prefix) }.sorted().map { Fixtures.path("merge/\(name)/\($0)") }
    }

    @Test func theFixturesAreThere() { #expect(Self.cases.count > 100) }

    @Test(arguments: cases) func noGenuineAdapterHasAnError(_ name: String) throws {
        let bases = try Self.entries(name, "base")
        for adapter in try Self.entries(name, "adapter") {
            for base in [nil] + bases.map(Optional.some) {
                let options = CheckOptions(base: try base.map { try Checkpoint.open($0) }, jobs: 2)
                let subject = try Checker(options: options).check(adapter)
                let errors = Set(subject.findings.filter { $0.severity == .error }.map(\.rule))
                let known = Self.known[name].flatMap { $0.needsBase && base == nil ? nil : $0.rule }
                #expect(errors == Set([known].compactMap { $0 }), "\(adapter) \(base ?? "")")
                // Without a base nothing stays open.
                if base == nil { #expect(subject.omissions.filter(\.isInconclusive) == []) }
            }
        }
    }

    /// Prompts and bottleneck adapters as their libraries save them.
    @Test(arguments: ["multitask", "prefix-plain", "prefix-projection-llama", "prompt-tuning", "ptuning-lstm", "ptuning-mlp", "adapterhub-bert", "adapterhub-bart"])
    func noGenuinePromptHasAnError(_ name: String) throws {
        for directory in ["peft", "library"] {
            let path = Fixtures.path("strip/\(name)/\(directory)")
            guard FileManager.default.fileExists(atPath: path) else { continue }
            let subject = try Checker().check(path)
            #expect(subject.findings.filter { $0.severity == .error } == [], "\(path)")
        }
    }
}

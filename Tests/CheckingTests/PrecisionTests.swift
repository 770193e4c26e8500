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
                // Nothing stays open, with a base and without.
                #expect(subject.omissions.filter(\.isInconclusive) == [], "\(adapter) \(base ?? "")")
            }
        }
    }

    static let projections: [String] = ((try? FileManager.default.contentsOfDirectory(atPath: Fixtures.path("projections"))) ?? []).sorted()

    /// What an adapter leaves out by design is no loss: indices, projections, the only weight of one vector.
    @Test(arguments: projections) func noGenuineProjectionHasAnError(_ name: String) throws {
        let folder = Fixtures.path("projections/\(name)")
        for base in [nil, try Checkpoint.open("\(folder)/base")] {
            let subject = try Checker(options: CheckOptions(base: base, jobs: 2)).check("\(folder)/adapter")
            #expect(subject.findings.filter { $0.severity == .error } == [], "\(name)")
        }
    }

    static let dialects: [String] = ((try? FileManager.default.contentsOfDirectory(atPath: Fixtures.path("dialects"))) ?? [])
        .filter { FileManager.default.fileExists(atPath: Fixtures.path("dialects/\($0)/case.json")) }.sorted()

    @Test func theDialectsAreThere() { #expect(Self.dialects.count == 28) }

    /// Files of other trainers, as directories and as the files themselves.
    @Test(arguments: dialects) func noGenuineDialectHasAnError(_ name: String) throws {
        let directory = Fixtures.path("dialects/\(name)/adapter")
        let file = try #require(
            try FileManager.default.contentsOfDirectory(atPath: directory).sorted().first { !$0.hasSuffix(".json") })
        for path in [directory, "\(directory)/\(file)"] {
            for base in [nil, Fixtures.path("dialects/\(name)/base")] {
                let subject = try Checker(options: CheckOptions(base: try base.map { try Checkpoint.open($0) }, jobs: 2)).check(path)
                #expect(subject.findings.filter { $0.severity == .error } == [], "\(path) \(base ?? "")")
                // What is not read cannot pass; what is read leaves nothing open.
                let isRead = (try? Checkpoint.open("\(directory)/\(file)")) != nil
                #expect(subject.omissions.contains(where: \.isInconclusive) == !isRead, "\(subject.omissions)")
            }
        }
    }

    /// Files of other trainers against a base that they are not for: that is found without a config, too.
    @Test(arguments: dialects.filter { !$0.hasPrefix("gguf") && !$0.hasPrefix("mlx") }) func aDialectOnTheWrongBaseIsFound(_ name: String) throws {
        let base = try Checkpoint.open(Fixtures.path("negative/base"))
        let subject = try Checker(options: CheckOptions(base: base, jobs: 2)).check(Fixtures.path("dialects/\(name)/adapter"))
        #expect(subject.verdict(failOn: .error) != .pass, "\(subject.findings)")
    }

    /// A tree is as precise as its adapters: what lies below an adapter as a part of it is not judged alone.
    @Test(arguments: cases) func noTreeOfAGenuineAdapterFails(_ name: String) throws {
        guard Self.known[name] == nil else { return }
        for adapter in try Self.entries(name, "adapter") {
            let report = try Checker(options: CheckOptions(jobs: 2)).check([adapter])
            #expect(report.isClean, "\(report.subjects.map(\.findings))")
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

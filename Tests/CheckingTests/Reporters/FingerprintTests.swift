import ByteAccess
@testable import Checking
import Foundation
import TestSupport
import Testing

@Suite struct FingerprintTests {
    let paths = ReportPaths(workingDirectory: "/home/ci/build")

    private func hex(_ finding: Finding, path: String = "loras/a", paths: ReportPaths? = nil) -> String {
        Fingerprint(finding, of: SampleReport.subject([], path: path), paths: paths ?? self.paths).hex
    }

    /// From `printf 'missing-pair\0loras/a/adapter_model.safetensors\0q_proj' | sha256sum`.
    @Test func isTheHashOfRulePathAndTensor() {
        let finding = SampleReport.finding(tensor: "q_proj")
        #expect(hex(finding) == "d7da2dcf64da0b17293acf8ea1c759bb2cd029358a084a2d108f878079491b4a")
    }

    @Test func messageSeverityByteAndHelpDoNotCount() {
        let first = SampleReport.finding(tensor: "q_proj")
        let second = SampleReport.finding(
            "missing-pair", .note, "is worded otherwise", tensor: "q_proj", offset: 7, help: "do something")
        #expect(hex(first) == hex(second))
    }

    @Test func rulePathAndTensorCount() {
        let all = [
            SampleReport.finding(tensor: "q_proj"), SampleReport.finding("other", tensor: "q_proj"),
            SampleReport.finding(file: "loras/b/adapter_model.safetensors", tensor: "q_proj"),
            SampleReport.finding(tensor: "k_proj"), SampleReport.finding(),
        ]
        #expect(Set(all.map { hex($0) }).count == all.count)
        // The parts do not run into each other.
        #expect(Fingerprint(rule: "ab", path: "c", tensor: "") != Fingerprint(rule: "a", path: "bc", tensor: ""))
        // Names are bytes: two spellings of one letter are two tensors.
        #expect(hex(SampleReport.finding(tensor: "\u{E9}")) != hex(SampleReport.finding(tensor: "e\u{301}")))
    }

    @Test func theSameOnAnotherMachine() {
        let here = SampleReport.finding(file: "/home/ci/build/loras/a/x")
        let there = SampleReport.finding(file: "/Users/me/src/loras/a/x")
        #expect(hex(here) == hex(there, paths: ReportPaths(workingDirectory: "/Users/me/src/")))
        #expect(hex(here) == hex(SampleReport.finding(file: "./loras//a/x")))
    }

    @Test func withoutAFileThePathOfTheAdapterCounts() {
        #expect(hex(SampleReport.finding(file: nil), path: "loras/a") == hex(SampleReport.finding(file: "loras/a"), path: "b"))
    }

    @Test(arguments: [
        ("a/b", "a/b"), ("./a/b", "a/b"), ("a//b/", "a/b"), (".", "."), ("./", "."), ("../a", "../a"), ("a/../b", "a/../b"),
        ("/home/ci/build/a", "a"), ("/home/ci/build", "."), ("/home/ci/builder/a", "/home/ci/builder/a"),
        ("/", "/"), ("/home/ci/build/./a", "a"), ("", ""),
    ])
    func pathsAreRelativeToTheWorkingDirectory(_ path: String, _ wanted: String) {
        #expect(paths.relative(path) == wanted)
    }

    /// A path that comes through a symbolic link lies in the working directory all the same.
    @Test func linksAreSeenThrough() throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write("x", to: "file")
        let link = try TemporaryDirectory()
        try #require(symlink(directory.path, link.path("link")) == 0)
        let paths = ReportPaths(workingDirectory: try FileSystem.resolved(directory.path))
        #expect(paths.relative(link.path("link/file")) == "file")
        #expect(paths.relative(file) == "file")
    }
}

import ByteAccess
@testable import Checking
import Foundation
import TestSupport
import Testing

/// In a tree every file of weights is looked at, or it is named.
@Suite struct WeightFilesTests {
    let directory: TemporaryDirectory
    static let kohya = Fixtures.path("dialects/kohya-lora/adapter/adapter.safetensors")

    init() throws { directory = try TemporaryDirectory() }

    private func copy(_ file: String, to name: String) throws {
        let path = directory.path(name)
        try FileManager.default.createDirectory(atPath: FileSystem.directory(of: path), withIntermediateDirectories: true)
        try TestFile.write(TestFile.bytes(file), to: path)
    }

    private func check(_ name: String = ".") throws -> (report: CheckReport, names: [String]) {
        let report = try Checker(options: CheckOptions(jobs: 2)).check([directory.path(name)])
        return (report, report.subjects.map { String($0.path.dropFirst(directory.path(name).count + 1)) })
    }

    @Test func allDialectsAreLookedAt() throws {
        let root = Fixtures.path("dialects")
        let found = try AdapterSearch([root]).found.map(\.path)
        for name in PrecisionTests.dialects { #expect(found.contains("\(root)/\(name)/adapter"), "\(name)") }
        let remark = try #require(try AdapterSearch([root]).remark)
        #expect(remark.contains("were not looked at: \(root)/"))
    }

    @Test func filesWithNamesOfTheirOwnAreSubjects() throws {
        for name in ["one.safetensors", "two.safetensors", "deep/er/my.safetensors"] { try copy(Self.kohya, to: "loras/\(name)") }
        let (report, names) = try check("loras")
        #expect(names == ["one.safetensors", "two.safetensors", "deep/er"])
        #expect(report.isClean && report.warnings == [], "\(report.subjects)")
        #expect(try check("loras/deep").names == ["er"])
    }

    /// Beside a whole adapter, whose config says nothing of them, and below it; a broken one fails.
    @Test func filesBesideAnAdapterAreSubjects() throws {
        try SmallAdapter.lora(in: directory.path("a"))
        try copy(Self.kohya, to: "a/my_style.safetensors")
        try copy(Fixtures.path("dialects/gguf-lora/adapter/adapter.gguf"), to: "a/sub/x.gguf")
        let whole = try check("a")
        #expect(whole.names == ["", "my_style.safetensors", "sub"])
        #expect(whole.report.isClean, "\(whole.report.subjects)")
        try TestFile.write(Array(TestFile.bytes(Self.kohya).dropLast(7)), to: directory.path("a/my_style.safetensors"))
        let broken = try check("a").report
        #expect(broken.subjects[1].findings.map(\.rule) == ["truncated"] && !broken.isClean)
    }

    @Test func modelsArePassedByAndNamed() throws {
        try SmallAdapter.lora(in: directory.path("t/a"))
        try SmallAdapter.base(in: directory.path("t/base"))
        try copy(Fixtures.path("negative/base/model.safetensors"), to: "t/merged.safetensors")
        try directory.write("x", to: "t/a/optimizer.pt")
        let (report, names) = try check("t")
        #expect(names == ["a"] && report.isClean)
        let root = directory.path("t")
        #expect(
            report.warnings
                == ["2 files of weights without an adapter in a tree were not looked at: \(root)/merged.safetensors, \(root)/base/model.safetensors"])
    }

    /// What torch.distributed.checkpoint wrote may be the only copy of the weights: no advice removes it.
    @Test(arguments: ["a", "a/pytorch_model_fsdp_0"]) func aDistributedCheckpointIsToldHowToBecomeAFile(_ folder: String) throws {
        try SmallAdapter.lora(in: directory.path("a"))
        try FileManager.default.removeItem(atPath: directory.path("a/adapter_model.safetensors"))
        try FileManager.default.createDirectory(atPath: directory.path(folder), withIntermediateDirectories: true)
        for name in [".metadata", "__0_0.distcp"] { try TestFile.write([0x80, 2, 0x7D, 0x2E], to: directory.path("\(folder)/\(name)")) }
        let findings = try Checker().check(directory.path("a")).findings
        let wanted = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch \(directory.path(folder)) model.pt"
        let found = findings.filter { $0.rule == "weights-missing" || $0.rule == "pickle-file" }
        #expect(found.count == 3 && found.allSatisfy { $0.help?.hasSuffix(wanted) == true }, "\(findings)")
        // Without the metadata they are no checkpoint.
        try FileManager.default.removeItem(atPath: directory.path("\(folder)/.metadata"))
        #expect(try Checker().check(directory.path("a")).findings.contains { $0.rule == "pickle-file" && $0.help?.contains("rm ") == true })
    }

    /// A name that PEFT does not look for, with names of tensors that it does not load: the file's name alone mends nothing.
    @Test(arguments: [("", "mv "), (".default", "peftfile convert ")]) func anotherFileNameIsMendedWithTheNamesInIt(_ name: String, _ help: String) throws {
        try SmallAdapter.lora(in: directory.path("a"))
        try FileManager.default.removeItem(atPath: directory.path("a/adapter_model.safetensors"))
        try SmallAdapter.write(
            ["A": [2, 8], "B": [8, 2]].map { .init("\(SmallAdapter.root).lora_\($0)\(name).weight", $1) }, to: directory.path("a/model.safetensors"))
        let found = try Checker().check(directory.path("a")).findings.filter { $0.rule == "weights-missing" }
        #expect(found.count == 1 && found[0].help?.contains(help) == true, "\(found)")
    }
}

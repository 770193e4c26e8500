import ByteAccess
@testable import Checking
import Foundation
import TestSupport
import Testing

@Suite struct AdapterSearchTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func adapter(_ name: String) throws {
        let path = directory.path(name)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for file in ["adapter_config.json", "adapter_model.safetensors"] { try directory.write("x", to: "\(name)/\(file)") }
    }

    private func found(_ names: String...) throws -> [String] {
        try AdapterSearch(names.map { directory.path($0) }).found.map { String($0.path.dropFirst(directory.path.count + 1)) }
    }

    @Test func treesAreSearched() throws {
        for name in ["out", "out/checkpoint-10", "out/checkpoint-9", "out/x/y/z", "other"] { try adapter(name) }
        try directory.write("x", to: "out/x/notes.txt")
        #expect(try found("out") == ["out", "out/checkpoint-10", "out/checkpoint-9", "out/x/y/z"])
        #expect(try found("out/x") == ["out/x/y/z"])
        #expect(try found("other", "out/x", "other") == ["other", "out/x/y/z"])
    }

    @Test func aTreeWithoutAdaptersIsOneSubject() throws {
        try FileManager.default.createDirectory(atPath: directory.path("empty/deep"), withIntermediateDirectories: true)
        #expect(try found("empty") == ["empty"])
    }

    /// As pre-commit hands over changed files.
    @Test func changedFilesStandForTheirAdapters() throws {
        try adapter("a")
        try adapter("b")
        #expect(try found("a/adapter_config.json", "a/adapter_model.safetensors") == ["a"])
        #expect(try found("a/adapter_model.safetensors", "a/adapter_config.json") == ["a"])
        #expect(try found("a/adapter_model.safetensors", "b/adapter_config.json") == ["a/adapter_model.safetensors", "b"])
        #expect(try found("a/adapter_model.safetensors", "a/adapter_model.safetensors") == ["a/adapter_model.safetensors"])
    }

    /// To directories inside and outside, each once, and none that leads back for ever.
    @Test func linksAreFollowedOnce() throws {
        try adapter("tree/a")
        try adapter("elsewhere")
        try adapter("outside/deep/b")
        try FileManager.default.createSymbolicLink(
            atPath: directory.path("tree/loop"), withDestinationPath: directory.path("tree"))
        try FileManager.default.createSymbolicLink(
            atPath: directory.path("tree/link"), withDestinationPath: directory.path("elsewhere"))
        for (link, target) in [("twin", "tree/a"), ("more", "outside"), ("lost", "nowhere")] {
            try FileManager.default.createSymbolicLink(
                atPath: directory.path("tree/\(link)"), withDestinationPath: directory.path(target))
        }
        #expect(try found("tree") == ["tree/a", "tree/link", "tree/more/deep/b"])
        #expect(try found("tree/link") == ["tree/link"])
        #expect(try found("tree/twin") == ["tree/twin"])
    }

    /// As the Hub's cache has it: every file of a snapshot is a link to a blob.
    @Test func anAdapterOfLinksIsOne() throws {
        try adapter("blobs")
        try FileManager.default.createDirectory(atPath: directory.path("snapshots/1"), withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: directory.path("snapshots/1/adapter_config.json"), withDestinationPath: "../../blobs/adapter_config.json")
        #expect(try found("snapshots") == ["snapshots/1"])
    }

    @Test func treesThatAreTooDeepAreRefused() throws {
        let deep = "deep/" + (0...AdapterSearch.depthLimit).map { _ in "d" }.joined(separator: "/")
        try adapter(deep)
        #expect(throws: PeftfileError.self) { try found("deep") }
        #expect(try found(deep) == [deep])
    }

    @Test func originsAreTheArgumentsDirectories() throws {
        for name in ["one/loras/a", "two/loras/a"] { try adapter(name) }
        let root = try FileSystem.resolved(directory.path)
        #expect(try AdapterSearch([directory.path("one/loras")]).found.map(\.origin) == ["\(root)/one"])
        let both = try AdapterSearch([directory.path("one/loras"), directory.path("two/loras")])
        #expect(both.found.map(\.origin) == [nil, nil])
    }
}

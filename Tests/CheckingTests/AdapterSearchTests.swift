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

    @Test func linksAreNotFollowedAndSaid() throws {
        try adapter("tree/a")
        try adapter("elsewhere")
        try FileManager.default.createSymbolicLink(
            atPath: directory.path("tree/loop"), withDestinationPath: directory.path("tree"))
        try FileManager.default.createSymbolicLink(
            atPath: directory.path("tree/link"), withDestinationPath: directory.path("elsewhere"))
        let search = try AdapterSearch([directory.path("tree")])
        #expect(search.found.map(\.path) == [directory.path("tree/a")])
        #expect(search.warnings.count == 1 && search.warnings[0].contains("tree/link is a symbolic link"))
        #expect(try found("tree/link") == ["tree/link"])
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

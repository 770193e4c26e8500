import ByteAccess
import TestSupport
import Testing

@Suite struct FileSystemTests {
    @Test(arguments: [
        ("a/b", "b", "a"), ("a/b/", "b", "a"), ("/b", "b", "/"), ("b", "b", "."), ("/", "", "/"), ("", "", "."),
        ("a//b", "b", "a"), ("/a/b//", "b", "/a"), ("//a", "a", "/"), ("é/e\u{301}", "e\u{301}", "é"),
    ])
    func pathsComeApart(path: String, name: String, directory: String) {
        #expect(ExactString(FileSystem.fileName(of: path)) == ExactString(name))
        #expect(ExactString(FileSystem.directory(of: path)) == ExactString(directory))
    }

    @Test func pathsAreJoined() {
        #expect(FileSystem.join("a", "b") == "a/b")
        #expect(FileSystem.join("a/", "b") == "a/b")
        #expect(FileSystem.join("/", "b") == "/b")
        #expect(FileSystem.join(".", "b") == "b")
        #expect(FileSystem.join("", "b") == "b")
    }

    @Test func directoriesAreListedInByteOrder() throws {
        let directory = try TemporaryDirectory()
        for name in ["b", "a", "B", "é", "a-1", "a.1"] { try directory.write("", to: name) }
        #expect(try FileSystem.list(directory.path) == ["B", "a", "a-1", "a.1", "b", "é"])
        #expect(FileSystem.isNonEmptyDirectory(directory.path))
        try FileSystem.makeDirectory(directory.path("x/y/z"), withParents: true)
        try FileSystem.makeDirectory(directory.path("x/y/z"), withParents: true)
        #expect(throws: PeftfileError.self) { try FileSystem.makeDirectory(directory.path("x")) }
        #expect(throws: PeftfileError.self) { try FileSystem.makeDirectory(directory.path("a/x"), withParents: true) }
        #expect(!FileSystem.isNonEmptyDirectory(directory.path("x/y/z")))
        #expect(!FileSystem.isNonEmptyDirectory(directory.path("a")))
        #expect(throws: PeftfileError.self) { try FileSystem.list(directory.path("absent")) }
        #expect(try FileSystem.availableBytes(at: directory.path) > 0)
        #expect(try FileSystem.resolved(directory.path("x/../x/y")).hasSuffix("/x/y"))
        try FileSystem.remove(directory.path("x"))
        #expect(!FileSystem.exists(directory.path("x")))
    }
}

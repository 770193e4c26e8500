import Foundation
import TestSupport
import Testing

/// A snapshot of the Hub's cache against the names of its blobs. The hashes are those of `sha256sum` and `git hash-object`.
@Suite struct SnapshotTests {
    private static let commit = "89abcdef0123456789abcdef0123456789abcdef"
    /// `{"r": 8}` with a newline; `git hash-object` says so.
    private static let config = (text: "{\"r\": 8}\n", name: "7923a4efca89c932c33e2b863c51f82f66b1affb")
    /// 200 times "weights\n": three blocks of 64 bytes and more.
    private static let weights = (
        text: String(repeating: "weights\n", count: 200), sha256: "34f54817684fe897c2cd38511a20fd033f337b45f2ed75bc1e47295517ac7773", git: "f64cbc5302fe38add5701dc9f31264942fa0beb8"
    )

    private struct Cache {
        let directory: TemporaryDirectory
        var repository: String { directory.path("hub/models--org--name") }
        var snapshot: String { "\(repository)/snapshots/\(commit)" }

        init(links: Bool = true) throws {
            directory = try TemporaryDirectory()
            for folder in ["blobs", "refs", "trees", "snapshots/\(commit)/onnx"] {
                try FileManager.default.createDirectory(atPath: "\(repository)/\(folder)", withIntermediateDirectories: true)
            }
            try TestFile.write(commit, to: "\(repository)/refs/main")
            for (name, text, blob, up) in [
                ("config.json", config.text, config.name, "../.."), ("model.safetensors", weights.text, weights.sha256, "../.."),
                ("onnx/notes.txt", weights.text, weights.git, "../../.."),
            ] {
                guard links else {
                    try TestFile.write(text, to: "\(snapshot)/\(name)")
                    continue
                }
                try TestFile.write(text, to: "\(repository)/blobs/\(blob)")
                try FileManager.default.createSymbolicLink(atPath: "\(snapshot)/\(name)", withDestinationPath: "\(up)/blobs/\(blob)")
            }
        }

        func verify(_ name: String = "org/name", _ more: String...) throws -> Tool.Result {
            try Tool.run(["verify", name] + more, in: directory.path, environment: ["HF_HUB_CACHE": directory.path("hub")])
        }
    }

    @Test func rightFilesPass() throws {
        let cache = try Cache()
        let result = try cache.verify()
        #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
        #expect(result.output.contains("3 hashed, 0 wrong"))
        #expect(try cache.verify(cache.snapshot).status == 0)
        let document = try JSONSerialization.jsonObject(with: Data(try cache.verify("org/name", "--json").output.utf8)) as? [String: Any]
        #expect(document?["equivalent"] as? Bool == true)
        let files = try #require(document?["files"] as? [[String: Any]])
        #expect(files.map { $0["algorithm"] as? String } == ["git-sha1", "sha256", "git-sha1"])
        #expect(files.map { $0["actual"] as? String } == [Self.config.name, Self.weights.sha256, Self.weights.git])
    }

    /// A merged model that was published has a receipt, whose inputs are elsewhere: its blobs are here.
    @Test func aReceiptInTheSnapshotStandsInNobodysWay() throws {
        let cache = try Cache()
        let merge = "Fixtures/merge/lora-r1"
        let merged = cache.directory.path("merged")
        #expect(try Tool.run(["merge", merge + "/base", merge + "/adapter", "-o", merged, "-q"]).status == 0)
        try FileManager.default.copyItem(atPath: merged + "/peftfile-receipt.json", toPath: cache.snapshot + "/peftfile-receipt.json")
        let right = try cache.verify()
        #expect(right.status == 0 && right.output.contains("what the Hub named"), "\(right.status) \(right.errors)")
        var bytes = try TestFile.bytes("\(cache.repository)/blobs/\(Self.weights.sha256)")
        bytes[7] ^= 1
        try TestFile.write(bytes, to: "\(cache.repository)/blobs/\(Self.weights.sha256)")
        #expect(try cache.verify().status == 1)
    }

    /// Weights that nothing names are not judged, and so is the snapshot: one line, and neither pass nor fail.
    @Test(arguments: [[], ["--json"]]) func weightsWithoutAHashAreNotPassed(_ more: [String]) throws {
        let cache = try Cache()
        let path = "\(cache.snapshot)/extra.safetensors"
        try TestFile.write("weights", to: path)
        let result = try Tool.run(["verify", "org/name"] + more, in: cache.directory.path, environment: ["HF_HUB_CACHE": cache.directory.path("hub")])
        #expect(result.status == 2 && result.output.isEmpty, "\(result.status) \(result.output)")
        #expect(result.errors.split(separator: "\n").count == 1 && result.errors.contains("extra.safetensors") && result.errors.contains("HubSnapshot"), "\(result.errors)")
        // A wrong blob beside it is still found.
        try TestFile.write("other", to: "\(cache.repository)/blobs/\(Self.config.name)")
        #expect(try cache.verify().status == 1)
    }

    @Test(arguments: [config.name, weights.sha256, weights.git]) func oneFlippedBitIsFound(_ blob: String) throws {
        let cache = try Cache()
        var bytes = try TestFile.bytes("\(cache.repository)/blobs/\(blob)")
        bytes[bytes.count / 2] ^= 1
        try TestFile.write(bytes, to: "\(cache.repository)/blobs/\(blob)")
        let result = try cache.verify()
        #expect(result.status == 1 && result.output.contains("3 hashed, 1 wrong"))
        #expect(result.output.contains("and its blob is called \(blob)"))
    }

    /// A blob may be a link into the store that the repositories of a cache share, where its name is the hash that Xet gives it.
    @Test func blobsMayLieInTheSharedStore() throws {
        let cache = try Cache()
        let (blob, stored) = ("\(cache.repository)/blobs/\(Self.weights.sha256)", String(repeating: "9c", count: 32))
        try FileManager.default.createDirectory(atPath: cache.directory.path("hub/blobs/9c"), withIntermediateDirectories: true)
        try FileManager.default.moveItem(atPath: blob, toPath: cache.directory.path("hub/blobs/9c/\(stored)"))
        try FileManager.default.createSymbolicLink(atPath: blob, withDestinationPath: "../../blobs/9c/\(stored)")
        let result = try cache.verify()
        #expect(result.status == 0 && result.output.contains("3 hashed, 0 wrong"), "\(result.output)")
        // What lies there is hashed, and no other place is that store.
        try TestFile.write("other", to: cache.directory.path("hub/blobs/9c/\(stored)"))
        #expect(try cache.verify().output.contains("and its blob is called \(Self.weights.sha256)"))
        for place in ["../../blobs/9d/\(stored)", "../../../\(stored)"] {
            try FileManager.default.removeItem(atPath: blob)
            try FileManager.default.createDirectory(atPath: cache.directory.path("hub/blobs/9d"), withIntermediateDirectories: true)
            try TestFile.write(Self.weights.text, to: "\(cache.repository)/blobs/\(place)")
            try FileManager.default.createSymbolicLink(atPath: blob, withDestinationPath: place)
            let result = try cache.verify()
            #expect(result.status == 1 && result.output.contains("model.safetensors: is a link to something else"), "\(place)")
        }
    }

    @Test func linksThatLeadElsewhereAreFound() throws {
        let cache = try Cache()
        try TestFile.write(Self.weights.text, to: cache.directory.path(Self.weights.sha256))
        try FileManager.default.removeItem(atPath: cache.snapshot + "/model.safetensors")
        try FileManager.default.createSymbolicLink(
            atPath: cache.snapshot + "/model.safetensors", withDestinationPath: cache.directory.path(Self.weights.sha256))
        let result = try cache.verify(cache.snapshot)
        #expect(result.status == 1 && result.output.contains("model.safetensors: is a link to something else"))
    }

    @Test func aLinkWithoutItsBlobIsFound() throws {
        let cache = try Cache()
        try FileManager.default.removeItem(atPath: "\(cache.repository)/blobs/\(Self.weights.git)")
        let result = try cache.verify(cache.snapshot)
        #expect(result.status == 1 && result.output.contains("onnx/notes.txt: is not there"))
    }

    @Test func filesInsteadOfLinksAreHeldAgainstTheListing() throws {
        let cache = try Cache(links: false)
        #expect(try cache.verify(cache.snapshot).status == 2)
        let listing = """
            {"format_version": 1, "files": {"config.json": {"size": \(Self.config.text.utf8.count), "blob_id": "\(Self.config.name)"},
            "model.safetensors": {"size": 1600, "lfs_sha256": "\(Self.weights.sha256)", "blob_id": "\(Self.config.name)"}}}
            """
        try TestFile.write(listing, to: "\(cache.repository)/trees/\(Self.commit).json")
        let right = try cache.verify(cache.snapshot)
        #expect(right.status == 0 && right.output.contains("2 hashed, 0 wrong"))
        #expect(right.output.contains("not hashed  onnx/notes.txt"))
        try TestFile.write("other", to: cache.snapshot + "/config.json")
        #expect(try cache.verify(cache.snapshot).status == 1)
    }
}

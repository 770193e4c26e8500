import Foundation
import TestSupport
import Testing

/// Repositories named by their id, found in a cache that is laid out as huggingface_hub lays it out.
@Suite struct HubCacheTests {
    private static let fixture = "\(Fixtures.repository)/Fixtures/merge/lora-sharded-bf16"
    private static let commit = "0123456789abcdef0123456789abcdef01234567"

    /// A cache with one base, linked to blobs, and one adapter that names it, as plain files.
    private struct Cache {
        let directory: TemporaryDirectory
        var environment: [String: String] { ["HF_HUB_CACHE": directory.path("hub"), "HF_HOME": directory.path("no")] }
        var base: String { directory.path("hub/models--org--base") }
        var snapshot: String { base + "/snapshots/" + commit }
        let names: [String]

        init(revision: String = "main", withTree: Bool = true) throws {
            directory = try TemporaryDirectory()
            let files = FileManager.default
            names = try files.contentsOfDirectory(atPath: fixture + "/base").sorted()
            let snapshot = directory.path("hub/models--org--base/snapshots/" + commit)
            let blobs = directory.path("hub/models--org--base/blobs")
            for path in [snapshot, blobs] { try files.createDirectory(atPath: path, withIntermediateDirectories: true) }
            var tree: [String] = []
            for (number, name) in names.enumerated() {
                let blob = String(repeating: "0", count: 63) + "\(number)"
                try files.copyItem(atPath: "\(fixture)/base/\(name)", toPath: "\(blobs)/\(blob)")
                try files.createSymbolicLink(atPath: "\(snapshot)/\(name)", withDestinationPath: "../../blobs/\(blob)")
                tree.append("\"\(name)\": {\"size\": \(try TestFile.bytes("\(blobs)/\(blob)").count), \"blob_id\": \"\(blob)\"}")
            }
            // What a command has no use for may be missing.
            tree.append("\"onnx/model.onnx\": {\"size\": 12, \"blob_id\": \"x\"}")
            tree.append("\"pytorch_model.bin\": {\"size\": 12, \"blob_id\": \"x\"}")
            if withTree { try write("{\"format_version\": 1, \"files\": {\(tree.joined(separator: ", "))}}", "trees/\(commit).json") }
            try write(commit, "refs/\(revision)")
            let adapter = directory.path("hub/models--org--adapter/snapshots/" + commit)
            try files.createDirectory(atPath: adapter, withIntermediateDirectories: true)
            try files.copyItem(
                atPath: "\(fixture)/adapter/adapter_model.safetensors", toPath: adapter + "/adapter_model.safetensors")
            let config = try TestFile.text("\(fixture)/adapter/adapter_config.json")
            let named = config.replacing(/"base_model_name_or_path": "[^"]*"/, with: "\"base_model_name_or_path\": \"org/base\"")
            try #require(named != config)
            try TestFile.write(
                named.replacing("\"revision\": null", with: revision == "main" ? "\"revision\": null" : "\"revision\": \"\(revision)\""),
                to: adapter + "/adapter_config.json")
            try files.createDirectory(atPath: directory.path("hub/models--org--adapter/refs"), withIntermediateDirectories: true)
            try TestFile.write(commit, to: directory.path("hub/models--org--adapter/refs/main"))
        }

        func write(_ text: String, _ name: String) throws {
            let path = "\(directory.path("hub/models--org--base"))/\(name)"
            try FileManager.default.createDirectory(
                atPath: URL(filePath: path).deletingLastPathComponent().path(), withIntermediateDirectories: true)
            try TestFile.write(text, to: path)
        }

        func run(_ arguments: String...) throws -> Tool.Result {
            try Tool.run(arguments, in: directory.path, environment: environment)
        }

        /// Every path below the cache, with its size: what must not change.
        func listing() throws -> [String] {
            try FileManager.default.subpathsOfDirectory(atPath: directory.path("hub")).sorted()
        }
    }

    @Test func adapterIsEnoughToFindItsBase() throws {
        let cache = try Cache()
        let before = try cache.listing()
        let merge = try cache.run("merge", "org/adapter", "-o", "out")
        #expect(merge.status == 0, "\(merge.errors)")
        let plain = try Tool.run(
            ["merge", Self.fixture + "/base", Self.fixture + "/adapter", "-o", cache.directory.path("plain")])
        #expect(plain.status == 0)
        for name in cache.names where name.hasSuffix(".safetensors") {
            #expect(try TestFile.bytes(cache.directory.path("out/\(name)")) == TestFile.bytes(cache.directory.path("plain/\(name)")))
        }
        #expect(try TestFile.text(cache.directory.path("out/README.md")).contains("base_model: org/base"))
        #expect(try cache.run("verify", "out").status == 0)
        #expect(try cache.run("verify", "out", "--base", "hf://org/base", "--adapter", "org/adapter@main").status == 0)
        #expect(try cache.run("inspect", "hf://org/base@\(Self.commit)/\(cache.names.first { $0.hasSuffix(".safetensors") } ?? "")").status == 0)
        #expect(try cache.run("diff", "org/base", Self.fixture + "/base").status == 0)
        #expect(try cache.listing() == before)
    }

    /// What the receipt and the card say of inputs from the cache; and that of others they say nothing.
    @Test func receiptAndCardNameRepositoryCommitAndBlobs() throws {
        let cache = try Cache()
        #expect(try cache.run("merge", "org/adapter", "-o", "out").status == 0)
        let text = try TestFile.text(cache.directory.path("out/peftfile-receipt.json"))
        let predicate = try #require(
            (try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])?["predicate"] as? [String: Any])
        let base = try #require(predicate["base"] as? [String: Any])
        #expect(base["hub"] as? [String: String] == ["repository": "org/base", "commit": Self.commit])
        for file in try #require(base["files"] as? [[String: Any]]) {
            let name = try #require(file["name"] as? String)
            let link = try FileManager.default.destinationOfSymbolicLink(atPath: "\(cache.snapshot)/\(name)")
            #expect(file["hub_blob"] as? String == URL(filePath: link).lastPathComponent)
        }
        // Nor does it matter where the blobs themselves lead.
        let blob = try FileManager.default.destinationOfSymbolicLink(atPath: "\(cache.snapshot)/config.json").split(separator: "/").last ?? ""
        let store = cache.directory.path("hub/blobs/ab")
        try FileManager.default.createDirectory(atPath: store, withIntermediateDirectories: true)
        try FileManager.default.moveItem(atPath: "\(cache.base)/blobs/\(blob)", toPath: store + "/" + String(repeating: "ab", count: 32))
        try FileManager.default.createSymbolicLink(
            atPath: "\(cache.base)/blobs/\(blob)", withDestinationPath: "../../blobs/ab/" + String(repeating: "ab", count: 32))
        #expect(try cache.run("merge", "org/adapter", "-o", "shared").status == 0)
        #expect(try TestFile.text(cache.directory.path("shared/peftfile-receipt.json")) == text)
        // The adapter's cache has no links, so there are no blobs to name.
        let adapter = try #require((predicate["adapters"] as? [[String: Any]])?.first)
        #expect(adapter["hub"] as? [String: String] == ["repository": "org/adapter", "commit": Self.commit])
        #expect((adapter["files"] as? [[String: Any]])?.allSatisfy { $0["hub_blob"] == nil } == true)
        let card = try TestFile.text(cache.directory.path("out/README.md"))
        #expect(card.contains("base_model: org/base\nbase_model_relation: finetune\nlibrary_name: transformers"))
        #expect(card.contains("- `org/adapter` at `\(Self.commit)`"))
        _ = try Tool.run(["merge", "-q", Self.fixture + "/base", Self.fixture + "/adapter", "-o", cache.directory.path("plain")])
        #expect(try !TestFile.text(cache.directory.path("plain/peftfile-receipt.json")).contains("\"hub"))
    }

    /// huggingface_hub passes over a listing that it cannot read; links and the index still tell what is missing.
    @Test(arguments: ["", "{", "{\"format_version\": 2}", "{\"format_version\": 1, \"files\": {\"a\": {\"size\": 1}}}"])
    func unreadableListingsAreNone(_ listing: String) throws {
        let cache = try Cache()
        try cache.write(listing, "trees/\(Self.commit).json")
        #expect(try cache.run("inspect", "org/base").status == 0)
        let shards = cache.names.filter { $0.hasSuffix(".safetensors") }
        try FileManager.default.removeItem(atPath: "\(cache.snapshot)/\(shards[1])")
        let result = try cache.run("inspect", "org/base")
        #expect(result.status == 2 && result.errors.contains("hf download org/base \(shards[1])"))
    }

    /// Whoever loaded a tokenizer or a config has a snapshot without weights. What needs the config alone takes it.
    @Test(arguments: [true, false]) func aSnapshotWithoutWeightsIsIncomplete(_ withTree: Bool) throws {
        let cache = try Cache(withTree: withTree)
        for name in cache.names where name.hasSuffix(".safetensors") || name.hasSuffix(".index.json") {
            try FileManager.default.removeItem(atPath: "\(cache.snapshot)/\(name)")
        }
        for arguments in [["inspect", "org/base"], ["merge", "org/adapter", "-o", "out"], ["check", "org/adapter", "--base", "org/base"]] {
            let result = try Tool.run(arguments, in: cache.directory.path, environment: cache.environment)
            #expect(result.status == 2 && result.output.isEmpty)
            #expect(result.errors.contains("HubSnapshotIncomplete") && result.errors.contains("hf download org/base"))
            #expect(result.errors.contains(withTree ? "model-00001-of" : "\(cache.snapshot)); it has config.json"), "\(result.errors)")
        }
        let convert = try cache.run("convert", "org/adapter", "--to", "gguf", "--base", "org/base", "-o", "lora.gguf")
        #expect(convert.status == 0, "\(convert.errors)")
    }

    /// A listing without any of the usual names: one of its files is enough, none is not.
    @Test func weightsUnderAnyNameAreMissed() throws {
        let cache = try Cache(withTree: false)
        for name in cache.names { try FileManager.default.removeItem(atPath: "\(cache.snapshot)/\(name)") }
        try TestFile.write("---\n---\n", to: "\(cache.snapshot)/README.md")
        let tree = ["README.md", "q4.gguf", "q8.gguf"].map { "\"\($0)\": {\"size\": 8, \"blob_id\": \"x\"}" }
        try cache.write("{\"format_version\": 1, \"files\": {\(tree.joined(separator: ", "))}}", "trees/\(Self.commit).json")
        let result = try cache.run("inspect", "org/base")
        #expect(result.status == 2 && result.errors.contains("q4.gguf, q8.gguf [HubSnapshotIncomplete]; hf download org/base q4.gguf q8.gguf"))
        try FileManager.default.copyItem(atPath: Self.fixture + "/adapter/adapter_model.safetensors", toPath: "\(cache.snapshot)/q8.gguf")
        #expect(try cache.run("inspect", "org/base").errors.contains("HubSnapshotIncomplete") == false)
    }

    /// An adapter whose base is nowhere: the line that fetches it, and the one that names it.
    @Test func missingBasesAreFetchedByTheLineShown() throws {
        let cache = try Cache()
        try FileManager.default.removeItem(atPath: cache.base)
        let result = try cache.run("merge", "org/adapter", "-o", "out")
        #expect(result.status == 2 && result.errors.contains("BaseNotFound") && result.errors.contains(cache.directory.path("hub")))
        #expect(result.errors.contains("hf download org/base, or name the base: peftfile merge BASE "))
    }

    @Test func configNamesTheRevisionOfItsBase() throws {
        let cache = try Cache(revision: "refs/pr/5")
        #expect(try cache.run("merge", "org/adapter", "-o", "out").status == 0)
        let other = try cache.run("inspect", "org/base")
        #expect(other.status == 2 && other.errors.contains("HubRevision") && other.errors.contains("refs/pr/5"))
        #expect(other.errors.contains("hf download org/base"))
    }

    @Test func cardIsLeftOutWhereAsked() throws {
        let cache = try Cache()
        #expect(try cache.run("fuse", "org/adapter", "-o", "out", "--no-card").status == 0)
        #expect(!FileManager.default.fileExists(atPath: cache.directory.path("out/README.md")))
    }

    @Test(arguments: [true, false]) func incompleteSnapshotsAreNamedFileByFile(_ withTree: Bool) throws {
        let cache = try Cache(withTree: withTree)
        let shards = cache.names.filter { $0.hasSuffix(".safetensors") }
        try #require(shards.count > 2)
        // A link whose blob never came, and a file that was not even begun.
        try FileManager.default.removeItem(
            atPath: URL(filePath: cache.snapshot).appending(path: shards[0]).resolvingSymlinksInPath().path())
        try FileManager.default.removeItem(atPath: "\(cache.snapshot)/\(shards[1])")
        try cache.write("", "blobs/00.incomplete")
        let result = try cache.run("merge", "org/adapter", "-o", "out")
        #expect(result.status == 2 && result.output.isEmpty)
        #expect(result.errors.contains("HubSnapshotIncomplete") && result.errors.contains("broken off"))
        #expect(result.errors.contains("hf download org/base \(shards[0]) \(shards[1])"))
        #expect(!FileManager.default.fileExists(atPath: cache.directory.path("out")))
    }

    @Test func listingTellsOfMissingTokenizersWhatLinksCannot() throws {
        let cache = try Cache()
        let tree = "trees/\(Self.commit).json"
        let text = try TestFile.text("\(cache.base)/\(tree)")
        try cache.write(text.replacing("\"files\": {", with: "\"files\": {\"tokenizer.model\": {\"size\": 3, \"blob_id\": \"x\"}, "), tree)
        let merge = try cache.run("merge", "org/adapter", "-o", "out")
        #expect(merge.status == 2 && merge.errors.contains("hf download org/base tokenizer.model"))
        // Who only looks needs no tokenizer.
        #expect(try cache.run("inspect", "org/base").status == 0)
    }

    @Test func unknownRepositoriesAreLookedForWhereTheErrorSays() throws {
        let cache = try Cache()
        let unknown = try cache.run("inspect", "org/nothing")
        #expect(unknown.status == 2)
        #expect(unknown.errors.contains("\(cache.directory.path("hub"))/models--org--nothing"))
        #expect(unknown.errors.contains("hf download org/nothing"))
        let path = try cache.run("inspect", "nothing")
        #expect(path.status == 2 && path.errors.contains("does not exist"))
        let address = try cache.run("inspect", "hf://datasets/org/name")
        #expect(address.status == 2 && address.errors.contains("HubAddress"))
        try cache.write("not a commit", "refs/broken")
        let broken = try cache.run("inspect", "org/base@broken")
        #expect(broken.status == 2 && broken.errors.contains("HubRevision"))
    }

    @Test func cacheIsNeverWritten() throws {
        let cache = try Cache()
        let before = try cache.listing()
        for target in ["hub/out", "hub/models--org--base/snapshots/\(Self.commit)/merged"] {
            let result = try cache.run("merge", "org/base", "org/adapter", "-o", target, "--force")
            #expect(result.status == 2 && result.errors.contains("HubCacheOutput"))
        }
        #expect(try cache.listing() == before)
    }

    // MARK: Folders, damage, names

    /// Puts a file into the snapshot and, with its size, into the listing; nil leaves it out of the snapshot.
    private func add(_ name: String, _ source: String?, size: Int, to cache: Cache) throws {
        let tree = "trees/\(Self.commit).json"
        let text = try TestFile.text("\(cache.base)/\(tree)")
        try cache.write(
            text.replacing("\"files\": {", with: "\"files\": {\"\(name)\": {\"size\": \(size), \"blob_id\": \"x\"}, "), tree)
        guard let source else { return }
        let path = "\(cache.snapshot)/\(name)"
        try FileManager.default.createDirectory(
            atPath: URL(filePath: path).deletingLastPathComponent().path(), withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: source, toPath: path)
    }

    @Test func foldersAreHeldAgainstTheListing() throws {
        let cache = try Cache()
        let config = Self.fixture + "/base/config.json"
        try add("unet/config.json", config, size: try TestFile.bytes(config).count, to: cache)
        try add("unet/diffusion_pytorch_model.safetensors", nil, size: 1000, to: cache)
        try add("vae/diffusion_pytorch_model.safetensors", nil, size: 1000, to: cache)
        for address in ["hf://org/base/unet", "hf://org/base@main/unet/"] {
            let result = try cache.run("inspect", address)
            #expect(result.status == 2 && result.errors.contains("1 of its 2 files is not in the cache"), "\(result.errors)")
            #expect(result.errors.hasSuffix("hf download org/base unet/diffusion_pytorch_model.safetensors\n"))
        }
        // Nothing of the folder is there.
        let vae = try cache.run("inspect", "hf://org/base/vae")
        #expect(vae.status == 2 && vae.errors.hasSuffix("hf download org/base vae/diffusion_pytorch_model.safetensors\n"), "\(vae.errors)")
        let none = try cache.run("inspect", "hf://org/base/text_encoder")
        #expect(none.status == 2 && none.errors.contains("[HubPath]"))
    }

    @Test func foldersWithoutAListingTellWhatTheyCan() throws {
        let cache = try Cache(withTree: false)
        let adapter = cache.directory.path("hub/models--org--adapter/snapshots/\(Self.commit)/sub/dir")
        try FileManager.default.createDirectory(atPath: adapter, withIntermediateDirectories: true)
        try FileManager.default.copyItem(
            atPath: cache.directory.path("hub/models--org--adapter/snapshots/\(Self.commit)/adapter_config.json"),
            toPath: adapter + "/adapter_config.json")
        let half = try cache.run("merge", "hf://org/adapter/sub/dir", "-o", "out")
        #expect(half.status == 2 && half.errors.contains("no file of weights") && half.errors.hasSuffix("hf download org/adapter --include 'sub/dir/*'\n"), "\(half.errors)")
        try FileManager.default.createSymbolicLink(atPath: adapter + "/adapter_model.safetensors", withDestinationPath: "../../../../blobs/none")
        let link = try cache.run("merge", "hf://org/adapter/sub/dir", "-o", "out")
        #expect(link.status == 2 && link.errors.hasSuffix("hf download org/adapter sub/dir/adapter_model.safetensors\n"), "\(link.errors)")
        let none = try cache.run("inspect", "hf://org/adapter/other")
        #expect(none.status == 2 && none.errors.hasSuffix("hf download org/adapter --include 'other*'\n"), "\(none.errors)")
    }

    /// A blob that was cut short is there for a plain download.
    @Test(arguments: [true, false]) func filesCutShortAreFetchedAnew(_ withTree: Bool) throws {
        let cache = try Cache(withTree: withTree)
        let shard = try #require(cache.names.first { $0.hasSuffix(".safetensors") })
        let blob = URL(filePath: cache.snapshot).appending(path: shard).resolvingSymlinksInPath().path()
        let bytes = try TestFile.bytes(blob)
        try TestFile.write(bytes.prefix(100).map { $0 }, to: blob)
        let result = try cache.run("inspect", "org/base")
        #expect(result.status == 2)
        if withTree {
            let size = "\(bytes.count / 1000),\(String(1000 + bytes.count % 1000).dropFirst())"
            #expect(result.errors.contains("\(shard) is cut short: 100 of \(size) bytes"), "\(result.errors)")
            #expect(result.errors.hasSuffix("hf download org/base \(shard) --force-download\n"))
        } else {
            #expect(result.errors.hasSuffix("hf download org/base \(shard) --revision \(Self.commit) --force-download\n"), "\(result.errors)")
        }
    }

    @Test func commitsWithoutAReferenceAreNamed() throws {
        let cache = try Cache()
        try FileManager.default.removeItem(atPath: cache.base + "/refs")
        let result = try cache.run("inspect", "org/base")
        #expect(result.status == 2 && result.errors.contains("none, and the commit \(Self.commit)"))
        #expect(result.errors.contains("name the commit: org/base@\(Self.commit), or hf download org/base"))
        #expect(try cache.run("inspect", "org/base@\(Self.commit)").status == 0)
    }

    /// Headings name what people typed, not where the cache keeps it.
    @Test func headingsNameTheRepository() throws {
        let cache = try Cache()
        let shard = try #require(cache.names.first { $0.hasSuffix(".safetensors") })
        #expect(try cache.run("inspect", "org/base").output.hasPrefix("org/base at 01234567: checkpoint\n"))
        #expect(try cache.run("inspect", "hf://org/base/\(shard)").output.hasPrefix("org/base at 01234567: \(shard): "))
        #expect(try cache.run("inspect", Self.fixture + "/base").output.hasPrefix(Self.fixture + "/base: checkpoint\n"))
        #expect(try cache.run("check", "org/adapter").output.hasPrefix("org/adapter at 01234567: "))
    }

    /// The oldest models have no organisation.
    @Test func modelsWithoutAnOrganisationAreFound() throws {
        let cache = try Cache()
        try FileManager.default.moveItem(atPath: cache.base, toPath: cache.directory.path("hub/models--gpt2"))
        for name in ["gpt2", "hf://gpt2", "hf://gpt2@main", "hf://gpt2/config.json"] {
            let result = try cache.run("inspect", name)
            #expect(name.hasSuffix(".json") ? !result.errors.contains("not in the Hub") : result.status == 0, "\(name) \(result.errors)")
        }
        for name in ["gpt3", "gpt3@main"] {
            let result = try cache.run("inspect", name)
            #expect(result.status == 2 && result.errors.contains("does not exist here, nor in the Hub's cache (\(cache.directory.path("hub/models--gpt3")))"))
        }
    }

    /// What the card says of the tensors is so, and of the base what the base itself says.
    @Test func cardCountsWhatWasDone() throws {
        let directory = try TemporaryDirectory()
        let fixture = Fixtures.repository + "/Fixtures/merge/lora-mts"
        #expect(try Tool.run(["merge", "-q", fixture + "/base", fixture + "/adapter", "-o", directory.path("plain")]).status == 0)
        let plain = try TestFile.text(directory.path("plain/README.md"))
        #expect(plain.contains("8 copied from the base bit for bit") && plain.contains("2 taken from the adapter"), "\(plain)")
        #expect(plain.contains("| made by | peftfile ") && plain.contains("of its norm is left after rounding"))
        #expect(
            try Tool.run(
                ["merge", "-q", Self.fixture + "/base", Self.fixture + "/adapter", "-o", directory.path("wide"), "--dtype", "f32", "--weights", "0.5"]
            ).status == 0)
        let wide = try TestFile.text(directory.path("wide/README.md"))
        #expect(wide.contains("30: 21 computed, 9 converted to F32 |") && wide.contains("| weights | 0.5 |") && wide.contains("| dtype | F32 |"), "\(wide)")
        #expect(!wide.contains("bit for bit"))
        // A licence that is none of the known ones is named, and its place on the web.
        let licensed = directory.path("licensed")
        try FileManager.default.copyItem(atPath: Self.fixture + "/base", toPath: licensed)
        for (link, line) in [("https://example.org/a-b_c/LICENSE", "license_link: https://example.org/a-b_c/LICENSE\n"), ("LICENSE", ""), ("https://a b", "")] {
            try TestFile.write("---\nlicense: other\nlicense_name: my-terms_1.0\nlicense_link: \(link)\n---\nlicense: mit\n", to: licensed + "/README.md")
            #expect(try Tool.run(["merge", "-q", "-f", licensed, Self.fixture + "/adapter", "-o", directory.path("terms")]).status == 0)
            let card = try TestFile.text(directory.path("terms/README.md"))
            #expect(card.contains("\nlicense: other\nlicense_name: my-terms_1.0\n\(line)tags:\n"), "\(card)")
        }
        // A directory that says what it is goes before the adapter's word.
        let base = directory.path("base")
        try FileManager.default.copyItem(atPath: Self.fixture + "/base", toPath: base)
        let config = try TestFile.text(base + "/config.json")
        try TestFile.write("{\"_name_or_path\": \"org/other\"," + config.dropFirst(config.hasPrefix("{") ? 1 : 0), to: base + "/config.json")
        #expect(try Tool.run(["merge", "-q", base, Self.fixture + "/adapter", "-o", directory.path("other")]).status == 0)
        #expect(try TestFile.text(directory.path("other/README.md")).contains("base_model: org/other\n"))
        #expect(try Tool.run(["verify", directory.path("other")]).status == 0)
    }

    /// A plan ends as the run would, and counts all that is written.
    @Test func plansEndAsRunsWould() throws {
        let directory = try TemporaryDirectory()
        let (base, adapter) = (Self.fixture + "/base", Self.fixture + "/adapter")
        let strip = Fixtures.repository + "/Fixtures/strip/ptuning-mlp/unstripped"
        let commands = [["merge", base, adapter], ["convert", base], ["convert", adapter, "--to", "peft"], ["strip", strip]]
        for (number, command) in commands.enumerated() {
            let target = directory.path("out\(number)")
            let plan = try Tool.run(command + ["-o", target, "--dry-run", "--json"])
            #expect(plan.status == 0)
            let document = try #require(try JSONSerialization.jsonObject(with: Data(plan.output.utf8)) as? [String: Any])
            #expect(try Tool.run(command + ["-o", target, "-q"]).status == 0)
            let sizes = try FileManager.default.subpathsOfDirectory(atPath: target).map { try TestFile.bytes("\(target)/\($0)").count }
            let planned = try #require(document["bytes_written"] as? Int)
            // The receipt's figures are known afterwards.
            #expect(sizes.reduce(0, +) <= planned && planned <= sizes.reduce(0, +) + 2000, "\(command) \(sizes.reduce(0, +)) \(planned)")
            let (dry, wet) = (try Tool.run(command + ["-o", target, "--dry-run"]), try Tool.run(command + ["-o", target]))
            #expect(dry.status == 2 && wet.status == 2 && dry.errors.hasSuffix(wet.errors) && wet.errors.contains("not empty"), "\(dry.errors)\(wet.errors)")
            #expect(dry.output.contains("  writes   "))
            #expect(try Tool.run(command + ["-o", target, "--dry-run", "--force"]).status == 0)
        }
    }

    /// As `os.getenv` has it, a variable that is set and empty is set.
    @Test func emptyVariablesAreSet() throws {
        let cache = try Cache()
        let unset = ["HF_HUB_CACHE": "", "HF_HOME": cache.directory.path("no")]
        let here = try Tool.run(["inspect", "org/base"], in: cache.directory.path("hub"), environment: unset)
        #expect(here.status == 0, "\(here.errors)")
    }

    /// A path may name any variable, as for `os.path.expandvars`.
    @Test func pathsOfTheCacheNameAnyVariable() throws {
        let cache = try Cache()
        let result = try Tool.run(
            ["inspect", "org/base"], in: cache.directory.path,
            environment: ["HF_HUB_CACHE": "${MY_DATA}/hub", "MY_DATA": cache.directory.path])
        #expect(result.status == 0, "\(result.errors)")
    }

    /// An option that there is not is told before an argument that is missing.
    @Test(arguments: [["inspect", "--frob"], ["merge", "--frob", "a"], ["diff", "--frob"]]) func unknownOptionsAreToldFirst(_ arguments: [String]) throws {
        let result = try Tool.run(arguments)
        #expect(result.status == 2 && result.errors.contains("unknown option '--frob'"), "\(result.errors)")
        #expect(try Tool.run(["diff", "--limit", "3"]).errors.contains("missing expected argument"))
    }
}

import Foundation
import TestSupport
import Testing

/// Inputs that are others than they were: while a merge reads them, when it goes on, and when its result is proved.
@Suite(.enabled(if: FaultLibrary.path != nil, "processes are stopped by LD_PRELOAD, on Linux with clang or cc"))
struct ChangedInputTests {
    private static let library = FaultLibrary.path ?? ""
    private static let fixture = Fixtures.repository + "/Fixtures/merge/lora-sharded-bf16"

    /// A base and an adapter of one's own, to be written to.
    private struct Place {
        let directory: TemporaryDirectory
        var base: String { directory.path("base") }
        var adapter: String { directory.path("adapter") }
        var out: String { directory.path("out") }
        var weights: String { adapter + "/adapter_model.safetensors" }

        init() throws {
            directory = try TemporaryDirectory()
            for name in ["base", "adapter"] { try FileManager.default.copyItem(atPath: fixture + "/" + name, toPath: directory.path(name)) }
        }

        func shards() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: base).filter { $0.hasSuffix(".safetensors") }.sorted().map { "\(base)/\($0)" }
        }

        func merge(_ more: [String] = [], _ environment: [String: String] = [:]) throws -> Tool.Result {
            try Tool.run(["merge", base, adapter, "-o", out, "-q", "--jobs", "1"] + more, environment: environment)
        }

        /// A merge that stops before the `call`th call that writes.
        func stopped(at call: Int, _ more: [String] = []) throws -> Tool.Run {
            let run = try Tool.start(
                ["merge", base, adapter, "-o", out, "-q", "--jobs", "1"] + more,
                environment: ["LD_PRELOAD": library, "PEFTFILE_FAULT_CALL": "\(call)", "PEFTFILE_FAULT_KIND": "STOP"])
            try run.waitUntilStopped()
            return run
        }

        /// A merge with --resume that fails when some shards are finished.
        func begun() throws {
            let failed = try merge(
                ["--resume"], ["LD_PRELOAD": library, "PEFTFILE_FAULT_CALL": "60", "PEFTFILE_FAULT_KIND": "ENOSPC"])
            #expect(failed.status == 2 && failed.errors.contains("--resume goes on"), "\(failed.errors)")
        }

        var journal: String {
            get throws {
                let staged = try #require(try directory.names().first { $0.hasPrefix(".out.peftfile-") })
                return directory.path("\(staged)/.peftfile-progress.json")
            }
        }
    }

    /// The last bit of a file.
    private static func flip(_ path: String) throws {
        var bytes = try TestFile.bytes(path)
        bytes[bytes.count - 1] ^= 1
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.seek(toOffset: UInt64(bytes.count - 1))
        try handle.write(contentsOf: Data([bytes[bytes.count - 1]]))
        try handle.close()
    }

    // MARK: While it runs

    @Test(arguments: [[], ["--resume"], ["--no-hash"]]) func anInputThatIsWrittenToIsTold(_ more: [String]) throws {
        for input in ["base", "adapter"] {
            let place = try Place()
            let run = try place.stopped(at: 40, more)
            try Self.flip(input == "base" ? try #require(place.shards().first) : place.weights)
            run.send(SIGCONT)
            let result = try run.result()
            #expect(result.status == 2 && result.errors.contains("InputChanged") && result.errors.contains("/\(input)/"), "\(result.errors)")
            #expect(try place.directory.names() == ["adapter", "base"])
        }
    }

    /// One that another file takes the place of is still read to its end.
    @Test func anInputThatIsReplacedIsReadAsItWas() throws {
        let place = try Place()
        let whole = try Tool.run(["merge", place.base, place.adapter, "-o", place.directory.path("whole"), "-q"])
        #expect(whole.status == 0)
        let run = try place.stopped(at: 40)
        try FileManager.default.removeItem(atPath: place.base)
        run.send(SIGCONT)
        #expect(try run.result().status == 0)
        for shard in try FileManager.default.contentsOfDirectory(atPath: place.out) where shard.hasSuffix(".safetensors") {
            #expect(try TestFile.bytes("\(place.out)/\(shard)") == TestFile.bytes(place.directory.path("whole/\(shard)")))
        }
    }

    // MARK: When it goes on

    /// A name is not an input: the same files by another path are taken up, and equal headers at another place are not.
    @Test func inputsAreFilesAndNotNames() throws {
        let place = try Place()
        try place.begun()
        try FileManager.default.copyItem(atPath: place.base, toPath: place.directory.path("base2"))
        let other = try Tool.run(["merge", place.directory.path("base2"), place.adapter, "-o", place.out, "-q", "--resume"])
        #expect(other.status == 2 && other.errors.contains("other inputs") && !other.errors.contains("has changed"), "\(other.errors)")
        let again = try Tool.run(
            ["merge", place.base + "/../base", place.adapter, "-o", place.out, "-q", "--resume"],
            environment: ["LD_PRELOAD": Self.library, "PEFTFILE_FAULT_LOG": place.directory.path("calls")])
        #expect(again.status == 0, "\(again.errors)")
        let shards = try place.shards().count
        let written = try TestFile.text(place.directory.path("calls")).split(separator: "\n").count { $0.hasSuffix("fallocate") }
        #expect(written < shards && written > 0)
    }

    /// Figures in the journal that no merge has: the file is made anew, to the same bytes and the same receipt.
    @Test(arguments: ["9223372036854775807", "-5", "1e3", "", "99999999999999999999"]) func impossibleFiguresAreDamage(_ count: String) throws {
        let place = try Place()
        #expect(try place.merge().status == 0)
        let receipt = try TestFile.bytes(place.out + "/peftfile-receipt.json")
        try FileManager.default.removeItem(atPath: place.out)
        try place.begun()
        let journal = try place.journal
        let text = try TestFile.text(journal)
        let damaged = text.replacing(/"statistics": ?\[ ?\["[0-9]+"/) { String($0.output).replacing(/"[0-9]+"/, with: "\"\(count)\"") }
        #expect(damaged != text)
        try TestFile.write(damaged, to: journal)
        let resumed = try place.merge(["--resume"])
        #expect(resumed.status == 0, "\(resumed.errors)")
        #expect(try TestFile.bytes(place.out + "/peftfile-receipt.json") == receipt)
        #expect(try Tool.run(["verify", place.out, "-q"]).status == 0)
    }

    // MARK: When the result is proved

    @Test func verifyKnowsTheAdapterToItsLastBit() throws {
        for file in ["adapter_model.safetensors", "adapter_config.json"] {
            let place = try Place()
            #expect(try place.merge().status == 0)
            let right = try Tool.run(["verify", place.out])
            #expect(right.status == 0 && right.output.contains(/hashes +[0-9]+ files as the receipt has them/), "\(right.output)")
            let path = "\(place.adapter)/\(file)"
            if file.hasSuffix("json") { try TestFile.write(TestFile.text(path) + " ", to: path) } else { try Self.flip(path) }
            let result = try Tool.run(["verify", place.out])
            #expect(result.status == 2 && result.errors.contains("its SHA-256 differs") && result.errors.contains(path), "\(result.errors)")
        }
    }

    @Test func verifySaysWhereThereAreNoHashes() throws {
        let place = try Place()
        #expect(try place.merge(["--no-hash"]).status == 0)
        let result = try Tool.run(["verify", place.out])
        #expect(result.status == 0 && result.output.contains("none in the receipt (--no-hash)"), "\(result.output)")
        #expect(try Tool.run(["verify", place.out, "--json"]).output.contains("\"hashed_files\": 0"))
        // Named inputs: no receipt is asked.
        let named = try Tool.run(["verify", place.out, "--base", place.base, "--adapter", place.adapter])
        #expect(named.status == 0 && !named.output.contains("hashes"), "\(named.output)")
    }

    /// Options of a later version, or of a hand: the result is not judged by others.
    @Test(arguments: [
        ("\"dtype\": null", "\"dtype\": \"F12\""), ("\"task\": null", "\"task\": \"two\""), ("\"scale\": null", "\"scale\": \"2\""),
        ("\"expert_order\": null", "\"expert_order\": \"sideways\""), ("\"enable_lora\": []", "\"enable_lora\": [true, 1]"),
        ("\"component\": null", "\"component\": 7"), ("\"dtype_all\": false", "\"dtype_all\": 0"), ("\"tie\": \"", "\"tie\": \"x"),
    ]) func unreadOptionsOfAReceiptAreRefused(_ before: String, _ after: String) throws {
        let place = try Place()
        #expect(try place.merge().status == 0)
        let path = place.out + "/peftfile-receipt.json"
        let text = try TestFile.text(path)
        #expect(text.contains(before))
        try TestFile.write(text.replacing(before, with: after), to: path)
        let result = try Tool.run(["verify", place.out])
        #expect(result.status == 2 && result.errors.contains("[Receipt]") && result.errors.contains(" option "), "\(result.errors)")
    }

    // MARK: Signals

    /// nohup, or a script's background job: a signal that is to be ignored stays so.
    @Test(arguments: [SIGINT, SIGHUP]) func ignoredSignalsStayIgnored(_ signal: Int32) throws {
        let place = try Place()
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = [
            "-c", "trap '' \(signal); \"$0\" merge \"$1\" \"$2\" -o \"$3\" -q --jobs 1 & child=$!; sleep 0.3; kill -\(signal) $child; kill -CONT $child; wait $child",
            Tool.path, place.base, place.adapter, place.out,
        ]
        process.environment = ProcessInfo.processInfo.environment.merging(
            ["LD_PRELOAD": Self.library, "PEFTFILE_FAULT_CALL": "40", "PEFTFILE_FAULT_KIND": "STOP"]) { $1 }
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(FileManager.default.fileExists(atPath: place.out + "/peftfile-receipt.json"))
    }
}

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

    /// What the receipt names must be there to be read again.
    @Test func anInputThatIsReplacedIsTold() throws {
        for isRemoved in [true, false] {
            let place = try Place()
            let run = try place.stopped(at: 40)
            let shard = try #require(place.shards().first)
            try FileManager.default.moveItem(atPath: shard, toPath: place.directory.path("aside"))
            if !isRemoved { try FileManager.default.copyItem(atPath: place.directory.path("aside"), toPath: shard) }
            run.send(SIGCONT)
            let result = try run.result()
            #expect(result.status == 2 && result.errors.contains("replaced or removed") && result.errors.contains(shard), "\(result.errors)")
            #expect(try place.directory.names() == ["adapter", "aside", "base"])
        }
    }

    /// A file beside the weights that changes while it is copied, or after the plan was made.
    @Test func aSidecarThatIsWrittenToIsTold() throws {
        let place = try Place()
        let tokenizer = place.base + "/tokenizer.json"
        try TestFile.write([UInt8](repeating: 0x20, count: 3 << 20), to: tokenizer)
        let log = place.directory.path("calls")
        #expect(try place.merge([], ["LD_PRELOAD": Self.library, "PEFTFILE_FAULT_LOG": log]).status == 0)
        try FileManager.default.removeItem(atPath: place.out)
        // Between the second and the third mebibyte: the writes behind the last room that was reserved for more than a page.
        let calls = try TestFile.text(log).split(separator: "\n").map { String($0.split(separator: " ")[1]) }
        let reserved = try #require(calls.lastIndex(of: "fallocate"))
        for (call, replacement) in [(reserved + 4, Array("{}".utf8)), (1, [UInt8](repeating: 0x20, count: 5))] {
            let run = try place.stopped(at: call)
            let handle = try #require(FileHandle(forWritingAtPath: tokenizer))
            try handle.write(contentsOf: Data(replacement))
            if replacement.count == 5 { try handle.truncate(atOffset: 5) }
            try handle.close()
            run.send(SIGCONT)
            let result = try run.result()
            #expect(result.status == 2 && result.errors.contains("InputChanged") && result.errors.contains("tokenizer.json"), "\(result.errors)")
            #expect(!FileManager.default.fileExists(atPath: place.out))
            try TestFile.write([UInt8](repeating: 0x20, count: 3 << 20), to: tokenizer)
        }
    }

    /// The hash of a config is that of the bytes that were read.
    @Test func theReceiptNamesTheConfigThatWasRead() throws {
        let place = try Place()
        let config = place.adapter + "/adapter_config.json"
        let before = try TestFile.text(config)
        let run = try place.stopped(at: 1)
        try TestFile.write(before + "\n\n", to: config)
        run.send(SIGCONT)
        #expect(try run.result().status == 0)
        let other = try Tool.run(["verify", place.out])
        #expect(other.status == 2 && other.errors.contains("adapter_config.json") && other.errors.contains("SHA-256"), "\(other.errors)")
        try TestFile.write(before, to: config)
        #expect(try Tool.run(["verify", place.out, "-q"]).status == 0)
    }

    /// A config that is a link without an end, a directory or a FIFO is no absent one.
    @Test func aConfigThatCannotBeReadIsNotAbsent() throws {
        for kind in ["link", "directory", "fifo"] {
            let place = try Place()
            let config = place.base + "/config.json"
            try FileManager.default.removeItem(atPath: config)
            switch kind {
            case "link": try FileManager.default.createSymbolicLink(atPath: config, withDestinationPath: "../blobs/none")
            case "directory": try FileManager.default.createDirectory(atPath: config, withIntermediateDirectories: false)
            default: #expect(mkfifo(config, 0o600) == 0)
            }
            let result = try place.merge()
            #expect(result.status == 2 && result.errors.contains("config.json"), "\(kind): \(result.status) \(result.errors)")
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

    /// A shard that was replaced between the opening of the base and the first file: what is finished came from the old one.
    @Test func theJournalKnowsTheFilesThatWereOpened() throws {
        let place = try Place()
        let other = place.directory.path("other")
        try FileManager.default.copyItem(atPath: place.base, toPath: other)
        let run = try Tool.start(
            ["merge", place.base, place.adapter, "-o", place.out, "-q", "--jobs", "1", "--resume"],
            environment: ["LD_PRELOAD": Self.library, "PEFTFILE_FAULT_STOP": "1", "PEFTFILE_FAULT_CALL": "60", "PEFTFILE_FAULT_KIND": "KILL"])
        try run.waitUntilStopped()
        for shard in try place.shards() {
            try FileManager.default.removeItem(atPath: shard)
            try FileManager.default.moveItem(atPath: other + "/" + (shard.split(separator: "/").last ?? ""), toPath: shard)
        }
        run.send(SIGCONT)
        #expect(try run.result().status == -SIGKILL)
        _ = try place.journal
        let again = try place.merge(["--resume"])
        #expect(again.status == 2 && again.errors.contains("ResumeInputs"), "\(again.errors)")
    }

    /// One file is always made anew.
    @Test func aSingleFileIsNotResumed() throws {
        let place = try Place()
        let one = Fixtures.repository + "/Fixtures/merge/lora-r1"
        let result = try Tool.run(["merge", one + "/base/model.safetensors", one + "/adapter", "-o", place.directory.path("o.safetensors"), "--resume"])
        #expect(result.status == 2 && result.errors.contains("ResumeFile"), "\(result.errors)")
    }

    /// Figures in the journal that no merge has, and one that it could have but for the checksum: the file is made anew, to the same
    /// bytes and the same receipt.
    @Test(arguments: ["1", "9223372036854775807", "-5", "1e3", "", "99999999999999999999"]) func impossibleFiguresAreDamage(_ count: String) throws {
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
        ("\"component\": null", "\"component\": 7"), ("\"rounding\": \"exact\"", "\"rounding\": \"stochastic\""),
        ("\"max_shard_size\": null", "\"max_shard_size\": {}"), ("\"task\": null", "\"task\": null, \"sparsity\": 2"), ("\"dtype_all\": false", "\"dtype_all\": 0"), ("\"tie\": \"", "\"tie\": \"x"),
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

    /// What is no statement of a merge, or one that was thinned out.
    @Test(arguments: [
        (#""_type": "https://in-toto.io/Statement/v1""#, #""_type": "x""#), (#""schema": "peftfile.merge/1""#, #""schema": "peftfile.merge/9""#),
        (#""predicateType": "https"#, #""predicateType": "ftp"#), (#""sha256": ""#, #""sha256": "0"#), (#""digest": {"#, #""digests": {"#),
        (#""subject": ["#, #""subject": [], "subjects": ["#), (#""name": "config.json""#, #""name": "../base/config.json""#),
        (#""name": "config.json""#, #""name": "/etc/passwd""#), (#""files": ["#, #""files": [], "others": ["#),
    ]) func receiptsThatAreNoneAreRefused(_ before: String, _ after: String) throws {
        let place = try Place()
        #expect(try place.merge().status == 0)
        let path = place.out + "/peftfile-receipt.json"
        let text = try TestFile.text(path)
        #expect(text.contains(before), "\(before)")
        try TestFile.write(text.replacing(before, with: after, maxReplacements: 1), to: path)
        let result = try Tool.run(["verify", place.out])
        #expect(result.status == 2 && result.errors.contains("[Receipt]"), "\(after): \(result.status) \(result.errors) \(result.output)")
    }

    /// Files that the merge did not write are named, and judged by nobody.
    @Test func addedFilesAreNamed() throws {
        let place = try Place()
        #expect(try place.merge().status == 0)
        try TestFile.write("import os", to: place.out + "/modeling_x.py")
        let result = try Tool.run(["verify", place.out])
        #expect(result.status == 0 && result.errors.contains("modeling_x.py"), "\(result.errors)")
        #expect(try Tool.run(["verify", place.out, "--json"]).output.contains("modeling_x.py"))
    }

    // MARK: Signals

    /// nohup, or a script's background job: a signal that is to be ignored stays so.
    @Test(arguments: [SIGINT, SIGHUP]) func ignoredSignalsStayIgnored(_ signal: Int32) throws {
        let place = try Place()
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = [
            "-c",
            """
            trap '' \(signal); "$0" merge "$1" "$2" -o "$3" -q --jobs 1 & child=$!
            # Stopped by itself in the middle, which on a busy machine takes a while; or ended, which is a failure below.
            while grep -q '^State:[[:space:]]*[^TZ[:space:]]' /proc/$child/status; do sleep 0.05; done
            kill -\(signal) $child; kill -CONT $child; wait $child
            """,
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

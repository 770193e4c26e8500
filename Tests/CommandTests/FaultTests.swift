import Foundation
import TestSupport
import Testing

/// Every call that changes the file system goes wrong once, in every way: the target is then as it was or whole, a failure
/// is told and leaves nothing else behind, and a process that died can be run again.
@Suite(.enabled(if: FaultLibrary.path != nil, "faults are put in by LD_PRELOAD, on Linux with clang or cc"))
struct FaultTests {
    private static let library = FaultLibrary.path ?? ""

    // MARK: The matrix

    enum Kind: String, CaseIterable { case eio = "EIO", enospc = "ENOSPC", eintr = "EINTR", short = "SHORT", kill = "KILL" }

    /// What is written, and over what.
    enum Scenario: String, CaseIterable {
        /// A merge into a directory of several shards that is not there yet.
        case fresh
        /// The same over an older one.
        case replacing
        /// The same without hashes, copying inside the kernel.
        case copying
        /// The same, to be resumed.
        case resuming
        /// A merge of one file into one file.
        case file
        /// The same over an older one, with its receipt.
        case replacingFile
        /// A strip.
        case strip

        var arguments: [String] {
            let sharded = "Fixtures/merge/lora-sharded-bf16"
            switch self {
            case .fresh: return ["merge", sharded + "/base", sharded + "/adapter"]
            case .replacing: return ["merge", sharded + "/base", sharded + "/adapter", "--force"]
            case .copying: return ["merge", sharded + "/base", sharded + "/adapter", "--no-hash"]
            case .resuming: return ["merge", sharded + "/base", sharded + "/adapter", "--resume"]
            case .file:
                let one = "Fixtures/merge/lora-r1"
                return ["merge", one + "/base/model.safetensors", one + "/adapter"]
            case .replacingFile: return Scenario.file.arguments + ["--force"]
            case .strip: return ["strip", "Fixtures/strip/ptuning-lstm/unstripped"]
            }
        }

        func run(into target: String, _ environment: [String: String] = [:]) throws -> Tool.Result {
            try Tool.run(arguments + ["-o", target, "-q", "--jobs", "1"], environment: environment)
        }
    }

    /// The bytes of everything at a path, by name, and of a receipt beside it; nil where nothing is.
    private func content(_ path: String) throws -> [String: [UInt8]]? {
        var isDirectory = ObjCBool(false)
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else { return nil }
        guard isDirectory.boolValue else {
            var result = ["": try TestFile.bytes(path)]
            if FileManager.default.fileExists(atPath: path + ".receipt.json") { result["receipt"] = try TestFile.bytes(path + ".receipt.json") }
            return result
        }
        var result: [String: [UInt8]] = [:]
        for name in try FileManager.default.subpathsOfDirectory(atPath: path) { result[name] = try TestFile.bytes("\(path)/\(name)") }
        return result
    }

    /// All kinds where a merge is written anew; where only the way in or out differs, those that take another way.
    private static let matrix: [(Scenario, Kind)] =
        Kind.allCases.map { (.fresh, $0) } + Kind.allCases.map { (.file, $0) } + Kind.allCases.map { (.strip, $0) } + [
            (.replacing, .eio), (.replacing, .kill), (.replacingFile, .eio), (.replacingFile, .enospc), (.replacingFile, .kill),
            (.copying, .eio), (.copying, .short), (.resuming, .enospc), (.resuming, .kill),
        ]

    /// What the target was after each call that went wrong.
    private struct Outcomes {
        /// As before.
        var old = 0
        /// The whole result.
        var new = 0
        /// The whole result after the same command once more; after every SIGKILL, and after every eighth failure.
        var repeated = 0

        /// A line of the table that `make faults` prints.
        func show(_ scenario: Scenario, _ kind: Kind, calls: Int) {
            guard ProcessInfo.processInfo.environment["PEFTFILE_FAULT_TABLE"] != nil else { return }
            print("fault \(scenario) \(kind.rawValue): \(calls) calls, \(old) old, \(new) new, \(calls - old - new) half, \(repeated) repeated")
        }
    }

    @Test(arguments: matrix) func everyCallGoesWrongOnce(_ scenario: Scenario, _ kind: Kind) throws {
        let library = Self.library
        let directory = try TemporaryDirectory()
        // What the target holds before: nothing, or an older result. A receipt names its file, so all have one name.
        let old = directory.path("old/out")
        for name in ["old", "whole"] { try FileManager.default.createDirectory(atPath: directory.path(name), withIntermediateDirectories: true) }
        if scenario == .replacing { #expect(try Scenario.fresh.run(into: old).status == 0) }
        if scenario == .replacing { try TestFile.write("{}", to: old + "/extra.json") }
        if scenario == .replacingFile {
            #expect(try Tool.run(Scenario.file.arguments + ["-o", old, "-q", "--dtype", "F32", "--dtype-all"]).status == 0)
        }
        let before = try content(old)
        #expect(try scenario.run(into: directory.path("whole/out")).status == 0)
        let after = try #require(try content(directory.path("whole/out")))
        #expect(before != after)

        func place(_ number: Int) throws -> (folder: String, target: String) {
            let folder = directory.path("run\(number)")
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            for name in try FileManager.default.contentsOfDirectory(atPath: directory.path("old")) {
                try FileManager.default.copyItem(atPath: directory.path("old/\(name)"), toPath: "\(folder)/\(name)")
            }
            return (folder, folder + "/out")
        }
        func environment(_ number: Int) -> [String: String] {
            ["LD_PRELOAD": library, "PEFTFILE_FAULT_CALL": "\(number)", "PEFTFILE_FAULT_KIND": kind.rawValue]
        }
        // How many calls there are.
        let log = directory.path("calls")
        let (_, counted) = try place(0)
        #expect(
            try scenario.run(
                into: counted, ["LD_PRELOAD": library, "PEFTFILE_FAULT_LOG": log, "PEFTFILE_FAULT_KIND": kind.rawValue]
            ).status == 0)
        let calls = try TestFile.text(log).split(separator: "\n").map { String($0.split(separator: " ")[1]) }
        #expect(calls.count > 10)
        var outcomes = Outcomes()
        defer { outcomes.show(scenario, kind, calls: calls.count) }

        for (index, name) in calls.enumerated() {
            let number = index + 1
            let (folder, target) = try place(number)
            let result = try scenario.run(into: target, environment(number))
            let now = try content(target)
            let comment: Comment = "\(scenario) \(kind) at call \(number), \(name): \(result.status) \(result.errors)"
            // A file and its receipt have two names. Who dies between giving the one and the other leaves a receipt that does not fit
            // the file, or none; who is told that the second cannot be given says so.
            let isBetween = after["receipt"] != nil && now?[""] == after[""] && now?["receipt"] == (kind == .kill ? before?["receipt"] : nil)
                && (kind == .kill || result.errors.contains("is whole and in place, without its receipt"))
            #expect(now == before || now == after || isBetween, comment)
            if now == before { outcomes.old += 1 } else if now == after || isBetween { outcomes.new += 1 }
            let left = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix(".") }
            switch kind {
            case .eintr, .short:
                #expect(result.status == 0 && now == after && left.isEmpty, comment)
            case .eio, .enospc:
                // Copying inside the kernel falls back to reading and writing.
                #expect(result.status == 2 || name == "copy_file_range" && kind == .eio, comment)
                #expect(result.errors.split(separator: "\n").count == (result.status == 0 ? 0 : 1), comment)
                let keeps = scenario == .resuming && result.errors.contains("--resume goes on")
                #expect(left.isEmpty != keeps, comment)
            case .kill:
                #expect(result.status == -SIGKILL, comment)
            }
            guard result.status != 0, kind == .kill || number % 8 == 0 else { continue }
            // The next run goes through, and nothing of the first stays behind.
            if now != before { try FileManager.default.removeItem(atPath: folder) }
            let again = now != before ? try place(number) : (folder, target)
            let second = try scenario.run(into: again.1)
            let made = try content(again.1)
            #expect(second.status == 0 && made == after, "\(comment), and again: \(second.errors)")
            if made == after { outcomes.repeated += 1 }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).allSatisfy { !$0.hasPrefix(".") }, comment)
        }
    }

    // MARK: Resuming

    private static let sharded = "Fixtures/merge/lora-sharded-bf16"

    /// A merge that dies after its second shard makes only the others anew, and comes to the same bytes.
    @Test func finishedShardsAreNotMadeAgain() throws {
        let library = Self.library
        let directory = try TemporaryDirectory()
        func merge(_ target: String, _ environment: [String: String] = [:]) throws -> Tool.Result {
            try Tool.run(
                ["merge", Self.sharded + "/base", Self.sharded + "/adapter", "-o", target, "--resume", "-q", "--jobs", "1"],
                environment: environment)
        }
        let log = directory.path("calls")
        #expect(try merge(directory.path("whole"), ["LD_PRELOAD": library, "PEFTFILE_FAULT_LOG": log]).status == 0)
        let calls = try TestFile.text(log).split(separator: "\n").map { String($0.split(separator: " ")[1]) }
        // Every shard reserves its room once.
        let starts = calls.indices.filter { calls[$0] == "fallocate" }
        try #require(starts.count >= 3)
        let target = directory.path("out")
        let killed = try merge(
            target, ["LD_PRELOAD": library, "PEFTFILE_FAULT_CALL": "\(starts[2] + 1)", "PEFTFILE_FAULT_KIND": "KILL"])
        #expect(killed.status == -SIGKILL)
        let second = directory.path("calls2")
        #expect(try merge(target, ["LD_PRELOAD": library, "PEFTFILE_FAULT_LOG": second]).status == 0)
        let resumed = try TestFile.text(second).split(separator: "\n").filter { $0.hasSuffix("fallocate") }
        #expect(resumed.count == starts.count - 2)
        #expect(try content(target) == content(directory.path("whole")))
    }

    /// Finished is what has the recorded bytes: a shard that was damaged meanwhile is made again, and inputs that changed are
    /// refused.
    @Test func whatChangedMeanwhileIsNoticed() throws {
        let library = Self.library
        let directory = try TemporaryDirectory()
        let base = directory.path("base")
        try FileManager.default.copyItem(atPath: Fixtures.repository + "/" + Self.sharded + "/base", toPath: base)
        let target = directory.path("out")
        // A time that can be set again to the nanosecond.
        let dated = [FileAttributeKey.modificationDate: Date(timeIntervalSince1970: 1_700_000_000)]
        for name in try FileManager.default.contentsOfDirectory(atPath: base) {
            try FileManager.default.setAttributes(dated, ofItemAtPath: "\(base)/\(name)")
        }
        func merge(_ environment: [String: String] = [:], to target: String) throws -> Tool.Result {
            try Tool.run(
                ["merge", base, Self.sharded + "/adapter", "-o", target, "--resume", "-q", "--jobs", "1"], environment: environment)
        }
        #expect(try merge(to: directory.path("whole")).status == 0)
        let failed = try merge(["LD_PRELOAD": library, "PEFTFILE_FAULT_CALL": "60", "PEFTFILE_FAULT_KIND": "ENOSPC"], to: target)
        #expect(failed.status == 2 && failed.errors.contains("--resume goes on"))
        let staged = try #require(
            try FileManager.default.contentsOfDirectory(atPath: directory.path).first { $0.hasPrefix(".out.peftfile-") })
        let shards = try FileManager.default.contentsOfDirectory(atPath: directory.path(staged))
            .filter { $0.hasSuffix(".safetensors") && !$0.hasPrefix(".") }.sorted()
        let damaged = directory.path("\(staged)/\(try #require(shards.first))")
        var bytes = try TestFile.bytes(damaged)
        bytes[bytes.count - 1] ^= 1
        try TestFile.write(bytes, to: damaged)
        // The same header and time, other numbers, in the same file.
        let input = "\(base)/\(try #require(shards.last))"
        let original = try TestFile.bytes(input)
        var other = original
        other[other.count - 1] ^= 1
        try TestFile.write(other, to: input)
        try FileManager.default.setAttributes(dated, ofItemAtPath: input)
        let refused = try merge(to: target)
        #expect(refused.status == 2 && refused.errors.contains("ResumeInputs"))
        #expect(!FileManager.default.fileExists(atPath: target))
        // Without --resume everything is made from what is there now.
        try TestFile.write(original, to: input)
        #expect(
            try Tool.run(["merge", base, Self.sharded + "/adapter", "-o", target, "-q", "--jobs", "1"]).status == 0)
        #expect(try content(target) == content(directory.path("whole")))
    }

    @Test func resumeNeedsHashes() throws {
        let directory = try TemporaryDirectory()
        let result = try Tool.run(
            ["merge", Self.sharded + "/base", Self.sharded + "/adapter", "-o", directory.path("out"), "--resume", "--no-hash"])
        #expect(result.status == 2 && result.errors.contains("ResumeHash"))
        #expect(try directory.names().isEmpty)
    }

    // MARK: Two at once, and signals

    private func stopped(at call: Int, into target: String, _ more: [String] = []) throws -> Tool.Run {
        let run = try Tool.start(
            ["merge", Self.sharded + "/base", Self.sharded + "/adapter", "-o", target, "-q", "--jobs", "1"] + more,
            environment: [
                "LD_PRELOAD": Self.library, "PEFTFILE_FAULT_CALL": "\(call)", "PEFTFILE_FAULT_KIND": "STOP",
            ])
        try run.waitUntilStopped()
        return run
    }

    @Test func twoMergesIntoOneTargetEndWithOneRefusal() throws {
        let directory = try TemporaryDirectory()
        let target = directory.path("out")
        let merge = ["merge", Self.sharded + "/base", Self.sharded + "/adapter", "-o", target, "-q"]
        for force in [[], ["--force"]] {
            let first = try stopped(at: 40, into: target, force)
            // The same, another plan, another command.
            for other in [merge, merge + ["--dtype", "F32"], ["convert", Self.sharded + "/base", "-o", target]] {
                let second = try Tool.run(other + force)
                #expect(second.status == 2 && second.errors.contains("OutputBusy"), "\(second.errors)")
            }
            first.send(SIGCONT)
            #expect(try first.result().status == 0)
            #expect(try directory.names() == ["out"])
        }
        #expect(try Tool.run(["verify", target, "-q"]).status == 0)
    }

    /// Of two runs that replace one file, one is refused, and the receipt is that of the file.
    @Test func twoMergesIntoOneFileEndWithOneRefusal() throws {
        let directory = try TemporaryDirectory()
        let target = directory.path("out.safetensors")
        let merge = Scenario.file.arguments + ["-o", target, "-q", "--force"]
        let first = try Tool.start(
            merge, environment: ["LD_PRELOAD": Self.library, "PEFTFILE_FAULT_CALL": "8", "PEFTFILE_FAULT_KIND": "STOP"])
        try first.waitUntilStopped()
        let second = try Tool.run(merge + ["--dtype", "F32", "--dtype-all"])
        #expect(second.status == 2 && second.errors.contains("OutputBusy"), "\(second.errors)")
        first.send(SIGCONT)
        #expect(try first.result().status == 0)
        #expect(try Tool.run(["verify", target, "-q"]).status == 0)
        #expect(try directory.names() == ["out.safetensors", "out.safetensors.receipt.json"])
    }

    /// An input that is cut short under us is a short read: told, with the file, and nothing is left.
    @Test func anInputThatShrinksIsTold() throws {
        let directory = try TemporaryDirectory()
        let base = directory.path("base")
        try FileManager.default.copyItem(atPath: Fixtures.repository + "/" + Self.sharded + "/base", toPath: base)
        let shards = try FileManager.default.contentsOfDirectory(atPath: base).filter { $0.hasSuffix(".safetensors") }.sorted()
        let last = "\(base)/\(try #require(shards.last))"
        let run = try Tool.start(
            ["merge", base, Self.sharded + "/adapter", "-o", directory.path("out"), "-q", "--jobs", "1"],
            environment: ["LD_PRELOAD": Self.library, "PEFTFILE_FAULT_CALL": "3", "PEFTFILE_FAULT_KIND": "STOP"])
        try run.waitUntilStopped()
        try TestFile.write(Array(TestFile.bytes(last).prefix(400)), to: last)
        run.send(SIGCONT)
        let result = try run.result()
        #expect(result.status == 2 && result.errors.contains("shrank while it was read") && result.errors.contains(last), "\(result.errors)")
        #expect(try directory.names() == ["base"])
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP]) func signalsStopAndCleanUp(_ signal: Int32) throws {
        let directory = try TemporaryDirectory()
        let target = directory.path("out")
        let run = try stopped(at: 40, into: target)
        run.send(signal)
        let start = Date()
        run.send(SIGCONT)
        let result = try run.result()
        #expect(Date().timeIntervalSince(start) < 1)
        #expect(
            result.status == 128 + signal && result.errors.split(separator: "\n").count == 1,
            "\(result.status) \(result.errors)")
        #expect(try directory.names().isEmpty)
    }

    @Test func signalsLeaveWhatCanBeResumed() throws {
        let directory = try TemporaryDirectory()
        let target = directory.path("out")
        let run = try stopped(at: 60, into: target, ["--resume"])
        run.send(SIGTERM)
        run.send(SIGCONT)
        let result = try run.result()
        #expect(result.status == 143 && result.errors.contains("--resume goes on"))
        #expect(try directory.names().count == 1)
        let again = try Tool.run(["merge", Self.sharded + "/base", Self.sharded + "/adapter", "-o", target, "-q", "--resume"])
        #expect(again.status == 0)
        #expect(try directory.names() == ["out"])
    }
}

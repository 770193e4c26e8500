import Foundation
import TestSupport
import Testing

/// Where there is no room: a message with the bytes that are needed, before anything is written, and nothing left.
@Suite(.serialized) struct DiskTests {
    private static let base = "Fixtures/merge/lora-sharded-bf16/base"
    private static let adapter = "Fixtures/merge/lora-sharded-bf16/adapter"

    private func shell(_ words: [String]) -> Bool {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = words
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    /// A disk of 8 KiB, where this process may mount one.
    @Test func aSmallDiskIsRefusedBeforeAnythingIsWritten() throws {
        let directory = try TemporaryDirectory()
        let disk = directory.path("disk")
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        guard shell(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk]) else { return }
        defer { _ = shell(["umount", disk]) }
        for arguments in [
            ["merge", Self.base, Self.adapter], ["strip", "Fixtures/strip/adapterhub-bart/unstripped", "--layout", "source"],
        ] {
            let result = try Tool.run(arguments + ["-o", disk + "/out", "-q"])
            #expect(result.status == 2, "\(result.errors)")
            #expect(result.errors.contains(/needs [0-9]+ bytes, and [0-9]+ are free/) && result.errors.contains("DiskSpace"), "\(result.errors)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: disk).isEmpty)
        }
    }

    /// A limit on the size of files (`ulimit -f`, in blocks of 512 bytes) shows only when the room is reserved.
    @Test(.disabled(if: Sanitizer.isOn, "under that limit ThreadSanitizer does not start"))
    func aFileSizeLimitIsAnErrorAndNoSignal() throws {
        let directory = try TemporaryDirectory()
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", "ulimit -f 1; exec \"$@\"", "sh", Tool.path, "merge", Self.base, Self.adapter, "-o", directory.path("out"), "-q"]
        process.currentDirectoryURL = URL(filePath: Fixtures.repository)
        let pipe = Pipe()
        process.standardError = pipe
        try process.run()
        let errors = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationReason == .exit && process.terminationStatus == 2, "\(errors)")
        #expect(errors.contains(/cannot reserve [0-9]+ bytes/) && errors.split(separator: "\n").count == 1, "\(errors)")
        #expect(try directory.names().isEmpty)
    }

    // MARK: Links

    /// What a link at the target points to is not touched, with or without --force.
    @Test(arguments: [[], ["--force"]]) func linksAtTheTargetAreNotFollowed(_ force: [String]) throws {
        let directory = try TemporaryDirectory()
        let precious = directory.path("precious")
        try FileManager.default.createDirectory(atPath: precious, withIntermediateDirectories: true)
        try TestFile.write("thesis", to: precious + "/thesis.txt")
        try FileManager.default.createSymbolicLink(atPath: directory.path("link"), withDestinationPath: precious)
        try FileManager.default.createSymbolicLink(atPath: directory.path("dangling"), withDestinationPath: directory.path("nowhere"))
        try FileManager.default.createSymbolicLink(atPath: directory.path("dangling.safetensors"), withDestinationPath: directory.path("nowhere2"))
        let one = "Fixtures/merge/lora-r1"
        for arguments in [
            ["merge", Self.base, Self.adapter, "-o", directory.path("link")], ["merge", Self.base, Self.adapter, "-o", directory.path("dangling")],
            ["merge", one + "/base/model.safetensors", one + "/adapter", "-o", directory.path("dangling.safetensors")],
            ["strip", "Fixtures/strip/ptuning-lstm/unstripped", "-o", directory.path("link")],
            ["convert", Self.adapter, "--to", "kohya", "-o", directory.path("link")],
        ] {
            let result = try Tool.run(arguments + force)
            let words = force.isEmpty ? "exists|link" : ""
            #expect(try result.errors.contains(Regex(words)) && !result.errors.contains("is a file, and"), "\(arguments): \(result.errors)")
            #expect(result.status == 0 || force.isEmpty || arguments.last == directory.path("link"), "\(arguments): \(result.errors)")
            #expect(result.status == 2 || !force.isEmpty, "\(arguments): \(result.errors)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: precious) == ["thesis.txt"], "\(arguments)")
            #expect(!FileManager.default.fileExists(atPath: directory.path("nowhere")) && !FileManager.default.fileExists(atPath: directory.path("nowhere2")))
        }
        #expect(try TestFile.text(precious + "/thesis.txt") == "thesis")
    }
}

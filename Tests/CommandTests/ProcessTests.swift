import Foundation
import TestSupport
import Testing

/// What holds for the process as a whole: libraries it needs, bytes it writes, commands it suggests.
@Suite struct ProcessTests {
    private let base = "Fixtures/merge/lora-linear-bf16/base"
    private let adapter = "Fixtures/merge/lora-linear-bf16/adapter"

    @Test func onlyVerifyNeedsOpenBLAS() throws {
        let directory = try TemporaryDirectory()
        let without = ["PEFTFILE_OPENBLAS": directory.path("no-such-library.so")]
        let target = directory.path("merged")
        #expect(try Tool.run(["inspect", adapter], environment: without).status == 0)
        #expect(try Tool.run(["merge", base, adapter, "-o", target], environment: without).status == 0)
        let verify = try Tool.run(["verify", target], environment: without)
        #expect(verify.status == 2)
        #expect(verify.output.isEmpty)
        #expect(verify.errors.contains("libopenblas"))
        #expect(try Tool.run(["verify", target]).status == 0)
    }

    /// Tensors are compared without OpenBLAS, and so are adapters with the same factors; only products need it.
    @Test func diffDoesWhatItCanWithoutOpenBLAS() throws {
        let directory = try TemporaryDirectory()
        let without = ["PEFTFILE_OPENBLAS": directory.path("no-such-library.so")]
        #expect(try Tool.run(["diff", base, base], environment: without).status == 0)
        let same = try Tool.run(["diff", adapter, adapter], environment: without)
        #expect(same.status == 0 && same.output.contains("all the same"))
        let other = "Fixtures/merge/lora-linear-f16/adapter"
        let different = try Tool.run(["diff", adapter, other], environment: without)
        #expect(different.status == 1 && different.errors.isEmpty)
        #expect(different.output.contains("not compared: OpenBLAS") && different.output.contains("libopenblas"))
        #expect(try Tool.run(["diff", adapter, other]).output.contains("updates of modules"))
    }

    @Test func bytesDoNotDependOnTheCPUPath() throws {
        let directory = try TemporaryDirectory()
        for path in ["generic", "avx2", "avx2sha", "avx512"] {
            let result = try Tool.run(
                ["merge", base, adapter, "-o", directory.path(path)], environment: ["PEFTFILE_CPU": path])
            #expect(result.status == 0)
        }
        // The receipt holds figures of the update beside the hashes, and these are good to five digits only.
        for file in try FileManager.default.contentsOfDirectory(atPath: directory.path("generic"))
        where file != "peftfile-receipt.json" {
            let bytes = try TestFile.bytes(directory.path("generic/\(file)"))
            #expect(try TestFile.bytes(directory.path("avx2/\(file)")) == bytes)
            #expect(try TestFile.bytes(directory.path("avx2sha/\(file)")) == bytes)
            #expect(try TestFile.bytes(directory.path("avx512/\(file)")) == bytes)
        }
    }

    @Test func strippedBytesDoNotDependOnTheCPUPath() throws {
        let directory = try TemporaryDirectory()
        for state in ["ptuning-lstm", "prefix-projection-t5"] {
            for path in ["generic", "avx2", "avx2sha"] {
                let result = try Tool.run(
                    ["strip", "Fixtures/strip/\(state)/unstripped", "-o", directory.path(state + path)],
                    environment: ["PEFTFILE_CPU": path])
                #expect(result.status == 0)
                #expect(
                    try TestFile.bytes(directory.path("\(state + path)/adapter_model.safetensors"))
                        == TestFile.bytes(directory.path("\(state)generic/adapter_model.safetensors")))
            }
        }
    }

    @Test func theCommandThatARefusalSuggestsGetsFurther() throws {
        let directory = try TemporaryDirectory()
        let refused = try Tool.run(["merge", adapter, base, "-o", directory.path("out")])
        #expect(refused.status == 2)
        let hint = try #require(refused.errors.split(separator: "; ").last)
        let words = hint.split(whereSeparator: \.isWhitespace).map { $0 == "OUT" ? directory.path("out") : String($0) }
        #expect(words.first == "peftfile")
        #expect(try Tool.run(Array(words.dropFirst())).status == 0)
    }

    @Test func aReceiptCatchesFilesThatChangedAfterTheMerge() throws {
        let directory = try TemporaryDirectory()
        let target = directory.path("merged")
        #expect(try Tool.run(["merge", base, adapter, "-o", target]).status == 0)
        #expect(try Tool.run(["verify", target]).status == 0)
        try TestFile.write("changed", to: target + "/README.md")
        let changed = try Tool.run(["verify", target])
        #expect(changed.status == 1)
        #expect(changed.output.contains("README.md"))
        // The options of the merge are the receipt's.
        #expect(try Tool.run(["verify", target, "--tie", "keep"]).status == 2)
        let elsewhere = try Tool.run(["verify", target], in: directory.path)
        #expect(elsewhere.status == 2)
        #expect(elsewhere.errors.contains("ReceiptInput"))
    }

    /// Inputs that are named by hand are merged by the options that are given by hand: a difference from the receipt's is said.
    @Test func verifyPointsAtTheOptionsOfTheReceipt() throws {
        let directory = try TemporaryDirectory()
        let target = directory.path("merged")
        #expect(try Tool.run(["merge", base, adapter, "-o", target, "--dtype", "f32"]).status == 0)
        let named = ["verify", target, "--base", base, "--adapter", adapter]
        let other = try Tool.run(named)
        #expect(other.status == 1)
        #expect(other.errors.contains("its receipt names other options"))
        let same = try Tool.run(named + ["--dtype", "f32"])
        #expect(same.status == 0)
        #expect(same.errors.isEmpty)
        #expect(try Tool.run(["verify", target]).status == 0)
    }

    @Test func forceReplacesCheckpointsOnly() throws {
        let directory = try TemporaryDirectory()
        let target = directory.path("precious")
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        try TestFile.write("thesis", to: target + "/thesis.txt")
        let refused = try Tool.run(["merge", base, adapter, "-o", target, "--force"])
        #expect(refused.status == 2)
        #expect(try TestFile.text(target + "/thesis.txt") == "thesis")
    }

    /// Whatever the report would have said: nobody has read it.
    @Test(arguments: [
        ["inspect", "Fixtures/merge/lora-linear-bf16/adapter"], ["check", Fixtures.path("negative/clean")], ["check", Fixtures.path("negative/nan")],
        ["diff", Fixtures.path("negative/nan"), Fixtures.path("negative/clean")],
    ])
    func aFullStdoutIsAnError(_ arguments: [String]) throws {
        guard FileManager.default.fileExists(atPath: "/dev/full") else { return }
        let process = Process()
        process.executableURL = URL(filePath: Tool.path)
        process.arguments = arguments
        process.currentDirectoryURL = URL(filePath: Fixtures.repository)
        process.standardOutput = FileHandle(forWritingAtPath: "/dev/full")
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 2)
    }

    @Test func wordsThatAreNoCommandAreNamed() throws {
        let result = try Tool.run(["mrege", base, adapter])
        #expect(result.status == 2)
        #expect(result.errors.contains("\"mrege\" is no command"))
    }

    @Test func helpAndVersionGoToStdoutWithStatusZero() throws {
        for arguments in [["--help"], ["merge", "--help"], ["help", "verify"], ["--version"]] {
            let result = try Tool.run(arguments)
            #expect(result.status == 0)
            #expect(!result.output.isEmpty)
            #expect(result.errors.isEmpty)
        }
    }

    @Test func errorsWithJSONAreOneObjectOnStderr() throws {
        for arguments in [["inspect", "--json", "no-such-path"], ["merge", "--json", base], ["verify", "--json", base]] {
            let result = try Tool.run(arguments)
            #expect(result.status == 2)
            #expect(result.output.isEmpty)
            #expect(result.errors.split(separator: "\n").count == 1)
            let document = try JSONSerialization.jsonObject(with: Data(result.errors.utf8)) as? [String: Any]
            let error = try #require(document?["error"] as? [String: Any])
            #expect(Set(error.keys) == ["code", "message", "file", "tensor", "offset", "rule", "help"])
        }
    }

    @Test func hostileNamesDoNotReachATerminal() throws {
        let directory = try TemporaryDirectory()
        let header = #"{"\u001b[31mred\n\u202e":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#
        var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
        bytes += [0, 0, 0, 0]
        try directory.write(bytes, to: "hostile.safetensors")
        let result = try Tool.run(["inspect", "--tensors", directory.path("hostile.safetensors")])
        #expect(result.status == 0)
        #expect(result.output.unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 0x20 && $0.value != 0x202E })
        #expect(result.output.contains("\\u{1b}[31mred\\u{a}\\u{202e}"))
    }

    @Test(arguments: ["truncated", "overlap", "lfs-pointer", "html", "huge-header", "empty", "truncated-header", "trailing",
        "bad-json", "size-lie", "dtype-unknown", "offset-past-end", "config-bad-json"])
    func unreadableFilesGiveOneLineAndNoOutput(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let path = "Fixtures/negative/\(name)"
        for arguments in [
            ["inspect", path], ["merge", "Fixtures/negative/base", path, "-o", directory.path("out")],
            ["diff", "Fixtures/negative/clean", path], ["diff", path, "Fixtures/negative/base"],
        ] {
            let result = try Tool.run(arguments)
            #expect(result.status == 2)
            #expect(result.output.isEmpty)
            #expect(result.errors.split(separator: "\n").count == 1)
            #expect(result.errors.contains(path))
            #expect(try directory.names().isEmpty)
        }
    }
}

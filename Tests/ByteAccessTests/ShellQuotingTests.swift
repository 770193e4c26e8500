import ByteAccess
import Foundation
import Testing

/// Names from outside in commands that people paste: a shell must read back the name and nothing else.
@Suite struct ShellQuotingTests {
    @Test(arguments: [
        "model.safetensors", "", "a b", "it's", "'", "''", "'\u{301}; touch canary; '\u{301}", "$(touch canary)", "`touch canary`", "a\\", "-rf", "é",
        "a\nb", "a;b|c&d>e<f*g?h[i]j{k}l~m#n!o\"p", "\u{200D}'\u{200D}",
    ]) func aShellReadsTheNameBack(_ name: String) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", "printf %s " + name.shellQuoted]
        process.environment = [:]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(Array(data) == Array(name.utf8), "\(name.shellQuoted)")
    }
}

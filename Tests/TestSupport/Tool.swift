import Foundation

/// Runs the built binary as a user would, from the repository's top level.
public enum Tool {
    public struct Result {
        public var output: String
        public var errors: String
        public var status: Int32
    }

    /// The binary stands beside the test bundle.
    public static let path: String = {
        let runner = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        let candidates = [runner, Bundle.main.bundleURL.deletingLastPathComponent(), Bundle.main.bundleURL]
        let found = candidates.map { $0.appending(path: "peftfile").path() }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
        return found ?? "peftfile"
    }()

    public static func run(
        _ arguments: [String], in directory: String = Fixtures.repository, environment: [String: String] = [:]
    ) throws -> Result {
        let process = Process()
        process.executableURL = URL(filePath: path)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
        process.currentDirectoryURL = URL(filePath: directory)
        process.standardInput = FileHandle.nullDevice
        // Files, not pipes: nothing blocks however much is printed.
        let folder = try TemporaryDirectory()
        let names = ["out", "err"].map { folder.path($0) }
        for name in names { try TestFile.write([], to: name) }
        let handles = try names.map { try FileHandle(forWritingTo: URL(filePath: $0)) }
        process.standardOutput = handles[0]
        process.standardError = handles[1]
        try process.run()
        process.waitUntilExit()
        for handle in handles { try handle.close() }
        let status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        return Result(output: try TestFile.text(names[0]), errors: try TestFile.text(names[1]), status: status)
    }
}

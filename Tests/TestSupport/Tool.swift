import Foundation

/// Runs the built binary as a user would, from the repository's top level.
public enum Tool {
    public struct Result {
        public var output: String
        public var errors: String
        public var status: Int32
    }

    /// The binary stands beside the test bundle.
    public static let path = product("peftfile")

    private static func product(_ name: String) -> String {
        let runner = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        let candidates = [runner, Bundle.main.bundleURL.deletingLastPathComponent(), Bundle.main.bundleURL]
        let found = candidates.map { $0.appending(path: name).path() }.first { FileManager.default.isExecutableFile(atPath: $0) }
        return found ?? name
    }

    /// What a run took.
    public struct Usage: Sendable {
        /// The most bytes that were resident.
        public var resident: Int
        /// Seconds of processor, which do not grow when other tests keep the cores busy.
        public var processorSeconds: Double
        public var seconds: Double
    }

    /// Runs the binary and measures it. One that takes longer than `deadline` seconds is killed.
    public static func measure(
        _ arguments: [String], in directory: String = Fixtures.repository, environment: [String: String] = [:], deadline: Int = 60
    ) throws -> (result: Result, usage: Usage) {
        let run = try Run([product("peftfile-measure"), "\(deadline)", path] + arguments, in: directory, environment: environment)
        var result = try run.result()
        var lines = result.errors.split(separator: "\n", omittingEmptySubsequences: false)
        while lines.last == "" { lines.removeLast() }
        let words = lines.popLast()?.split(separator: " ") ?? []
        let numbers = words.dropFirst().compactMap { Int($0) }
        guard words.first == "measured:", numbers.count == 4 else { throw TestSupportError("nothing was measured: \(result.errors)") }
        result.errors = lines.map { $0 + "\n" }.joined()
        result.status = Int32(numbers[0])
        return (result, Usage(resident: numbers[1] * 1024, processorSeconds: Double(numbers[2]) / 1000, seconds: Double(numbers[3]) / 1000))
    }

    public static func run(
        _ arguments: [String], in directory: String = Fixtures.repository, environment: [String: String] = [:]
    ) throws -> Result {
        try start(arguments, in: directory, environment: environment).result()
    }

    /// A process that was started and is not waited for yet.
    ///
    /// Foundation's own takes a process that was stopped and goes on for one that has ended.
    public final class Run {
        public let identifier: Int32
        private let folder: TemporaryDirectory

        fileprivate init(_ command: [String], in directory: String, environment: [String: String]) throws {
            // Files, not pipes: nothing blocks however much is printed.
            folder = try TemporaryDirectory()
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            defer { posix_spawn_file_actions_destroy(&actions) }
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
            for (number, name) in [(Int32(1), "out"), (2, "err")] {
                posix_spawn_file_actions_addopen(&actions, number, folder.path(name), O_WRONLY | O_CREAT | O_TRUNC, 0o644)
            }
            // Threads that run tests let no signal through, and what they start would inherit that.
            var attributes = posix_spawnattr_t()
            posix_spawnattr_init(&attributes)
            defer { posix_spawnattr_destroy(&attributes) }
            var none = sigset_t()
            sigemptyset(&none)
            posix_spawnattr_setsigmask(&attributes, &none)
            // Nor is a signal to be ignored because whoever started the tests ignores it, as a shell's background jobs do.
            var ignorable = sigset_t()
            sigemptyset(&ignorable)
            for signal in [SIGINT, SIGHUP, SIGTERM, SIGQUIT] { sigaddset(&ignorable, signal) }
            posix_spawnattr_setsigdefault(&attributes, &ignorable)
            posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF))
            let variables = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }.map { "\($0)=\($1)" }
            // The shell changes the directory and is then the tool itself.
            let words = (["/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", directory] + command).map { strdup($0) } + [nil]
            let settings = variables.map { strdup($0) } + [nil]
            defer { for text in words + settings { free(text) } }
            var child = pid_t()
            let status = posix_spawn(&child, "/bin/sh", &actions, &attributes, words, settings)
            guard status == 0 else { throw TestSupportError("cannot start \(command.first ?? ""): \(String(cString: strerror(status)))") }
            identifier = child
        }

        public func send(_ signal: Int32) { kill(identifier, signal) }

        /// Waits until the process has stopped itself.
        public func waitUntilStopped() throws {
            var status: Int32 = 0
            guard waitpid(identifier, &status, WUNTRACED) == identifier, status & 0xFF == 0x7F else {
                throw TestSupportError("process \(identifier) ended and did not stop")
            }
        }

        /// Waits for the end.
        public func result() throws -> Result {
            var status: Int32 = 0
            while waitpid(identifier, &status, 0) < 0 {
                guard errno == EINTR else { throw TestSupportError("process \(identifier) cannot be waited for") }
            }
            let ended = status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
            return Result(
                output: try TestFile.text(folder.path("out")), errors: try TestFile.text(folder.path("err")), status: ended)
        }
    }

    public static func start(
        _ arguments: [String], in directory: String = Fixtures.repository, environment: [String: String] = [:]
    ) throws -> Run {
        try Run([path] + arguments, in: directory, environment: environment)
    }
}

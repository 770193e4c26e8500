import Foundation

/// What a process cost from its start to its end.
struct Cost {
    /// Seconds.
    var wall: Double
    /// User and system seconds, with those of the children it waited for.
    var cpu: Double
    /// Seconds of processor time that went elsewhere meanwhile: to other programs, to the kernel's own threads, to other
    /// guests of the machine's host. Nil where the system does not tell.
    var elsewhere: Double?
    /// Bytes, the largest of it and the children it waited for.
    var peakMemory: Int
    /// The exit status; nil after a signal.
    var status: Int32?
}

/// A command that is run and waited for, with what `wait4` says of it.
enum ChildProcess {
    /// Runs a command found on the path; input is empty.
    ///
    /// - Parameters:
    ///   - output: the file that takes stdout; nil drops it.
    ///   - errors: the file that takes stderr.
    static func run(_ command: [String], output: String? = nil, errors: String = "/dev/null") throws -> Cost {
        #if canImport(Darwin)
        var actions: posix_spawn_file_actions_t?
        #else
        var actions = posix_spawn_file_actions_t()
        #endif
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output ?? "/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_TRUNC, 0o644)

        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] =
            ProcessInfo.processInfo.environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { for text in arguments + variables { free(text) } }

        let busy = Clock.machine()
        let start = Clock.now()
        var child: pid_t = 0
        let failure = posix_spawnp(&child, command[0], &actions, nil, &arguments, &variables)
        guard failure == 0 else { throw Failure("\(command[0]): \(String(cString: strerror(failure)))") }
        var status: Int32 = 0
        var usage = rusage()
        while wait4(child, &status, 0, &usage) < 0 {
            guard errno == EINTR else { throw Failure("wait4: \(String(cString: strerror(errno)))") }
        }
        let wall = Clock.now() - start
        #if canImport(Darwin)
        let unit = 1
        #else
        let unit = 1024
        #endif
        let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime)
        let elsewhere = busy.flatMap { before in Clock.machine().map { max(0, $0 - before - cpu) } }
        return Cost(
            wall: wall, cpu: cpu, elsewhere: elsewhere, peakMemory: Int(usage.ru_maxrss) * unit,
            status: status & 0x7F == 0 ? status >> 8 & 0xFF : nil)
    }

    /// What a command prints, or nil where it is missing or fails.
    static func text(_ command: [String], in scratch: String) -> String? {
        let file = "\(scratch)/stdout"
        defer { unlink(file) }
        guard let cost = try? run(command, output: file), cost.status == 0 else { return nil }
        return try? String(contentsOfFile: file, encoding: .utf8)
    }

    private static func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }
}

/// Seconds, from clocks that nobody sets.
enum Clock {
    /// Of the wall.
    static func now() -> Double { read(CLOCK_MONOTONIC) }
    /// Of the processor, in this thread alone: other work on the machine counts little.
    static func thread() -> Double { read(CLOCK_THREAD_CPUTIME_ID) }

    /// Of all processors together, as far as they were busy; nil where there is no `/proc/stat`. It counts in ticks of
    /// 10 ms: user, nice, system, idle, iowait, irq, softirq, steal.
    static func machine() -> Double? {
        guard let line = try? String(contentsOfFile: "/proc/stat", encoding: .utf8).prefix(while: { $0 != "\n" }) else {
            return nil
        }
        let ticks = line.split(separator: " ").dropFirst().prefix(8).compactMap { Double($0) }
        guard ticks.count == 8 else { return nil }
        return (ticks.reduce(0, +) - ticks[3] - ticks[4]) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private static func read(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}

/// The page cache, before a run.
enum PageCache {
    /// Reads all files of a folder.
    static func warm(_ folder: String) { each(folder) { descriptor, buffer in while read(descriptor, buffer, 1 << 20) > 0 {} } }

    /// Drops what is in memory of a folder's files, where the system can.
    static func drop(_ folder: String) {
        #if canImport(Glibc)
        each(folder) { descriptor, _ in _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) }
        #endif
    }

    private static func each(_ folder: String, _ body: (Int32, UnsafeMutableRawPointer) -> Void) {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
            let descriptor = open("\(folder)/\(name)", O_RDONLY)
            if descriptor >= 0 {
                body(descriptor, buffer)
                close(descriptor)
            }
        }
    }
}

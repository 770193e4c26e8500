import CPlatform
import SystemLibrary

/// What this machine gives the process.
public enum Machine {
    /// The number of cores worth using: those the process may run on, or fewer where its control group grants less
    /// processor time (a container with `--cpus 2` on a machine of 64). At least 1.
    public static let availableCores: Int = {
        let allowed = peftfile_affinity_count()
        let processors = allowed > 0 ? Int(allowed) : max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        guard let granted = ControlGroup.grantedCores() else { return processors }
        return max(1, min(processors, granted))
    }()

    /// Lets freed blocks of up to 3 MiB be used again, by every thread, instead of going back to the system. For programs that stream panels;
    /// a library's host decides this for itself.
    public static func keepLargeBlocks() { peftfile_keep_large_blocks() }
}

/// The limit that a Linux control group sets on processor time.
enum ControlGroup {
    /// Cores granted, rounded up, by the tightest limit from this process's group up to the root; nil without a limit.
    static func grantedCores() -> Int? {
        guard let groups = text(of: "/proc/self/cgroup") else { return nil }
        var limits: [Int] = []
        for line in groups.split(separator: "\n") {
            // Version 2: "0::/path". Version 1: "4:cpu,cpuacct:/path".
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            var path = String(fields[2])
            while true {
                if fields[1].isEmpty {
                    limits += [cpuMax(text(of: "/sys/fs/cgroup\(path)/cpu.max"))].compactMap(\.self)
                } else if fields[1].split(separator: ",").contains("cpu") {
                    let directory = "/sys/fs/cgroup/cpu\(path)"
                    limits += [
                        quota(text(of: "\(directory)/cpu.cfs_quota_us"), text(of: "\(directory)/cpu.cfs_period_us"))
                    ].compactMap(\.self)
                }
                if path.isEmpty || path == "/" { break }
                let parent = FileSystem.directory(of: path)
                path = parent == path || parent == "." ? "/" : parent
            }
        }
        return limits.min()
    }

    /// The cores of a `cpu.max` file: "QUOTA PERIOD" in microseconds, or "max PERIOD".
    static func cpuMax(_ text: String?) -> Int? {
        guard let fields = text?.split(whereSeparator: \.isWhitespace), fields.count == 2 else { return nil }
        return quota(String(fields[0]), String(fields[1]))
    }

    /// ⌈quota / period⌉; nil where there is no positive quota.
    static func quota(_ quota: String?, _ period: String?) -> Int? {
        func number(_ text: String?) -> Int? {
            text.flatMap { $0.split(whereSeparator: \.isWhitespace).first }.flatMap { Int($0) }
        }
        guard let quota = number(quota), let period = number(period), quota > 0, period > 0 else { return nil }
        return (quota - 1) / period + 1
    }

    /// The text of a file of the kernel's, which has size 0 and is read to its end.
    private static func text(of path: String) -> String? {
        let descriptor = SystemError.retrying { open(path, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 65536)
        var filled = 0
        while filled < bytes.count {
            let count = bytes[filled...].withUnsafeMutableBytes { buffer in
                SystemError.retrying { read(descriptor, buffer.baseAddress, buffer.count) }
            }
            if count <= 0 { break }
            filled += count
        }
        return String(decoding: bytes[..<filled], as: UTF8.self)
    }
}

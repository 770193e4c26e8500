import ByteAccess
import Tensors

/// Paths as reports name them: relative to the working directory wherever they lie in it, so that a report of one
/// machine can be compared with that of another.
public struct ReportPaths: Sendable, Hashable {
    /// The absolute path that relative ones begin at.
    public let workingDirectory: String

    /// Paths relative to this directory.
    ///
    /// - Parameter workingDirectory: absolute and without symbolic links; empty to leave absolute paths absolute.
    public init(workingDirectory: String) {
        self.workingDirectory = ReportPaths.normalised(workingDirectory)
    }

    /// The paths of this process; where its directory cannot be told, absolute paths stay absolute.
    public static func current() -> ReportPaths {
        ReportPaths(workingDirectory: (try? FileSystem.resolved(".")) ?? "")
    }

    /// `path` relative to the working directory, without `.` and doubled slashes; absolute where it lies elsewhere, and
    /// "." for the working directory itself.
    ///
    /// `..` stays as it is written: what comes before it may be a symbolic link.
    public func relative(_ path: String) -> String {
        let normal = ReportPaths.normalised(path)
        guard normal.utf8.first == UInt8(ascii: "/") else { return normal }
        if let inside = remainder(of: normal) { return inside }
        // The working directory has no symbolic links in it; the path given may come through one.
        guard let real = try? FileSystem.resolved(normal), let inside = remainder(of: real) else { return normal }
        return inside
    }

    private func remainder(of path: String) -> String? {
        guard !workingDirectory.isEmpty else { return nil }
        if path.utf8.elementsEqual(workingDirectory.utf8) { return "." }
        let prefix = workingDirectory == "/" ? "/" : workingDirectory + "/"
        guard path.utf8.starts(with: prefix.utf8) else { return nil }
        return String(Substring(path.utf8.dropFirst(prefix.utf8.count)))
    }

    private static func normalised(_ path: String) -> String {
        let parts = path.utf8.split(separator: UInt8(ascii: "/")).map { String(Substring($0)) }.filter { $0 != "." }
        let joined = parts.joined(separator: "/")
        if path.utf8.first == UInt8(ascii: "/") { return "/" + joined }
        return joined.isEmpty && !path.isEmpty ? "." : joined
    }
}

/// What tells one finding from another, from run to run and from machine to machine.
///
/// SHA-256 over `rule NUL path NUL tensor` in UTF-8, in hex: the path is relative to the working directory, or where it lies
/// elsewhere to the directory of the argument that led to it; message, severity and byte are left out, because they change
/// while the defect stays.
public struct Fingerprint: Sendable, Hashable {
    /// 64 hexadecimal digits.
    public let hex: String

    /// A fingerprint that a baseline or a report holds already; its digits are not checked.
    public init(hex: String) { self.hex = hex }

    /// SHA-256 of rule, path and tensor: the same from run to run and from machine to machine.
    public init(rule: String, path: String, tensor: String?) {
        hex = SHA256.hex(SHA256.hash(Array("\(rule)\0\(path)\0\(tensor ?? "")".utf8)))
    }

    /// The fingerprint of a finding, its path as reports write it.
    public init(_ finding: Finding, of subject: CheckedSubject, paths: ReportPaths) {
        self.init(
            rule: finding.rule, path: Fingerprint.path(finding.file ?? subject.path, of: subject, paths: paths),
            tensor: finding.tensor?.text)
    }

    /// The path that counts.
    static func path(_ path: String, of subject: CheckedSubject, paths: ReportPaths) -> String {
        let relative = paths.relative(path)
        guard relative.utf8.first == UInt8(ascii: "/"), let origin = subject.origin else { return relative }
        return ReportPaths(workingDirectory: origin).relative(relative)
    }
}

/// Counts findings with one fingerprint, so that each can be named: the first is 1.
struct Occurrences {
    private var seen: [Fingerprint: Int] = [:]

    mutating func next(_ fingerprint: Fingerprint) -> Int {
        seen[fingerprint, default: 0] += 1
        return seen[fingerprint, default: 0]
    }
}

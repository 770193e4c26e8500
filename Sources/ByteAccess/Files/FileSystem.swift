import CPlatform
import SystemLibrary

/// Questions to the file system, and paths taken apart and put together.
public enum FileSystem {
    /// What a path names.
    public enum Kind: Sendable, Hashable {
        /// What a path leads to; a link only where links are not followed.
        case regularFile, directory, symbolicLink
        /// A FIFO, a socket or a device.
        case other
    }

    /// What is at `path`, or nil where nothing is (or nothing that this process may see).
    public static func kind(of path: String, followingLinks: Bool = true) -> Kind? {
        var status = stat()
        guard (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else { return nil }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return .regularFile
        case S_IFDIR: return .directory
        case S_IFLNK: return .symbolicLink
        default: return .other
        }
    }

    /// Whether something is at `path`; a symbolic link counts even where it points nowhere.
    public static func exists(_ path: String) -> Bool { kind(of: path, followingLinks: false) != nil }
    /// Whether a path leads to a directory, links followed.
    public static func isDirectory(_ path: String) -> Bool { kind(of: path) == .directory }
    /// Whether a path leads to a regular file, links followed.
    public static func isRegularFile(_ path: String) -> Bool { kind(of: path) == .regularFile }
    /// Whether `path` is a directory with at least one entry.
    public static func isNonEmptyDirectory(_ path: String) -> Bool {
        isDirectory(path) && ((try? list(path).isEmpty) == false)
    }

    /// The names in a directory, without `.` and `..`, sorted by their bytes.
    ///
    /// - Throws: `.notFound` where there is no directory at the path; `.io` where it cannot be read.
    public static func list(_ directory: String) throws -> [String] {
        guard let stream = opendir(directory) else { throw SystemError.last("cannot list", file: directory) }
        defer { closedir(stream) }
        var names: [ExactString] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw SystemError.last("cannot list", file: directory) }
                break
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(ExactString(name)) }
        }
        return names.sorted().map(\.text)
    }

    /// Makes the directory `path`; with `withParents` also those above it, and then one that exists is no error.
    ///
    /// - Throws: `.exists` where something is at `path` (with `withParents` only what is no directory, there or above);
    ///   `.notFound` where the directory above is not there; `.noSpace` where the disk has no room; `.io` where the system
    ///   refuses.
    public static func makeDirectory(_ path: String, withParents: Bool = false) throws {
        if withParents, isDirectory(path) { return }
        if withParents {
            let parent = directory(of: path)
            if parent != path, !isDirectory(parent) { try makeDirectory(parent, withParents: true) }
        }
        guard mkdir(path, 0o777) == 0 else {
            if withParents, errno == EEXIST, isDirectory(path) { return }
            throw SystemError.last("cannot make the directory", file: path)
        }
    }

    /// Bytes that this process may still write to the file system that holds `path`.
    ///
    /// - Throws: `.notFound` where nothing is at `path`; `.io` where the system does not tell.
    public static func availableBytes(at path: String) throws -> UInt64 {
        var status = statvfs()
        guard SystemError.retrying({ statvfs(path, &status) }) == 0 else {
            throw SystemError.last("cannot ask for the free space", file: path)
        }
        return UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize)).partialValue
    }

    /// The path with every symbolic link, `.` and `..` resolved.
    ///
    /// - Throws: `.notFound` where a part of the path is not there; `.io` where links lead in a circle or a directory may not be entered.
    public static func resolved(_ path: String) throws -> String {
        guard let real = realpath(path, nil) else { throw SystemError.last("cannot resolve", file: path) }
        defer { free(real) }
        return String(cString: real)
    }

    /// Where a symbolic link leads, followed once: the name that it gives, in its directory with all links resolved. Nil where `path` is
    /// no link or that directory is not there.
    public static func linkTarget(of path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &buffer, buffer.count)
        guard count > 0, count < buffer.count else { return nil }
        let text = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let target = text.hasPrefix("/") ? text : join(directory(of: path), text)
        guard let parent = try? resolved(directory(of: target)) else { return nil }
        return join(parent, fileName(of: target))
    }

    // MARK: Paths

    /// The last component: "b" of "a/b" and of "a/b/"; empty for "/" and "".
    public static func fileName(of path: String) -> String {
        path.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) } ?? ""
    }

    /// What comes before the last component: "a" of "a/b", "." of "b", "/" of "/b".
    public static func directory(of path: String) -> String {
        var bytes = path.utf8[...]
        while bytes.count > 1, bytes.last == UInt8(ascii: "/") { bytes = bytes.dropLast() }
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        bytes = bytes[..<slash]
        while bytes.last == UInt8(ascii: "/") { bytes = bytes.dropLast() }
        return bytes.isEmpty ? "/" : String(Substring(bytes))
    }

    /// `directory/name`; just `name` where the directory is ".".
    public static func join(_ directory: String, _ name: String) -> String {
        directory == "." || directory.isEmpty
            ? name : directory.utf8.last == UInt8(ascii: "/") ? directory + name : "\(directory)/\(name)"
    }
}

#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

/// Where the fixtures are, found from this file's own place in the repository.
public enum Fixtures {
    /// The repository's top level.
    public static let repository: String = {
        // Tests/TestSupport/Fixtures.swift, three steps up.
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    }()

    /// The path of a file or directory in `Fixtures/`.
    public static func path(_ relative: String) -> String { "\(repository)/Fixtures/\(relative)" }

    /// The path of a page in `Formats/`.
    public static func format(_ page: String) -> String { "\(repository)/Formats/\(page)" }
}

/// Plain file access for tests, independent of the code under test.
public enum TestFile {
    /// All bytes of a file.
    public static func bytes(_ path: String) throws -> [UInt8] {
        guard let stream = fopen(path, "rb") else { throw TestSupportError("cannot open \(path)") }
        defer { fclose(stream) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&part, 1, part.count, stream), count > 0 {
            bytes.append(contentsOf: part[..<count])
        }
        return bytes
    }

    /// The text of a UTF-8 file.
    public static func text(_ path: String) throws -> String { String(decoding: try bytes(path), as: UTF8.self) }

    /// Writes a file, in place of one that is there.
    public static func write(_ bytes: [UInt8], to path: String) throws {
        guard let stream = fopen(path, "wb") else { throw TestSupportError("cannot make \(path)") }
        let written = fwrite(bytes, 1, bytes.count, stream)
        guard fclose(stream) == 0, written == bytes.count else { throw TestSupportError("cannot write \(path)") }
    }

    /// Makes a file longer, by a hole.
    public static func lengthen(_ path: String, to size: Int) throws {
        guard truncate(path, off_t(size)) == 0 else { throw TestSupportError("cannot lengthen \(path)") }
    }

    /// Writes a text file, in place of one that is there.
    public static func write(_ text: String, to path: String) throws { try write(Array(text.utf8), to: path) }
}

/// What could not be done to set a test up.
public struct TestSupportError: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

import Foundation
import TestSupport

/// The files that mutants are made of, from `Fixtures/`.
enum Seeds {
    /// The files of one folder, in the order of their names.
    static func files(in folder: String, endingIn suffix: String, below limit: Int) throws -> [[UInt8]] {
        let path = Fixtures.path(folder)
        return try FileManager.default.contentsOfDirectory(atPath: path).sorted()
            .filter { $0.hasSuffix(suffix) && !$0.hasSuffix(".gz") }
            .map { try TestFile.bytes("\(path)/\($0)") }.filter { $0.count <= limit }
    }

    /// The files of some name anywhere below `Fixtures/`, each content once.
    static func found(named suffix: String, below limit: Int) throws -> [[UInt8]] {
        let root = Fixtures.path("")
        var known: Set<[UInt8]> = []
        return try FileManager.default.subpathsOfDirectory(atPath: root).sorted().filter { $0.hasSuffix(suffix) }
            .map { try TestFile.bytes(root + $0) }.filter { $0.count <= limit && known.insert($0).inserted }
    }
}

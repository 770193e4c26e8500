import Foundation
import TestSupport

/// The library that makes calls fail, compiled once.
enum FaultLibrary {
    static let path: String? = {
        #if os(Linux)
        guard let folder else { return nil }
        for compiler in ["clang", "cc"] {
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/env")
            process.arguments = [
                compiler, "-shared", "-fPIC", "-O1", "-o", folder.path("faults.so"),
                Fixtures.repository + "/Tests/FaultInjection/faults.c", "-ldl",
            ]
            process.standardError = FileHandle.nullDevice
            guard (try? process.run()) != nil else { continue }
            process.waitUntilExit()
            if process.terminationStatus == 0 { return folder.path("faults.so") }
        }
        #endif
        return nil
    }()
    private static let folder = try? TemporaryDirectory()
}

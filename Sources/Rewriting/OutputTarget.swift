import ByteAccess

/// The rules that every output keeps before the first byte is written.
struct OutputTarget {
    let path: String
    /// Whether what is there may be replaced.
    let replacing: Bool

    /// Refuses a directory that cannot be made: a file in its place, or content that nobody offered up.
    func checkDirectory() throws {
        if FileSystem.exists(path), !FileSystem.isDirectory(path) {
            throw PeftfileError(
                .exists, "is a file, and the output is a directory", file: path, help: "choose another output")
        } else if FileSystem.isNonEmptyDirectory(path), !replacing {
            throw PeftfileError(
                .exists, "exists and is not empty", file: path, help: "choose another output or give --force")
        }
    }

    /// An output that replaces one of its own inputs would leave nothing to prove the result against.
    ///
    /// - Parameter operation: the verb's noun, for the message.
    func refuseInputs(_ inputs: [String], of operation: String) throws {
        guard FileSystem.exists(path) else { return }
        let output = try FileSystem.resolved(path)
        for input in inputs {
            let resolved = try FileSystem.resolved(input)
            guard resolved == output || resolved.hasPrefix(output + "/") else { continue }
            throw PeftfileError(
                .refused, "is an input of this \(operation) and is never written over", file: path, rule: "OutputIsInput",
                help: "choose another output")
        }
    }

    /// Refuses a parent that is not there or has no room for `bytes`.
    func checkRoom(for bytes: UInt64) throws {
        let parent = FileSystem.directory(of: path)
        guard FileSystem.isDirectory(parent) else {
            throw PeftfileError(
                .notFound, "the directory that is to hold the output does not exist", file: path, rule: "ParentMissing",
                help: "mkdir -p '\(parent)'")
        }
        let free = try FileSystem.availableBytes(at: parent)
        guard free >= bytes else {
            throw PeftfileError(
                .noSpace, "needs \(bytes) bytes, and \(free) are free", file: parent, rule: "DiskSpace",
                help: "free \(bytes - free) bytes or choose another disk")
        }
    }
}

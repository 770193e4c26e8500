import ByteAccess

/// The rules that every output keeps before the first byte is written.
struct OutputTarget {
    let path: String
    /// Whether what is there may be replaced.
    let replacing: Bool

    /// Refuses a directory that cannot be made: a file in its place, or content that nobody offered up.
    func checkDirectory() throws {
        if FileSystem.kind(of: path, followingLinks: false) == .symbolicLink, FileSystem.kind(of: path) == nil {
            guard replacing else {
                throw PeftfileError(
                    .exists, "is a symbolic link that leads nowhere", file: path, help: "choose another output, or give --force, which replaces the link")
            }
        } else if FileSystem.exists(path), !FileSystem.isDirectory(path) {
            throw PeftfileError(
                .exists, "is a file, and the output is a directory", file: path, help: "choose another output")
        } else if FileSystem.isNonEmptyDirectory(path) {
            let isOurs = try FileSystem.list(path).contains {
                $0 == Receipt.fileName || $0.hasSuffix(".safetensors") || $0.hasSuffix(".gguf")
            }
            guard replacing else {
                throw PeftfileError(
                    .exists, "exists and is not empty", file: path,
                    help: isOurs ? "choose another output or give --force" : "choose another output, or empty the directory first")
            }
            guard isOurs else {
                throw PeftfileError(
                    .refused, "holds no checkpoint, and --force replaces nothing else", file: path, rule: "ForeignTarget",
                    help: "choose another output, or empty the directory first")
            }
        }
    }

    /// Refuses a file that nobody offered up, and a directory in its place.
    func checkFile() throws {
        guard FileSystem.exists(path) else { return }
        if FileSystem.isDirectory(path) {
            throw PeftfileError(.exists, "is a directory, and the output is a file", file: path, help: "choose another output")
        }
        guard replacing else {
            throw PeftfileError(.exists, "exists", file: path, help: "choose another output or give --force")
        }
    }

    /// Refuses a parent that is not there.
    func checkParent() throws {
        guard FileSystem.isDirectory(FileSystem.directory(of: path)) else {
            throw PeftfileError(
                .notFound, "the directory that is to hold the output does not exist", file: path, rule: "ParentMissing",
                help: "mkdir -p \(FileSystem.directory(of: path).shellQuoted)")
        }
    }

    /// An output that replaces one of its own inputs would leave nothing to prove the result against.
    /// Nor is anything written into an input's directory.
    ///
    /// - Parameter operation: the verb's noun, for the message.
    func refuseInputs(_ inputs: [String], of operation: String) throws {
        let parent = try FileSystem.resolved(FileSystem.directory(of: path))
        let output = FileSystem.kind(of: path) != nil
            ? try FileSystem.resolved(path) : FileSystem.join(parent, FileSystem.fileName(of: path))
        for input in inputs {
            let resolved = try FileSystem.resolved(input)
            let isInside = FileSystem.isDirectory(input) && output.hasPrefix(resolved + "/")
            guard resolved == output || resolved.hasPrefix(output + "/") || isInside else { continue }
            throw PeftfileError(
                .refused,
                isInside ? "lies in an input of this \(operation)" : "is an input of this \(operation) and is never written over",
                file: path, rule: "OutputIsInput", help: "choose another output")
        }
    }

    /// Refuses a disk that has no room for `bytes`.
    ///
    /// - Parameter input: the one file or directory that they are made of, where there is one: few bytes can say that they are many.
    func checkRoom(for bytes: UInt64, madeOf input: String? = nil) throws {
        let parent = FileSystem.directory(of: path)
        let free = try FileSystem.availableBytes(at: parent)
        guard free >= bytes else {
            throw PeftfileError(
                .noSpace, "needs \(bytes) bytes, and \(free) are free" + (input == nil ? "" : " in \(parent)"), file: input ?? parent,
                rule: "DiskSpace",
                help: "free \(bytes - free) bytes or choose another disk")
        }
    }
}

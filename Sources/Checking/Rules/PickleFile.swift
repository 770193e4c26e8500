import ByteAccess
import Checkpoints
import Containers

/// Pickles beside the weights.
struct PickleFile: CheckRule {
    let id = "pickle-file"
    let family = RuleFamily.security
    let severity = Severity.warning
    let summary = "Another file of the directory is a Python pickle, by content whatever its name."
    let protectsFrom = """
        Code in a file that somebody unpickles later: whoever resumes a run loads optimizer.pt, training_args.bin and \
        rng_state.pth with torch.load, and unpickling calls what the file names.
        """

    func findings(in subject: CheckSubject) throws -> [Finding] {
        var result: [Finding] = []
        var unread: [String] = []
        for entry in try subject.entries() where entry.path != subject.weights.file {
            // A link is what it leads to, as the Hub's cache has every file; behind one to a directory lies another tree.
            switch FileSystem.kind(of: entry.path) {
            case .regularFile: break
            case nil where entry.kind == .symbolicLink: unread.append(entry.path); continue
            default: continue
            }
            do {
                guard try PickleFile.isPickle(entry.path) else { continue }
                // Perhaps the only copy of the weights.
                let parts = DistributedCheckpoint.holds(entry.path) ? DistributedCheckpoint(at: FileSystem.directory(of: entry.path)) : nil
                result.append(
                    finding(
                        "is a Python pickle, which can run code when it is loaded" + (parts == nil ? "" : "; it is a part of a distributed checkpoint"),
                        file: entry.path, help: parts?.help ?? "remove it before publishing: rm \(entry.path.shellQuoted)"))
            } catch let error as PeftfileError where error.code != .interrupted {
                unread.append(entry.path)
            }
        }
        guard let first = unread.first else { return result }
        throw NotChecked(
            "\(first.printable) cannot be opened" + (unread.count > 1 ? ", nor can \(unread.count - 1) other files" : ""),
            findings: result)
    }

    private static func isPickle(_ path: String) throws -> Bool {
        let reader = try FileReader(path: path)
        guard reader.size > 1, try !ContainerKind.hasSafetensorsOutline(reader) else { return false }
        switch try ForeignFile.identify(reader) {
        case .torch, .pickle: return true
        default: return false
        }
    }
}

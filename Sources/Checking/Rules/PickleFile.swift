import ByteAccess
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
        try subject.entries().compactMap { entry in
            guard entry.kind == .regularFile, entry.path != subject.weights.file,
                let reader = try? FileReader(path: entry.path), reader.size > 1,
                try !ContainerKind.hasSafetensorsOutline(reader), let kind = try ForeignFile.identify(reader)
            else { return nil }
            switch kind {
            case .torch, .pickle: break
            default: return nil
            }
            return finding(
                "is a Python pickle, which can run code when it is loaded", file: entry.path,
                help: "remove it before publishing: rm \(entry.path.shellQuoted)")
        }
    }
}

import ByteAccess
import Checkpoints

/// Names that do something to who prints them or makes paths of them.
struct UnsafeName: CheckRule {
    let id = "unsafe-name"
    let family = RuleFamily.security
    let severity = Severity.error
    let summary = "A tensor's or file's name holds control characters, or is a path."
    let protectsFrom = """
        Terminals that obey escape sequences in a listing, logs with forged lines, and tools that write one file for each tensor \
        and leave their directory by "../" (CWE-150, CWE-22).
        """

    func findings(in subject: CheckSubject) throws -> [Finding] {
        var result: [Finding] = []
        for tensor in subject.weights.checkpoint?.tensors ?? [] {
            let name = tensor.name.text
            if UnsafeName.hasControls(name) {
                result.append(
                    finding(
                        "the name holds control characters", file: subject.weights.file, tensor: tensor.name,
                        help: "rename the tensor; all names: peftfile inspect --tensors \(subject.path.shellQuoted)"))
            } else if name.hasPrefix("/") || name.contains("\\") || name.split(separator: "/").contains("..") {
                result.append(
                    finding(
                        "the name is a path", file: subject.weights.file, tensor: tensor.name,
                        help: "rename the tensor; all names: peftfile inspect --tensors \(subject.path.shellQuoted)"))
            }
        }
        for entry in try subject.entries() where UnsafeName.hasControls(entry.fileName) {
            result.append(finding("the file's name holds control characters", file: entry.path, help: "rename the file"))
        }
        return result
    }

    /// C0 and C1 controls, and the marks that turn the direction of text.
    private static func hasControls(_ name: String) -> Bool {
        name.unicodeScalars.contains { scalar in
            scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || (0x202A...0x202E).contains(scalar.value)
                || (0x2066...0x2069).contains(scalar.value)
        }
    }
}

import Checkpoints
import Containers

/// A header that is legal and too long for some readers.
struct HeaderSize: CheckRule {
    let id = "header-size"
    let family = RuleFamily.container
    let severity = Severity.warning
    let summary = "The safetensors header has more than 25,000,000 bytes."
    let protectsFrom = """
        Readers that stop before the format does: clients of the Hub read headers up to 25,000,000 bytes \
        (SAFETENSORS_MAX_HEADER_LENGTH in huggingface_hub/constants.py), the format allows 100,000,000.
        """
    let needs: [RuleNeed] = [.tensors]

    /// `SAFETENSORS_MAX_HEADER_LENGTH`.
    static let limit: UInt64 = 25_000_000

    func findings(in subject: CheckSubject) throws -> [Finding] {
        (subject.weights.checkpoint?.shards ?? []).compactMap { shard in
            guard let file = shard.file as? SafetensorsFile, file.headerBytes.count > HeaderSize.limit else { return nil }
            return finding(
                "the header has \(file.headerBytes.count) bytes, and clients of the Hub read at most "
                    + "\(HeaderSize.limit)", file: file.path, offset: 0,
                help: "split the tensors over several files, or shorten the metadata")
        }
    }
}

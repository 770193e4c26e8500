import ByteAccess

/// A model repository on the Hugging Face Hub, with a revision: what people type as `org/name`, `org/name@revision` or
/// `hf://org/name@revision/path`.
///
/// Source: `validate_repo_id` in huggingface_hub/utils/_validators.py; the grammar of `hf://` in hf_file_system.py.
public struct HubID: Sendable, Hashable {
    /// `org/name`, or a bare `name` as the oldest models have.
    public let name: String
    /// A branch, a tag, `refs/pr/5`, or a commit of 40 hex digits.
    public let revision: String
    /// A file or directory inside the repository; nil means all of it.
    public let path: String?

    /// The revision that is meant where none is given.
    public static let defaultRevision = "main"

    /// A repository by name and revision; nil where the Hub could not have either.
    public init?(name: String, revision: String? = nil, path: String? = nil) {
        guard HubID.isName(name), HubID.isRelative(revision ?? HubID.defaultRevision), path.map(HubID.isRelative) ?? true
        else { return nil }
        self.name = name
        self.revision = revision ?? HubID.defaultRevision
        self.path = path
    }

    /// Whether the text begins with `hf://`, and so can be nothing but an address.
    public static func isAddress(_ text: String) -> Bool { text.hasPrefix("hf://") }

    /// Takes an address or a name apart; nil where it is neither. Of two parts the first is an organisation: see ``canonical(_:)``.
    public init?(_ text: String) {
        guard HubID.isAddress(text) else {
            let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            self.init(name: parts[0], revision: parts.count > 1 ? parts[1] : nil)
            return
        }
        var parts = text.dropFirst("hf://".count).split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        if parts.first == "models" { parts.removeFirst() }
        while parts.last?.isEmpty == true { parts.removeLast() }
        guard let first = parts.first, !["datasets", "spaces", "kernels", "buckets"].contains(first) else { return nil }
        // The oldest models have no organisation: hf://gpt2.
        guard parts.count >= 2 else {
            self.init(first)
            return
        }
        let last = parts[1].split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        var rest = parts[2...]
        var revision = last.count > 1 ? last[1].replacing("%2F", with: "/") : nil
        // A pull request's revision has slashes of its own: refs/pr/5.
        if revision == "refs", rest.count >= 2, let kind = rest.first, kind == "pr" || kind == "convert" {
            revision = "refs/\(kind)/\(rest[rest.startIndex + 1])"
            rest = rest.dropFirst(2)
        }
        self.init(
            name: "\(parts[0])/\(last[0])", revision: revision, path: rest.isEmpty ? nil : rest.joined(separator: "/"))
    }

    /// `name` or `org/name` of letters, digits, `-`, `_` and `.`; neither begins or ends with `-` or `.`, and `--` and
    /// `..` stand nowhere.
    private static func isName(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, text.utf8.count <= 96 + 1 + 96, !text.contains("--"), !text.contains(".."),
            !text.hasSuffix(".git")
        else { return false }
        return parts.allSatisfy { part in
            guard let first = part.utf8.first, let last = part.utf8.last else { return false }
            return "-.".utf8.allSatisfy { $0 != first && $0 != last } && part.utf8.allSatisfy(isNameByte)
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
            || "-_.".utf8.contains(byte)
    }

    /// Whether the text is a path that stays below where it starts.
    private static func isRelative(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        return parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." } && !text.utf8.contains(0)
    }
}

extension HubID: CustomStringConvertible {
    /// `org/name`, with `@revision` where it is another than `main`.
    public var description: String { revision == HubID.defaultRevision ? name : "\(name)@\(revision)" }

    /// The command that brings the repository, or some of its files, into the cache.
    ///
    /// - Parameters:
    ///   - files: the files to fetch; all of them where there is none.
    ///   - pattern: fetches what matches it instead.
    ///   - anew: whether files that are there already are fetched once more.
    ///
    /// Source: huggingface_hub/cli/download.py.
    public func downloadCommand(_ files: [String] = [], including pattern: String? = nil, anew: Bool = false) -> String {
        (["hf", "download", name] + files.map(\.shellQuoted) + (pattern.map { ["--include", $0.shellQuoted] } ?? [])
            + (revision == HubID.defaultRevision ? [] : ["--revision", revision.shellQuoted])
            + (anew ? ["--force-download"] : [])).joined(separator: " ")
    }

    /// An address read as one of a model without an organisation, `hf://gpt2/config.json`; nil where it has no folder that could be a name.
    public static func canonical(_ text: String) -> HubID? {
        guard isAddress(text) else { return nil }
        let parts = text.dropFirst("hf://".count).split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2, let id = HubID(parts[0]), !["models", "datasets", "spaces", "kernels", "buckets"].contains(id.name) else { return nil }
        var inner = parts[1][...]
        while inner.last == "/" { inner.removeLast() }
        return HubID(name: id.name, revision: id.revision, path: String(inner))
    }
}

import Adapters
import ByteAccess

/// A config that cannot be read, or holds what cannot be.
struct ConfigInvalid: CheckRule {
    let id = "config-invalid"
    let family = RuleFamily.config
    let severity = Severity.error
    let summary = "adapter_config.json is no JSON object, a value in it is of the wrong kind, or no regular expression where one is meant, or a key is not there on which the update depends."
    let protectsFrom = "Half-written and hand-edited configs: loaders fail with an exception of their JSON library, or take a default."
    let refusals: Set<String> = [
        "ConfigValue", "DuplicateKey", "ModulePattern", "LayerReplication", "BlockDiagonal", "TokenIndices", "PatternSyntax", "ConfigContradiction", "FeedforwardMismatch", "WaveletFamily", "TopK", "DepthMismatch", "KaSARank", "SeedMissing", "ConfigKeyMissing",
    ]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        switch subject.config {
        case .missing: return []
        case .unreadable(let error):
            return [
                finding(
                    "the config cannot be read: \(error.message)", file: error.file, offset: error.offset,
                    help: error.help ?? "copy the config that PEFT wrote")
            ]
        case .read(let config):
            var defects = subject.configDefects.map { defect in
                finding(
                    defect.reason, file: config.path,
                    help: "correct \(defect.key.text.printable) in adapter_config.json, or copy the config that PEFT wrote")
            }
            if let unnamed = subject.unnamedModules {
                defects.append(finding("the config \(unnamed.message)", file: config.path, help: unnamed.help))
            }
            do { return try defects + patterns(config) } catch let open as NotChecked {
                throw NotChecked(open.reason, findings: defects + open.findings)
            }
        }
    }

    /// Values that PEFT hands to `re`: strings that name modules, and the keys of patterns.
    private func patterns(_ config: AdapterConfig) throws -> [Finding] {
        guard config.peftType != nil else { return [] }
        var (result, open): ([Finding], PeftfileError?) = ([], nil)
        func look(_ key: ExactString, _ compile: () throws -> RegularExpression) {
            do { _ = try compile() } catch let error as PeftfileError {
                guard error.rule == "PatternSyntax" else { return open = error }
                result.append(
                    finding(
                        "\(key) is no regular expression: \(error.message)", file: config.path,
                        help: error.help ?? "correct \(key) in adapter_config.json"))
            } catch {}
        }
        for key: ExactString in ["target_modules", "exclude_modules"] {
            if let pattern = config[key]?.stringValue { look(key) { try RegularExpression(wholePattern: pattern) } }
        }
        for key: ExactString in ["rank_pattern", "alpha_pattern"] {
            for member in config[key]?.objectValue?.members ?? [] {
                look(key) { try RegularExpression(modulePattern: member.key.text) }
            }
        }
        if let open { throw NotChecked("a pattern of the config cannot be evaluated: \(open.message)", findings: result) }
        return result
    }
}

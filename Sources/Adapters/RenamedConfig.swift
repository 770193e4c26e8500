import ByteAccess

/// A config of PEFT's after modules were renamed: keys that spell a module's whole path spell the new one, and a `target_modules` that
/// meant the old paths and no longer means the new becomes the list of them.
///
/// PEFT wraps what `target_modules` means before it loads a tensor (`check_target_module_exists` in peft/tuners/tuners_utils.py), so a
/// config that spells other names than the file loads nothing, or fails. Keys of `rank_pattern` and `alpha_pattern` are expressions
/// for the end of a path (`get_pattern_key` in peft/utils/other.py); one that is a path alone, with or without `^` and escaped full
/// stops, is renamed.
struct RenamedConfig {
    /// The config.
    let config: AdapterConfig
    /// What was changed, in words.
    private(set) var notes: [String] = []

    /// - Parameters:
    ///   - modules: the modules that the adapter changes, each under its old name and its new.
    init(_ config: AdapterConfig, _ modules: [(old: String, new: String)]) throws {
        let renamed = Dictionary(modules.filter { $0.old != $0.new }.map { ($0.old, $0.new) }) { first, _ in first }
        guard !renamed.isEmpty else {
            self.config = config
            return
        }
        var (json, notes) = (config.json, [String]())
        func isTarget(_ config: AdapterConfig, _ path: String) -> Bool {
            (try? PathEnds(config, "target_modules"))?.contains(path) ?? false
        }
        for key in ["target_modules", "exclude_modules", "modules_to_save", "target_parameters"] as [ExactString] {
            guard let list = json[key]?.arrayValue else { continue }
            let names = list.map { value -> JSONValue in
                guard let text = value.stringValue else { return value }
                if let name = renamed[text] { return .string(name) }
                // `target_parameters` are a module's path and the parameter's own name.
                guard key == "target_parameters", let dot = text.lastIndex(of: "."), let name = renamed[String(text[..<dot])] else { return value }
                return .string(name + text[dot...])
            }
            if names != list { notes.append("\(key.text) of the config names the modules anew") }
            json[key] = .array(names)
        }
        for key in ["rank_pattern", "alpha_pattern"] as [ExactString] {
            guard let patterns = json[key]?.objectValue else { continue }
            let members = patterns.members.map { (key: RenamedConfig.pattern($0.key, renamed), value: $0.value) }
            if members.map(\.key) != patterns.members.map(\.key) { notes.append("\(key.text) of the config names the modules anew") }
            var object = JSONObject()
            for member in members { object[member.key] = member.value }
            guard object.members.count == members.count else {
                throw PeftfileError(
                    .refused, "\(key.text) has two entries for one module", file: config.path, rule: "AmbiguousKey", help: "keep one of the two")
            }
            json[key] = .object(object)
        }
        let own = try AdapterConfig(json: json, path: config.path)
        let isLost = modules.contains { isTarget(config, $0.old) && !isTarget(own, $0.new) }
        if isLost {
            json["target_modules"] = .array(Set(modules.map(\.new)).sorted().map { .string($0) })
            notes.append("target_modules of the config meant the old names, and lists the modules now")
        }
        self.config = try AdapterConfig(json: json, path: config.path)
        self.notes = notes
    }

    private static func pattern(_ key: ExactString, _ renamed: [String: String]) -> ExactString {
        let isAnchored = key.text.hasPrefix("^")
        let body = isAnchored ? String(key.text.dropFirst()) : key.text
        let isEscaped = body.contains("\\.")
        let path = isEscaped ? body.split(separator: "\\.", omittingEmptySubsequences: false).joined(separator: ".") : body
        guard let name = renamed[path] else { return key }
        let written = isEscaped ? name.split(separator: ".", omittingEmptySubsequences: false).joined(separator: "\\.") : name
        return ExactString((isAnchored ? "^" : "") + written)
    }
}

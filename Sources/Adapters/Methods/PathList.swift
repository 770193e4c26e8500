import ByteAccess

/// Modules that a config names: a list of ends of paths, or one regular expression for whole paths.
///
/// Source: `check_target_module_exists` in peft/tuners/tuners_utils.py, `_check_target_module_feedforward` in
/// peft/tuners/ia3/model.py (`re.fullmatch`; `key.endswith(target_key)` without a dot).
struct PathList {
    private let ends: [String]
    private let expression: RegularExpression?

    /// - Throws: `.malformed` where the value is neither, or no regular expression.
    init(_ config: AdapterConfig, _ key: ExactString) throws {
        if let pattern = config[key]?.stringValue {
            (ends, expression) = ([], try RegularExpression(wholePattern: pattern))
        } else {
            (ends, expression) = (try config.strings(key), nil)
        }
    }

    func contains(_ path: ExactString) -> Bool {
        if let expression { return expression.matchesWhole(path.text) }
        return ends.contains { path.text.utf8.suffix($0.utf8.count).elementsEqual($0.utf8) }
    }
}

public import ByteAccess

/// What `adapter_config.json` names and the adapter's tensors do not have: signs of a lost tensor or a misspelt name.
///
/// A target is met by a module whose path is the target or ends in `.` and the target; a key of a pattern by a module that
/// `re.match(rf"(.*\.)?({key})$", module)` accepts (`PatternMatch`). Source: `check_target_module_exists` in
/// peft/tuners/tuners_utils.py and `get_pattern_key` in peft/utils/other.py.
public struct ConfigCoverage: Sendable {
    /// Entries of the list `target_modules` that no module with tensors meets.
    public let unmetTargets: [String]
    /// Keys of `rank_pattern` and `alpha_pattern` that match no module.
    public let unusedPatterns: [(key: String, pattern: String)]
    /// Modules with tensors.
    public let modules: Set<ExactString>

    /// - Returns: nil where the question does not arise: there is no config of PEFT's, or no module with tensors.
    public init?(of adapter: Adapter) {
        guard let config = adapter.config, config.peftType != nil, let parameters = try? config.strings("target_parameters")
        else { return nil }
        // Where the method's tensors are of the whole adapter alone, what stands at a module is something else that was saved.
        let ofMethod = adapter.keys.filter { $0.component != nil }
        guard ofMethod.isEmpty || ofMethod.contains(where: { !$0.module.text.isEmpty }) else { return nil }
        // A tensor of the whole adapter belongs to no module.
        let paths = Set(adapter.keys.filter { !$0.isPrompt && !$0.module.text.isEmpty }.map(\.module))
        guard !paths.isEmpty else { return nil }
        modules = paths
        // Experts are trained under names that the model alone tells; a string as `target_modules` is an expression or a shorthand, and
        // what exclude_modules leaves of a target only the model tells.
        let isOfModel = paths.contains { $0.text.utf8Contains("experts") }
        let tellsModules = !isOfModel && parameters.isEmpty && config["target_modules"]?.arrayValue != nil && config["exclude_modules"] == nil
        let targets = tellsModules ? (try? config.strings("target_modules")) ?? [] : []
        unmetTargets = targets.filter { target in !paths.contains { ConfigCoverage.meets($0.text, target) } }
        var unused: [(key: String, pattern: String)] = []
        let names = ConfigCoverage.patternNames(of: paths.map(\.text), parameters)
        for key: ExactString in ["rank_pattern", "alpha_pattern"] where !isOfModel || !parameters.isEmpty {
            // AdaLoRA's rank_pattern is a map to masks.
            for (pattern, _) in (try? config.pattern(key)) ?? [] {
                guard let match = try? PatternMatch(keys: [pattern]) else { continue }
                if !names.contains(where: { match.firstKey(matching: $0) != nil }) { unused.append((key.text, pattern)) }
            }
        }
        unusedPatterns = unused
    }

    /// The names under which PEFT looks for a module's entry of a pattern: its path, and for what `target_parameters` wraps the path with
    /// the parameter's name, of which a wrapper's keys do not say which it is.
    private static func patternNames(of paths: [String], _ parameters: [String]) -> [String] {
        paths.flatMap { path -> [String] in
            let own = parameters.filter { LoadedModules.holdsParameter(path, [$0]) || $0 == "weight" }
                .compactMap { $0.dottedComponents.last.map { "\(path).\($0)" } }
            return own.isEmpty ? [path] : own + (parameters.contains("weight") ? [path] : [])
        }
    }

    /// Whether PEFT takes the module for the target.
    public static func meets(_ module: String, _ target: String) -> Bool {
        module == target || module.utf8.count > target.utf8.count && module.hasSuffix("." + target)
    }
}

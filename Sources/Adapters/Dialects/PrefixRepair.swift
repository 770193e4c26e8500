import ByteAccess

/// One front of an adapter's module names in place of another, so that a base has all of its modules: `model.` where it is
/// missing, another model's `transformer.` for it, or what stands twice.
///
/// A name that the base has stays, and one front serves all others: the end of a name alone never decides. The number of a
/// layer is no part of a front.
struct PrefixRepair: Hashable {
    /// What the names begin with, with its dot; empty where something is missing.
    let from: String
    /// What stands in its place.
    let to: String

    /// How many components at the front of a name may be foreign.
    private static let depth = 3

    /// The name of a module under the new front; itself where it has another, or the base has it.
    func name(of module: String, in paths: Set<String>) -> String {
        guard module.hasPrefix(from), !paths.contains(module) else { return module }
        let other = to + module.dropFirst(from.count)
        // What is new to the base has no front to be told by.
        return from.isEmpty && !paths.contains(other) ? module : other
    }

    /// The fronts under which the base has the modules that it lacks, those that change least first.
    ///
    /// - Parameters:
    ///   - modules: the modules that the adapter changes.
    ///   - paths: the base's, as ``paths(of:)`` has them.
    ///   - isComplete: whether the names are whole but for what is missing, or stands twice, in front.
    static func candidates(for modules: [String], among paths: Set<String>, isComplete: Bool) -> [PrefixRepair] {
        let lost = modules.filter { !paths.contains($0) }
        var result: [PrefixRepair] = []
        for module in lost.prefix(3) {
            let parts = module.split(separator: ".", omittingEmptySubsequences: false)
            for count in 0...min(depth, max(0, parts.count - 2)) where parts.count - count > 1 {
                if isComplete, count > 0, parts[count - 1] != parts[count] { continue }
                if count > 0, String(parts[count - 1]).isDecimal { break }
                let rest = parts[count...].joined(separator: ".")
                let from = parts[..<count].map { $0 + "." }.joined()
                for path in paths where path == rest || path.hasSuffix("." + rest) {
                    let repair = PrefixRepair(from: from, to: String(path.dropLast(rest.count)))
                    guard repair.from != repair.to, !repair.to.dottedComponents.contains(where: { $0.isDecimal }) else { continue }
                    if !result.contains(repair) { result.append(repair) }
                }
            }
        }
        return result.filter { repair in lost.allSatisfy { paths.contains(repair.name(of: $0, in: paths)) } }
            .sorted { ($0.from.count, $0.to.count, $0.to) < ($1.from.count, $1.to.count, $1.to) }
    }

    /// All paths of a base's names: modules, and what holds them.
    static func paths(of names: [ExactString]) -> Set<String> {
        var result: Set<String> = []
        for name in names {
            var path = name.text[...]
            while let dot = path.lastIndex(of: ".") {
                path = path[..<dot]
                guard result.insert(String(path)).inserted else { break }
            }
        }
        return result
    }
}

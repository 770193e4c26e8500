import ByteAccess
import Tensors

/// Which parameter each `target_parameters` wrapper of a module stands for.
///
/// The key says only how deep a wrapper lies. PEFT wraps a module's parameters in the order of registration, each
/// wrapper around the one before (`BaseTuner._inject_parameters`), so the innermost is the first registered of those
/// that `target_parameters` names. If the targets do not single out as many parameters as there are wrappers, the
/// shapes must.
struct WrappedParameters {
    /// A parameter of the module, as found in the base.
    struct Candidate {
        let name: String
        let stored: StoredParameter
        /// Whether its place in the order of registration is known.
        let isOrdered: Bool
    }

    let module: ExactString
    /// In order of registration.
    let candidates: [Candidate]
    /// How the base's files hold parameters of the module that are not read; nil where all are.
    var unread: String?

    /// One candidate for each wrapper, the outermost first.
    func assigned(
        to requests: [ParameterRequest?], targetParameters: [String]
    ) throws(PeftfileError) -> [Candidate] {
        let levels = requests.count
        let targeted = candidates.filter { candidate in
            let key = "\(module.text).\(candidate.name)"
            return targetParameters.contains { key == $0 || key.hasSuffix("." + $0) }
        }
        guard candidates.count >= levels else { throw tooMany(levels) }
        guard targetParameters.isEmpty || targeted.count >= levels else { throw unnamed(levels, targeted.map(\.name)) }
        let pool = targetParameters.isEmpty ? candidates : targeted
        var fitting: [[Candidate]] = []
        for choice in Self.subsets(of: pool, count: levels) {
            let outermostFirst = Array(choice.reversed())
            let fits = zip(outermostFirst, requests).allSatisfy { candidate, request in
                guard let update = request?.update else { return true }
                return Self.fits(update, candidate.stored.shape)
            }
            if fits { fitting.append(outermostFirst) }
        }
        guard fitting.count == 1, levels == 1 || fitting[0].allSatisfy(\.isOrdered) else {
            throw undecided(fitting.count)
        }
        return fitting[0]
    }

    /// All ways to leave out elements so that `count` remain, order kept.
    private static func subsets(of pool: [Candidate], count: Int) -> [[Candidate]] {
        if count == 0 { return [[]] }
        guard pool.count >= count else { return [] }
        let rest = Array(pool.dropFirst())
        return subsets(of: rest, count: count - 1).map { [pool[0]] + $0 } + subsets(of: rest, count: count)
    }

    private static func fits(_ update: (rows: Int, columns: Int), _ shape: Shape) -> Bool {
        if shape.count == 3 { return UpdateOrientation.fit(update, stack: shape) != nil }
        return shape.count == 2 && shape[0] == update.rows && shape[1] == update.columns
    }

    private func tooMany(_ levels: Int) -> PeftfileError {
        if let unread {
            return PeftfileError(
                .refused, "the adapter wraps \(levels) parameters of \(module), and the base's files hold them in \(unread), which is not read",
                rule: "WrappedParameters", help: UnreadLayouts.help)
        }
        return PeftfileError(
            .refused,
            "the adapter wraps \(levels) parameters of \(module), and the base has \(candidates.count) that can be "
                + "adapted there (\(list))",
            rule: "WrappedParameters", help: "check that adapter and base belong together")
    }

    /// PEFT wraps what `target_parameters` names and drops the tensors of further wrappers.
    private func unnamed(_ levels: Int, _ named: [String]) -> PeftfileError {
        PeftfileError(
            .refused,
            "the adapter wraps \(levels) parameter\(levels == 1 ? "" : "s") of \(module), and target_parameters names "
                + "\(named.isEmpty ? "none" : named.joined(separator: ", ")) of what the base has there (\(list)): PEFT would drop the rest",
            rule: "TensorNotLoaded", help: "correct target_parameters in adapter_config.json")
    }

    private func undecided(_ count: Int) -> PeftfileError {
        PeftfileError(
            .refused,
            "which parameter of \(module) the adapter changes cannot be told: \(count) assignments fit the shapes of "
                + list,
            rule: "WrappedParameters",
            help: "an adapter_config.json with target_parameters beside the adapter file decides it")
    }

    private var list: String {
        candidates.isEmpty ? "none" : candidates.map { "\($0.name) \($0.stored.shape)" }.joined(separator: ", ")
    }
}

import ByteAccess
import Tensors

/// A request with the parameter found for it.
struct FoundParameter: Hashable {
    let parameter: String
    let stored: StoredParameter
}

/// What one prefix form finds.
struct PlacedSubjects {
    var found: [(request: ParameterRequest, found: FoundParameter)] = []
    var missing: [ParameterRequest] = []
    /// Modules whose update goes to an `in_proj_weight`.
    var attentionModules: Set<ExactString> = []
    /// Why a request is missing, where the reason is not that the base lacks the name.
    var problem: PeftfileError?

    /// How many parameters were found only as the other end of a tie.
    var tiedCount: Int { found.count { $0.found.stored.untiedName != nil } }

    /// Counts `requests` as missing for a reason of their own.
    mutating func note(_ error: PeftfileError, for requests: [ParameterRequest]) {
        missing += requests
        if problem == nil { problem = error }
    }

    /// The first request that both place, and place differently.
    func difference(
        from other: PlacedSubjects
    ) -> (request: ParameterRequest, one: FoundParameter, other: FoundParameter)? {
        if found.elementsEqual(other.found, by: { $0 == $1 }) { return nil }
        let theirs = Dictionary(other.found.map { ($0.request, $0.found) }, uniquingKeysWith: { first, _ in first })
        for (request, mine) in found {
            if let place = theirs[request], place != mine { return (request, mine, place) }
        }
        return nil
    }
}

/// The requests, sorted once and then tried under each prefix form. Their spellings are made anew for each: most forms fail at the
/// first, and mixtures of experts ask for tens of thousands.
struct ResolutionSubjects {
    /// A request for one parameter by name, or all wrappers of one module.
    private enum Subject {
        case parameter(ParameterRequest)
        case wrappers([ParameterRequest?], of: ExactString)
    }

    /// A module whose parameters can be wrapped, with the spellings of each.
    private struct Module {
        let name: ExactString
        let parameters: [(name: String, spellings: TensorSpellings, isOrdered: Bool)]
    }

    private let locator: ParameterLocator
    private let targetParameters: [String]
    /// Parameter names that `target_parameters` gives and the order of registration is not known of.
    private let unorderedParameters: [String]
    private var subjects: [Subject] = []

    init(
        _ requests: [ParameterRequest], locator: ParameterLocator, targetParameters: [String]
    ) throws(PeftfileError) {
        self.locator = locator
        self.targetParameters = targetParameters
        unorderedParameters = Set(targetParameters.compactMap { $0.dottedComponents.last.map(String.init) })
            .subtracting(ExpertLayouts.registrationOrder).sorted()
        guard unorderedParameters.count <= 16 else {
            throw PeftfileError(
                .refused, "target_parameters names \(unorderedParameters.count) different parameters",
                rule: "WrappedParameters", help: "check adapter_config.json")
        }
        var wrapped: [ExactString: Int] = [:]
        var seen: Set<ParameterRequest> = []
        for request in requests where seen.insert(request).inserted {
            guard case .wrapped(let level, let levels) = request.parameter else {
                subjects.append(.parameter(request))
                continue
            }
            guard levels > 0, levels <= 16, (0..<levels).contains(level) else {
                throw PeftfileError(
                    .refused, "a pair of factors for \(request.module) lies \(level) base_layer deep, and the file has "
                        + "\(levels) of the \(level + 1) pairs that this takes", rule: "WrappedParameters",
                    help: "save the adapter again: PEFT nests one wrapper for each of target_parameters, from the innermost on")
            }
            let index = wrapped[request.module] ?? subjects.count
            if index == subjects.count {
                wrapped[request.module] = index
                subjects.append(.wrappers(Array(repeating: nil, count: levels), of: request.module))
            }
            guard case .wrappers(var levelsOfModule, let module) = subjects[index], levelsOfModule.count == levels,
                levelsOfModule[level] == nil
            else {
                throw PeftfileError(
                    .refused, "the wrappers of \(request.module) contradict each other", rule: "WrappedParameters",
                    help: "check the adapter file for keys of two adapters")
            }
            levelsOfModule[level] = request
            subjects[index] = .wrappers(levelsOfModule, of: module)
        }
    }

    private func module(_ name: ExactString, onlyStacks: Bool = false) -> Module {
        let known = ExpertLayouts.registrationOrder.filter {
            !onlyStacks || ExpertLayouts.stackedParameters.contains($0)
        }
        let ordered = known.map { ($0, locator.spellings("\(name).\($0)"), true) }
        let unordered = unorderedParameters.map { ($0, locator.spellings("\(name).\($0)"), false) }
        return Module(name: name, parameters: ordered + unordered)
    }

    /// How many subjects there are; `placed` may be asked for a sample of them.
    var count: Int { subjects.count }

    /// What `form` finds, or nil as soon as more than `limit` requests are missing. With a `stride` above 1 only every
    /// stride-th subject is tried.
    func placed(under form: PrefixForm, atMostMissing limit: Int = .max, stride step: Int = 1) -> PlacedSubjects? {
        var result = PlacedSubjects()
        for index in stride(from: 0, to: subjects.count, by: step) {
            switch subjects[index] {
            case .parameter(let request): place(request, form: form, into: &result)
            case .wrappers(let requests, let name): place(requests, module(name), form: form, into: &result)
            }
            if result.missing.count > limit { return nil }
        }
        return result
    }

    private func place(_ request: ParameterRequest, form: PrefixForm, into result: inout PlacedSubjects) {
        do throws(PeftfileError) {
            for name in request.tensorNames {
                guard var stored = try locator.locate(locator.spellings(name.tensor), form: form) else { continue }
                if name.name == "in_proj_weight" { result.attentionModules.insert(request.module) }
                if name.name == "weight", let update = request.update, isStack(update, stored.shape) {
                    stored = stored.splitByExpert
                }
                result.found.append((request, FoundParameter(parameter: name.name, stored: stored)))
                return
            }
        } catch {
            result.note(error, for: [request])
            return
        }
        // An update of a module without a weight of its own: the single wrapper of one of its parameters.
        if request.parameter == .weight && request.update != nil && !request.isEmbedding {
            place([request], module(request.module, onlyStacks: true), form: form, into: &result)
        } else {
            result.missing.append(request)
        }
    }

    /// Whether a 3-D `weight` is a stack of matrices for this update and no kernel: a kernel (out, in, k) has an update
    /// (out, in·k).
    private func isStack(_ update: (rows: Int, columns: Int), _ shape: Shape) -> Bool {
        guard shape.count == 3, !(shape[0] == update.rows && shape[1] * shape[2] == update.columns) else {
            return false
        }
        return UpdateOrientation.fit(update, stack: shape) != nil
    }

    private func place(
        _ requests: [ParameterRequest?], _ module: Module, form: PrefixForm, into result: inout PlacedSubjects
    ) {
        do throws(PeftfileError) {
            var candidates: [WrappedParameters.Candidate] = []
            for (name, spellings, isOrdered) in module.parameters {
                guard let stored = try locator.locate(spellings, form: form)?.splitByExpert,
                    (2...3).contains(stored.shape.count)
                else { continue }
                candidates.append(WrappedParameters.Candidate(name: name, stored: stored, isOrdered: isOrdered))
            }
            guard !candidates.isEmpty else {
                result.missing += requests.compactMap { $0 }
                return
            }
            let assigned = try WrappedParameters(
                module: module.name, candidates: candidates,
                unread: UnreadLayouts.layout(of: module.name.text, in: locator.modelTypes))
                .assigned(to: requests, targetParameters: targetParameters)
            for (request, candidate) in zip(requests, assigned) {
                guard let request else { continue }
                result.found.append((request, FoundParameter(parameter: candidate.name, stored: candidate.stored)))
            }
        } catch {
            result.note(error, for: requests.compactMap { $0 })
        }
    }
}

public import ByteAccess
import Tensors

/// Finds, for the parameters that an adapter names as transformers has them in memory, the tensors of the base's files.
///
/// A name is taken as it stands where the base has it. Otherwise one prefix form, the same for all modules, must give
/// every module a full name that exists, with the renames and expert layouts of the model type; the end of a name alone
/// never decides. Two forms that lead to different tensors, and modules without a tensor, are refused by name.
public struct NameResolver: Sendable {
    private let locator: ParameterLocator
    private let basePrefixes: [String]
    private let peftVersion: String?
    private let targetParameters: [String]

    /// - Parameters:
    ///   - peftVersion: `peft_version` of adapter_config.json; it decides the orientation of square stacked experts.
    ///   - targetParameters: `target_parameters` of adapter_config.json, empty where absent.
    public init(base: BaseDirectory, peftVersion: String? = nil, targetParameters: [String] = []) {
        locator = ParameterLocator(base: base)
        basePrefixes = BasePrefixes.prefixes(for: base.modelTypes)
        self.peftVersion = peftVersion
        self.targetParameters = targetParameters
    }

    /// The place of every request.
    ///
    /// Throws `refused`, naming the modules, what was looked for and the nearest tensors, if a request has no place, if
    /// two prefix forms place it differently, or if it cannot be told which parameter of a module is meant. Whether an
    /// update fits the place's shape is for the caller to judge: a saved embedding may have grown.
    public func resolve(_ requests: [ParameterRequest]) throws(PeftfileError) -> [ParameterRequest: ParameterPlace] {
        let resolution = try survey(requests)
        guard resolution.missing.isEmpty else { throw missingError(resolution.missing, of: requests.count) }
        return resolution.places
    }

    /// As `resolve`, but requests without a place are listed in the result: a head saved whole with the adapter may be
    /// new to the base.
    public func survey(_ requests: [ParameterRequest]) throws(PeftfileError) -> NameResolution {
        let subjects = try ResolutionSubjects(requests, locator: locator, targetParameters: targetParameters)
        let forms = PrefixForms.candidates(basePrefixes: basePrefixes)
        if let whole = try complete(subjects, forms) { return whole }

        // No form places everything. The one that comes closest tells what is missing; with many requests a sample picks
        // it, for an adapter of another model would otherwise be tried in full under every form.
        let step = max(1, subjects.count / 256)
        let ranked = forms.enumerated().map { index, form in
            (index, missing: subjects.placed(under: form, stride: step)?.missing.count ?? 0)
        }
        let fewest = ranked.map(\.missing).min() ?? 0
        var best: (placed: PlacedSubjects, form: PrefixForm)?
        for (index, _) in ranked.filter({ $0.missing == fewest }).prefix(8) {
            guard let placed = subjects.placed(under: forms[index]) else { continue }
            guard let known = best, placed.missing.count >= known.placed.missing.count else {
                best = (placed, forms[index])
                continue
            }
            if placed.missing.count == known.placed.missing.count,
                let (request, one, other) = known.placed.difference(from: placed), one != nil, other != nil
            {
                throw ambiguityError(request, one, other)
            }
        }
        guard let best else { return NameResolution(places: [:], missing: []) }
        if let problem = best.placed.problem { throw problem }
        return resolution(best.placed, form: best.form)
    }

    /// The resolution under the forms that place every request; nil if there is none. Names that all exist as they stand
    /// are never rewritten.
    private func complete(
        _ subjects: ResolutionSubjects, _ forms: [PrefixForm]
    ) throws(PeftfileError) -> NameResolution? {
        var first: (placed: PlacedSubjects, form: PrefixForm)?
        for form in [.identity] + forms {
            guard let placed = subjects.placed(under: form, atMostMissing: 0) else { continue }
            guard let known = first else {
                first = (placed, form)
                if form.isIdentity { break }
                continue
            }
            if let (request, one, other) = known.placed.difference(from: placed) {
                throw ambiguityError(request, one, other)
            }
        }
        return first.map { resolution($0.placed, form: $0.form) }
    }

    /// The names under which the parameters that the model ties to the stored tensor `name` would be stored on their
    /// own: absent from the base, or stored although the config declares the tie. Empty where nothing is tied.
    public func tiedPartners(of name: ExactString) -> [ExactString] {
        locator.tiedPartners(of: name.text, basePrefixes: basePrefixes)
    }

    /// For messages.
    var modelType: String? { locator.base.modelType }
    var storedNames: [ExactString] { locator.base.names }

    /// Adds orientation and multiplicity to what was found.
    private func resolution(_ placed: PlacedSubjects, form: PrefixForm) -> NameResolution {
        let orientations = StackOrientations(
            placed.found, peftVersion: peftVersion, modelTypes: locator.modelTypes)
        var places: [ParameterRequest: ParameterPlace] = [:]
        places.reserveCapacity(placed.found.count)
        for (request, found) in placed.found {
            let isTransposed =
                found.stored.isStack
                ? orientations.isTransposed(request, in: found.stored.shape)
                : matrixIsTransposed(request, in: found.stored.shape)
            places[request] = ParameterPlace(
                parameter: found.parameter, shape: found.stored.shape, pieces: found.stored.pieces,
                updateTransposed: isTransposed, multiplicity: multiplicity(of: request, among: placed),
                untiedName: found.stored.untiedName)
        }
        let missing = placed.missing.map { request in
            MissingParameter(
                request: request,
                storedName: ExactString(form.apply(request.tensorNames[0].tensor)))
        }
        return NameResolution(places: places, missing: missing)
    }

    private func matrixIsTransposed(_ request: ParameterRequest, in shape: [Int]) -> Bool {
        guard let update = request.update, !request.isEmbedding, !request.isWrapped else { return false }
        return UpdateOrientation.isTransposed(
            update, in: shape, module: request.module, modelTypes: locator.modelTypes)
    }

    /// 2 for the `out_proj` of an nn.MultiheadAttention that PEFT wrapped as such: its forward pass merges the weight by
    /// hand and then calls the inner layer's own merge as well (`lora.MultiheadAttention.merge`). That it was wrapped as
    /// such shows in the update of `in_proj_weight` that then exists beside it.
    private func multiplicity(of request: ParameterRequest, among placed: PlacedSubjects) -> Int {
        let suffix = ".out_proj"
        guard request.parameter == .weight, request.update != nil, request.module.text.hasSuffix(suffix) else {
            return 1
        }
        let attention = ExactString(String(request.module.text.dropLast(suffix.count)))
        return placed.attentionModules.contains(attention) ? 2 : 1
    }
}

/// What name resolution found.
public struct NameResolution: Sendable {
    public var places: [ParameterRequest: ParameterPlace]
    /// In the order of the requests.
    public var missing: [MissingParameter]
}

/// A request without a place in the base.
public struct MissingParameter: Sendable, Hashable {
    public var request: ParameterRequest
    /// The name under which the base would store it, by the prefix form that places the others.
    public var storedName: ExactString
}

extension ParameterRequest {
    var isWrapped: Bool {
        if case .wrapped = parameter { return true }
        return false
    }

    /// What the request may mean in memory, the likeliest first: a parameter's own name and the tensor's. For wrappers,
    /// whose parameters are not known yet, the module alone.
    var tensorNames: [(name: String, tensor: String)] {
        let parameters =
            switch parameter {
            case .weight: ["weight", "in_proj_weight"]
            case .bias: ["bias"]
            case .named(let name): [name]
            case .wrapped: [""]
            }
        return parameters.map { name in
            let parts = [module.text, name].filter { !$0.isEmpty }
            return (name, parts.joined(separator: "."))
        }
    }
}

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
    private let fanInFanOut: Bool
    private let squareIsTransposed: Bool?
    private let isSilent: Bool
    private let isCallersWord: Bool

    /// - Parameters:
    ///   - peftVersion: `peft_version` of adapter_config.json; it decides the orientation of square stacked experts.
    ///   - targetParameters: `target_parameters` of adapter_config.json, empty where absent.
    ///   - fanInFanOut: `fan_in_fan_out` of adapter_config.json.
    ///   - squareIsTransposed: whether square matrices are (in, out) where nothing tells; nil where the caller does not know.
    public init(
        base: BaseDirectory, peftVersion: String? = nil, targetParameters: [String] = [], fanInFanOut: Bool = false,
        squareIsTransposed: Bool? = nil
    ) {
        self.init(
            base: base, peftVersion: peftVersion, targetParameters: targetParameters, fanInFanOut: fanInFanOut,
            squareIsTransposed: squareIsTransposed, isSilent: false)
    }

    /// - Parameters:
    ///   - isSilent: whether the adapter has no word on how matrices lie; a square one is then refused where nothing else tells.
    ///   - isCallersWord: whether `squareIsTransposed` is an option's, which may not contradict what is known.
    ///   - modelClass: the class that was trained, where the config names it.
    init(
        base: BaseDirectory, peftVersion: String? = nil, targetParameters: [String] = [], fanInFanOut: Bool = false,
        squareIsTransposed: Bool? = nil, isSilent: Bool, isCallersWord: Bool = false, modelClass: String? = nil
    ) {
        self.isSilent = isSilent
        self.isCallersWord = isCallersWord
        self.fanInFanOut = fanInFanOut
        self.squareIsTransposed = squareIsTransposed
        locator = ParameterLocator(base: base)
        basePrefixes = BasePrefixes.prefixes(BasePrefixes.prefixes(for: base.modelTypes), trainedIn: modelClass)
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
        guard resolution.missing.isEmpty else { throw missingError(resolution.missing, of: requests) }
        return resolution.places
    }

    /// As `resolve`, but requests without a place are listed in the result: a head saved whole with the adapter may be
    /// new to the base.
    ///
    /// - Throws: `.refused` with rule `AmbiguousTarget` where two prefix forms place a request differently; `WrappedParameters` or
    ///   `TensorNotLoaded` where the wrappers of a module do not get one parameter each; `SquareOrientation` where nothing tells how a
    ///   square matrix lies; `ExpertShapes`, `UnequalExperts` or `IncompleteExpert` where the base's experts do not fit together.
    public func survey(_ requests: [ParameterRequest]) throws(PeftfileError) -> NameResolution {
        let subjects = try ResolutionSubjects(requests, locator: locator, targetParameters: targetParameters)
        let forms = PrefixForms.candidates(basePrefixes: basePrefixes)
        if let whole = try complete(subjects, forms) { return whole }

        // No form places everything. The one that comes closest tells what is missing. With many requests a sample
        // picks it: an adapter of another model would otherwise be tried in full under every form.
        let step = max(1, subjects.count / 64)
        let samples = forms.map { subjects.placed(under: $0, stride: step) ?? PlacedSubjects() }
        let fewest = samples.map(\.missing.count).min()
        let candidates = samples.indices.filter { samples[$0].missing.count == fewest }
        let fewestTies = candidates.map { samples[$0].tiedCount }.min()
        let closest = candidates.filter { samples[$0].tiedCount == fewestTies }
        guard let first = closest.first else { return NameResolution(places: [:], missing: [], form: .identity) }
        for other in closest.dropFirst() where !forms[first].isIdentity {
            if let (request, one, other) = samples[first].difference(from: samples[other]) {
                throw ambiguityError(request, one, other)
            }
        }
        let placed = subjects.placed(under: forms[first]) ?? PlacedSubjects()
        if let problem = placed.problem { throw problem }
        return try resolution(placed, form: forms[first])
    }

    /// The resolution under the forms that place every request; nil if there is none. Names that all exist as they
    /// stand are never rewritten, and a form that needs a tie for what another finds under its own name is the wrong
    /// one.
    private func complete(
        _ subjects: ResolutionSubjects, _ forms: [PrefixForm]
    ) throws(PeftfileError) -> NameResolution? {
        var whole: [(placed: PlacedSubjects, form: PrefixForm)] = []
        for form in forms {
            guard let placed = subjects.placed(under: form, atMostMissing: 0) else { continue }
            if form.isIdentity && placed.tiedCount == 0 { return try resolution(placed, form: form) }
            whole.append((placed, form))
        }
        let fewestTies = whole.map(\.placed.tiedCount).min()
        let best = whole.filter { $0.placed.tiedCount == fewestTies }
        guard let first = best.first else { return nil }
        if first.form.isIdentity { return try resolution(first.placed, form: first.form) }
        for other in best.dropFirst() {
            if let (request, one, other) = first.placed.difference(from: other.placed) {
                throw ambiguityError(request, one, other)
            }
        }
        return try resolution(first.placed, form: first.form)
    }

    /// The names under which the parameters that the model ties to the stored tensor `name` would be stored on their
    /// own: absent from the base, or stored although the config declares the tie. Empty where nothing is tied.
    public func tiedPartners(of name: ExactString) -> [ExactString] {
        locator.tiedPartners(of: name.text, basePrefixes: basePrefixes)
    }

    /// Those of the tied partners that are one module with `name` in the modeling file, whatever the config says: no flag
    /// can give them different values.
    func sharedModules(of name: ExactString) -> [ExactString] {
        locator.tiedPartners(of: name.text, basePrefixes: basePrefixes, fixedOnly: true)
    }

    /// What says that the head's input is scaled.
    enum HeadScale {
        /// `tie_word_embeddings`: untying changes the model's answer.
        case tied
        /// `scale_decoder_outputs`, whatever is tied.
        case ofItsOwn
    }

    /// T5 multiplies the head's input by d_model^-0.5 (`T5ForConditionalGeneration.forward`): up to version 4 where it is tied to the embedding, in
    /// version 5 where `scale_decoder_outputs` says so, which the config of T5 and UMT5 alone holds beside `tie_word_embeddings`. Nil for models
    /// that scale nothing.
    ///
    /// Source: `T5Config.__post_init__` in transformers' configuration_t5.py, configuration_umt5.py.
    var headScale: HeadScale? {
        if locator.modelTypes.contains(where: { $0 == "t5" || $0 == "umt5" }) { return .ofItsOwn }
        return TiedWeights.t5.isDisjoint(with: locator.modelTypes) ? nil : .tied
    }

    /// Whether a parameter that the base lacks may belong to a module that is new to it: a head of its own, and neither a
    /// part of what the base has nor an input embedding.
    func mayBeNew(_ storedName: ExactString) -> Bool {
        let parts = storedName.text.dottedComponents
        guard parts.count > 1, let first = parts.first, parts[parts.count - 2] != "embed_tokens" else { return false }
        let front = String(first) + "."
        return !storedNames.contains { $0.text.utf8.starts(with: front.utf8) }
    }

    /// For messages.
    var modelType: String? { locator.base.modelType }
    var modelTypes: [String] { locator.modelTypes }
    var storedNames: [ExactString] { locator.base.names }

    /// Adds orientation and multiplicity to what was found.
    private func resolution(_ placed: PlacedSubjects, form: PrefixForm) throws(PeftfileError) -> NameResolution {
        let matrices = MatrixOrientation(
            placed.found, base: locator.base, modelTypes: locator.modelTypes, fanInFanOut: fanInFanOut,
            squareIsTransposed: squareIsTransposed, isSilent: isSilent)
        let orientations = StackOrientations(
            placed.found, peftVersion: peftVersion, modelTypes: locator.modelTypes)
        var places: [ParameterRequest: ParameterPlace] = [:]
        var answers: [(module: ExactString, answer: MatrixOrientation.Answer)] = []
        places.reserveCapacity(placed.found.count)
        for (request, found) in placed.found {
            var isTransposed = false
            if found.stored.isStack {
                isTransposed = orientations.isTransposed(request, found.parameter, in: found.stored.shape)
            } else if let answer = try matrices.answer(request, in: found.stored.shape) {
                isTransposed = answer.isTransposed
                if isCallersWord { answers.append((request.module, answer)) }
            }
            places[request] = ParameterPlace(
                parameter: found.parameter, shape: found.stored.shape, pieces: found.stored.pieces,
                updateTransposed: isTransposed, multiplicity: multiplicity(of: request, among: placed),
                untiedName: found.stored.untiedName)
        }
        try matrices.requireNoContradiction(answers)
        let missing = placed.missing.map { request in
            MissingParameter(
                request: request,
                storedName: ExactString(form.apply(request.tensorNames[0].tensor)))
        }
        return NameResolution(places: places, missing: missing, form: form)
    }

    /// 2 for the `out_proj` of an nn.MultiheadAttention that PEFT wrapped as such: its forward pass merges the weight
    /// by hand and then calls the inner layer's own merge as well (`lora.MultiheadAttention.merge`). That it was
    /// wrapped as such shows in the update of `in_proj_weight` that then exists beside it.
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
    /// Where each parameter is stored.
    public var places: [ParameterRequest: ParameterPlace]
    /// In the order of the requests.
    public var missing: [MissingParameter]
    /// How the fronts of names were written to find them.
    let form: PrefixForm
}

/// A request without a place in the base.
public struct MissingParameter: Sendable, Hashable {
    /// The parameter that was looked for.
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

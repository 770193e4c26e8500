import ByteAccess
import Tensors

/// Which plain matrices are held as (in, out): the Conv1D layers of GPT-2 and its kin, whose B·A must be turned.
///
/// A matrix that is not square tells by its shape. For a square one, in this order: the architecture, where it is known
/// to be built of Conv1D; matrices of the same name that are not square, in the adapter's requests; their biases in the
/// base, which are as long as the output; all of the adapter's matrices that are not square, where they agree. The
/// config's `fan_in_fan_out` is no witness, since PEFT rewrites it for each layer in turn (`dispatch_default`: a Linear has it
/// not, whatever the config says), but where it is set and nothing else tells, the answer is open and the adapter refused until the
/// caller says which. So is one in a format that has no word for it, as loralib's, on a base whose architecture nobody names, or
/// transformers does not have. Where something tells, a word of the caller's against it is refused.
struct MatrixOrientation {
    /// Model types built of transformers' Conv1D (`pytorch_utils.Conv1D`), whose weight is (in, out), and the modules
    /// that are such. Their heads and embeddings are ordinary.
    private static let conv1DModelTypes: Set<String> = [
        "gpt2", "openai_gpt", "imagegpt", "decision_transformer", "clvp", "clvp_decoder",
    ]
    private static let conv1DModules: Set<String> = ["c_attn", "q_attn", "c_proj", "c_fc"]
    /// Types of models that are put together of others, whose types alone tell how they are built.
    private static let compositeModelTypes: Set<String> = [
        "encoder_decoder", "vision_encoder_decoder", "speech_encoder_decoder", "vision_text_dual_encoder", "rag",
    ]

    private let isConv1DArchitecture: Bool
    private let modelTypes: [String]
    private let fanInFanOut: Bool
    private let squareIsTransposed: Bool?
    private let isSilent: Bool
    /// What the matrices that are not square say, by the last name of their module.
    private var votes: [String: Set<Bool>] = [:]
    /// What the biases of the base's Conv1D-like modules say.
    private let baseVote: Bool?

    init(
        _ found: [(request: ParameterRequest, found: FoundParameter)], base: BaseDirectory, modelTypes: [String],
        fanInFanOut: Bool, squareIsTransposed: Bool? = nil, isSilent: Bool = false
    ) {
        self.isSilent = isSilent
        self.squareIsTransposed = squareIsTransposed
        // A pair's parts are of types of their own.
        isConv1DArchitecture = !Self.conv1DModelTypes.isDisjoint(with: base.allModelTypes)
        self.modelTypes = Self.compositeModelTypes.isSuperset(of: modelTypes) ? base.allModelTypes : modelTypes
        self.fanInFanOut = fanInFanOut
        for (request, located) in found {
            guard let update = request.update, !request.isEmbedding, !request.isWrapped, located.stored.shape.count == 2,
                let turned = Self.shapeTells(update, in: located.stored.shape)
            else { continue }
            votes[Self.lastName(request.module), default: []].insert(turned)
        }
        baseVote = isConv1DArchitecture ? nil : Self.baseVote(base)
    }

    /// How a matrix lies, and who says so.
    enum Answer {
        /// The matrix is not square, and its shape alone decides.
        case shape(Bool)
        /// A square matrix of a known kind, and how that is known.
        case witness(Bool, String)
        /// A square matrix of which nothing tells: the caller's word.
        case said(Bool)
        /// A square matrix of which nothing tells and that the adapter says is none of a Conv1D.
        case presumed

        /// Whether the matrix is the transpose of the update.
        var isTransposed: Bool {
            switch self {
            case .shape(let turned), .witness(let turned, _), .said(let turned): turned
            case .presumed: false
            }
        }
    }

    /// How the matrix lies, the update being (out, in); nil where neither way fits, or the request is of no plain layer.
    func answer(_ request: ParameterRequest, in shape: Shape) throws(PeftfileError) -> Answer? {
        guard request.update != nil || request.asksOrientation, !request.isEmbedding, !request.isWrapped, shape.count == 2
        else { return nil }
        if let update = request.update {
            if let turned = Self.shapeTells(update, in: shape) { return .shape(turned) }
            // Neither way fits: the caller says what does not.
            guard shape[0] == update.rows, shape[1] == update.columns else { return nil }
        }
        let name = Self.lastName(request.module)
        let isNamedLikeConv1D = Self.conv1DModules.contains(name)
        if isConv1DArchitecture {
            return .witness(isNamedLikeConv1D, "model_type \(namedType) has \(isNamedLikeConv1D ? "a Conv1D" : "a Linear") there")
        }
        if let own = votes[name], own.count == 1, let vote = own.first { return .witness(vote, "others of its name that are not square lie so") }
        if isNamedLikeConv1D, let baseVote { return .witness(baseVote, "the base's biases are as long as that side") }
        let all = votes.values.reduce(into: Set<Bool>()) { $0.formUnion($1) }
        if all.count == 1, let vote = all.first { return .witness(vote, "all of the adapter's that are not square lie so") }
        if isLinearArchitecture { return .witness(false, "model_type \(namedType) has a Linear there") }
        if let squareIsTransposed { return .said(squareIsTransposed) }
        guard !fanInFanOut, !isSilent else {
            throw PeftfileError(
                .refused,
                "module \"\(request.module)\" is square, the adapter \(fanInFanOut ? "says" : "has no word on") fan_in_fan_out, and nothing tells whether the base "
                    + "holds it as (in, out)"
                    + (modelTypes.first.map { ": model_type \($0.printable) is not known to, and no other matrix of the adapter decides" } ?? ""),
                rule: "SquareOrientation",
                help: (modelTypes.isEmpty ? "put the base's config.json, with its model_type, beside its weights, or " : "")
                    + "say how it holds them: --square-orientation in-out (or out-in)")
        }
        return .presumed
    }

    /// Whether the architecture is one that transformers builds without Conv1D.
    private var isLinearArchitecture: Bool {
        !isConv1DArchitecture && !Self.compositeModelTypes.isSuperset(of: modelTypes) && PlainNames.unknown(among: modelTypes) == nil
    }

    /// The type in messages.
    private var namedType: String { (modelTypes.first { Self.conv1DModelTypes.contains($0) } ?? modelTypes.first ?? "").printable }

    /// Refuses the caller's word where no square matrix was open and what is known of them is otherwise. `in-out` says that there are such
    /// matrices, so that others beside one of them are no contradiction.
    ///
    /// - Parameter answers: those of all modules.
    func requireNoContradiction(_ answers: [(module: ExactString, answer: Answer)]) throws(PeftfileError) {
        guard let squareIsTransposed else { return }
        var other: (module: ExactString, reason: String)?
        for (module, answer) in answers {
            switch answer {
            case .said: return
            case .witness(let turned, _) where turned == squareIsTransposed && turned: return
            case .witness(let turned, let reason) where turned != squareIsTransposed: other = other ?? (module, reason)
            case .shape, .witness, .presumed: break
            }
        }
        guard let other else { return }
        throw PeftfileError(
            .refused,
            "--square-orientation says \(squareIsTransposed ? "in-out" : "out-in"), and the base holds module \"\(other.module)\" as "
                + "\(squareIsTransposed ? "(out, in)" : "(in, out)"): \(other.reason)",
            rule: "SquareOrientation", help: "leave the option out")
    }

    /// Whether the update fits turned; nil where the shape does not decide.
    private static func shapeTells(_ update: (rows: Int, columns: Int), in shape: Shape) -> Bool? {
        let straight = shape[0] == update.rows && shape[1] == update.columns
        let turned = shape[0] == update.columns && shape[1] == update.rows
        return straight == turned ? nil : turned
    }

    private static func lastName(_ module: ExactString) -> String {
        module.text.dottedComponents.last.map { String($0) } ?? ""
    }

    /// A bias is as long as the layer's output: the second dimension of a Conv1D's weight, the first of a Linear's.
    private static func baseVote(_ base: BaseDirectory) -> Bool? {
        var votes: Set<Bool> = []
        for name in base.names where name.text.hasSuffix(".weight") {
            let module = String(name.text.dropLast(".weight".count))
            guard conv1DModules.contains(lastName(ExactString(module))), let shape = base.shapes[name], shape.count == 2,
                shape[0] != shape[1], let bias = base.shape(module + ".bias"), bias.count == 1
            else { continue }
            if bias[0] == shape[1] { votes.insert(true) } else if bias[0] == shape[0] { votes.insert(false) }
        }
        return votes.count == 1 ? votes.first : nil
    }
}

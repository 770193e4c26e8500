/// One way to write the front of every name of a model.
///
/// The same tensor has different fronts depending on which class was saved (the bare model or one with a head), by
/// which version of transformers, and which class was trained. The back of a name never changes here, and one form
/// holds for all modules of an adapter, so that a name which occurs in several towers cannot slip from one into
/// another.
struct PrefixForm: Sendable {
    /// What the form does to the levels of a name.
    enum Kind: Sendable, Equatable {
        /// Nothing, or it adds and drops a tower's own name inside.
        case kept
        /// It drops the prefix, which the name has and the base has not.
        case dropping(String)
        /// It adds the prefix, which the base has and the name has not.
        case adding(String)
        /// It writes one multimodal style as another.
        case restyling
    }

    let kind: Kind
    /// Rewrites of the front, of which the first that fits a name is applied.
    private let rewrites: [FrontRewrite]
    private let tower: TowerForm

    init(_ rewrites: [FrontRewrite] = [], kind: Kind = .kept, tower: TowerForm = .kept) {
        self.rewrites = rewrites
        self.kind = kind
        self.tower = tower
    }

    /// The name as it stands.
    static let identity = PrefixForm()

    /// Whether this form changes no name.
    var isIdentity: Bool { rewrites.isEmpty && tower == .kept }

    /// The name under this form.
    func apply(_ name: String) -> String {
        for rewrite in rewrites {
            if let front = rewrite.apply(name) { return tower.apply(front) }
        }
        if name.hasPrefix(Self.wrapper) {
            let inner = String(name.dropFirst(Self.wrapper.count))
            for rewrite in rewrites {
                if let front = rewrite.apply(inner) { return tower.apply(Self.wrapper + front) }
            }
        }
        return tower.apply(name)
    }

    /// What ColPali, ColQwen2 and their kin (entries `colpali`, `ColQwen2ForRetrieval`) call the whole multimodal model that they hold.
    static let wrapper = "vlm."
}

/// `from` at the front of a name becomes `to`, except where one of `exceptions` is at the front.
struct FrontRewrite: Sendable {
    let from: String
    let to: String
    let exceptions: [String]

    /// Fronts end with a dot; an empty `from` fits every name that does not have `to` already. A front is also the
    /// whole of a name (`image_newline`, a bare parameter), then without its dot.
    init(_ from: String, _ to: String, except exceptions: [String] = []) {
        self.from = from
        self.to = to
        self.exceptions = exceptions
    }

    func apply(_ name: String) -> String? {
        if !from.isEmpty && name.utf8.count == from.utf8.count - 1 {
            return from.hasPrefix(name) ? String(to.dropLast()) : nil
        }
        guard name.hasPrefix(from), !exceptions.contains(where: name.hasPrefix) else { return nil }
        if from.isEmpty && name.hasPrefix(to) { return nil }
        return to + Substring(name.utf8.dropFirst(from.utf8.count))
    }
}

/// Whether the tower of CLIP or SigLIP inside a multimodal model has its own model name in between:
/// `vision_tower.vision_model.encoder.` up to transformers 4.57 and on the hub, `vision_tower.encoder.` in version 5
/// (PrefixChange entry `CLIPVisionModel`, `clip_vision_model` before 5.20).
enum TowerForm: CaseIterable, Sendable {
    case kept, inserted, removed

    /// `vision_model.` is the tower's name in Janus and DeepSeek-VL; alone it is the inner one, and nothing is found under two of them.
    private static let towers = ["vision_tower.", "image_tower.", "video_tower.", "vision_model."]
    private static let inner = "vision_model."

    func apply(_ name: String) -> String {
        if self == .kept { return name }
        for tower in Self.towers {
            for front in [tower, "model." + tower].flatMap({ [$0, PrefixForm.wrapper + $0] }) where name.hasPrefix(front) {
                let rest = name.dropFirst(front.count)
                let hasInner = rest.hasPrefix(Self.inner)
                if self == .inserted && !hasInner { return front + Self.inner + rest }
                if self == .removed && hasInner { return front + rest.dropFirst(Self.inner.count) }
            }
        }
        return name
    }
}

/// How a multimodal model writes the fronts of its language model, of everything else, and of the head.
struct MultimodalStyle: Sendable {
    let text: String
    let rest: String
    let head: String

    /// In memory from transformers 4.52 on, and files that version 5 saved under its own names.
    static let nested = MultimodalStyle(text: "model.language_model.", rest: "model.", head: "lm_head.")
    /// In memory up to 4.51, and the files of the LLaVA family (entries `llava`, `LlavaModel`, `llava_next`, `mllama`,
    /// `fuyu`, `video_llava`).
    static let llava = MultimodalStyle(
        text: "language_model.model.", rest: "", head: "language_model.lm_head.")
    /// The files of Qwen2-VL (entry `Qwen2VLForConditionalGeneration`); also the language model's own class, which has
    /// no other parts (PrefixChange entry `qwen3_5_text`).
    static let flat = MultimodalStyle(text: "model.", rest: "", head: "lm_head.")
    /// The bare multimodal model of 4.52 and later, without head.
    static let bare = MultimodalStyle(text: "language_model.", rest: "", head: "lm_head.")

    static let all = [nested, llava, flat, bare]

    /// The parts beside the language model, by the names that the entries above list.
    static let parts = [
        "vision_tower", "multi_modal_projector", "visual", "image_newline", "vision_model", "image_tower",
        "video_tower", "vision_embed_tokens", "audio_tower",
    ]

    /// The rewrites from this style to `other`. Parts come first: `model.visual.` is no text of `model.`.
    func rewrites(to other: MultimodalStyle) -> [FrontRewrite] {
        let parts = rest == other.rest ? [] : Self.parts.map { FrontRewrite(rest + $0 + ".", other.rest + $0 + ".") }
        let foreign =
            Self.all.filter { $0.text != text && $0.text.hasPrefix(text) }.map(\.text)
            + Self.all.map(\.head).filter { $0.hasPrefix(text) }
            + Self.parts.map { text + $0 + "." }
        return parts + [
            FrontRewrite(head, other.head),
            FrontRewrite(text, other.text, except: foreign),
        ]
    }
}

/// The forms that are tried, for an adapter and a base that may differ in class and version.
enum PrefixForms {
    /// Every form for a model with these base prefixes: as it stands first, then one prefix dropped or added, then each
    /// multimodal style in terms of each other; all of them with the towers' inner name kept, inserted and removed.
    /// Forms that do not concern a model find no names in it, so they need no condition on the model type.
    static func candidates(basePrefixes: [String]) -> [PrefixForm] {
        var forms: [(rewrites: [FrontRewrite], kind: PrefixForm.Kind)] = [([], .kept)]
        for prefix in basePrefixes {
            forms.append(([FrontRewrite(prefix + ".", "")], .dropping(prefix)))
            forms.append(([FrontRewrite("", prefix + ".")], .adding(prefix)))
        }
        for from in MultimodalStyle.all {
            for to in MultimodalStyle.all where from.text != to.text {
                forms.append((from.rewrites(to: to), .restyling))
            }
        }
        return forms.flatMap { form in
            TowerForm.allCases.map { PrefixForm(form.rewrites, kind: form.kind, tower: $0) }
        }
    }
}

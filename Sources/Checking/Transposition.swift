import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// Tensors that are stored as their transposes, in any dialect and method: as they are the adapter is refused for its shapes, and
/// with these turned it fits its base and its config.
///
/// Only a trial tells: which of a module's tensors is (r, in) and which (in, r) is a matter of the dialect, and the binding knows it. Without a
/// base the partner's rank decides, and where either of the two could be turned, those of the same name in other modules. Of a kernel the first
/// two dimensions are exchanged. Square tensors and those whose transposes fit as well are not told apart.
struct Transposition {
    let tensors: [TensorInfo]

    /// The refusals that a transposed tensor can lead to.
    private static let shapeRules: Set<String> = [
        "ShapeMismatch", "FactorShape", "RankMismatch", "ParameterShape", "SavedShape", "ConfigMismatch", "BlockSize", "GroupSize",
        "ExpertShapes", "UnequalExperts", "VariantLayout",
    ]
    /// How many tensors are looked for one by one.
    private static let limit = 32

    /// - Returns: nil where the adapter is in order, or its shapes are wrong in another way.
    init?(_ subject: CheckSubject) {
        guard case .refused(let refusal) = subject.binding, Transposition.isOfShape(refusal), let adapter = try? subject.adapter() else {
            return nil
        }
        // Of a component that the base is not, no base tells.
        if let base = subject.options.base, (try? BindingState.binding(adapter, base, subject.bindingOptions)) != nil { return nil }
        let trial = Trial(adapter: adapter, subject: subject)
        guard let turned = Transposition.together(trial) ?? Transposition.oneByOne(trial, refusal) else { return nil }
        tensors = trial.candidates.filter { turned.contains($0.name) }
    }

    private static func isOfShape(_ error: PeftfileError) -> Bool { shapeRules.contains(error.rule ?? "") }

    /// All of them, or all of one kind.
    private static func together(_ trial: Trial) -> Set<ExactString>? {
        let all = Set(trial.candidates.map(\.name))
        let kinds = Dictionary(grouping: trial.candidates) { Trial.kind($0.name) }.sorted { $0.key < $1.key }.map { Set($0.value.map(\.name)) }
        guard all.count > 1, kinds.count < limit else { return nil }
        // Without a base both factors of a square layer fit turned, with its side for a rank, whatever is wrong with them.
        return ((trial.hasBase ? [all] : []) + (kinds.count > 1 ? kinds.filter { $0.count > 1 } : [])).first { trial.refusal(turning: $0) == nil }
    }

    /// Those of the module that is refused, then of the next one.
    private static func oneByOne(_ trial: Trial, _ first: PeftfileError) -> Set<ExactString>? {
        var (turned, refusal): (Set<ExactString>, PeftfileError) = ([], first)
        while turned.count < limit, isOfShape(refusal) {
            // A refusal that names a tensor of the base may be of any module.
            let tensor = refusal.tensor ?? ExactString("")
            let module = Trial.module(tensor)
            let left = trial.candidates.map(\.name).filter { !turned.contains($0) }
            let own = left.filter { Trial.module($0) == module }
            let mates = own.isEmpty ? left : own
            guard !mates.isEmpty, mates.count < limit else { return nil }
            // The one that is unlike its namesakes is the likeliest, then the one that is named.
            let likely = (mates.filter { $0 == tensor } + mates.filter { $0 != tensor }).map { ($0, trial.gain(turning: $0)) }
            let options = likely.filter { $0.1 > 0 }.map(\.0) + likely.filter { $0.1 <= 0 }.map(\.0)
            var tries: [(turning: Set<ExactString>, refusal: PeftfileError?)] = []
            for option in options.map({ Set([$0]) }) + (trial.hasBase ? [Set(mates)] : []) {
                tries.append((option, trial.refusal(turning: turned.union(option))))
                if tries.last?.refusal == nil { break }
            }
            let fit = tries.last { $0.refusal == nil }
            func moves(_ entry: (turning: Set<ExactString>, refusal: PeftfileError?)) -> Bool {
                !own.isEmpty && entry.refusal?.tensor.map { Trial.module($0) != module } ?? false
            }
            // A refusal that names a tensor of the base may still be of this module.
            let next = fit ?? tries.first { entry in
                moves(entry) && entry.refusal?.tensor.map { trial.adapter.checkpoint[$0] != nil } ?? false
            } ?? tries.first(where: moves)
            guard let (option, next) = next else { return nil }
            turned.formUnion(option)
            guard let next else { return turned }
            refusal = next
        }
        return nil
    }
}

/// Binds an adapter with some of its tensors turned.
private struct Trial {
    let adapter: Adapter
    let subject: CheckSubject
    /// Matrices that are not square, and kernels of which that holds.
    let candidates: [TensorInfo]

    init(adapter: Adapter, subject: CheckSubject) {
        (self.adapter, self.subject) = (adapter, subject)
        candidates = adapter.checkpoint.tensors.map(\.info).filter { $0.shape.count >= 2 && $0.shape[0] != $0.shape[1] }
    }

    var hasBase: Bool { subject.options.base != nil }

    /// Why it is refused; nil where it fits.
    func refusal(turning tensors: Set<ExactString>) -> PeftfileError? {
        do {
            // A kernel whose columns are not the base's is taken for one of a grouped convolution: that is no fit.
            if case .unmergeable(let refusal, _) = try BindingState(adapter.turning(tensors), subject), refusal.rule == "GroupedConvolution" {
                return refusal
            }
        } catch { return PeftfileError(wrapping: error, file: subject.path) }
        return nil
    }

    /// How many more of the same name in other modules have a dimension in common with the tensor when it is turned: their rank.
    func gain(turning tensor: ExactString) -> Int {
        guard let shape = candidates.first(where: { $0.name == tensor })?.shape else { return 0 }
        let others = candidates.filter { $0.name != tensor && $0.shape.count == shape.count && Trial.kind($0.name) == Trial.kind(tensor) }
        return others.count { $0.shape[0] == shape[1] || $0.shape[1] == shape[0] }
            - others.count { $0.shape[0] == shape[0] || $0.shape[1] == shape[1] }
    }

    /// The module's part of a name, and the tensor's: `x.q_proj` and `lora_A.weight`, `x.lora` and `down.weight`.
    private static func parts(_ name: ExactString) -> (module: Substring, kind: Substring) {
        let text = name.text[...]
        let end = [".weight", ".bias"].first(where: text.hasSuffix).map { text.dropLast($0.count) } ?? text
        guard let dot = end.lastIndex(of: ".") else { return ("", text) }
        return (text[..<dot], text[text.index(after: dot)...])
    }

    static func module(_ name: ExactString) -> String { String(parts(name).module) }
    static func kind(_ name: ExactString) -> String { String(parts(name).kind) }
}

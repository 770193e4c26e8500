import Adapters
import ByteAccess
import Checkpoints

/// What came of holding an adapter against its base, or of opening it where there is none.
enum BindingState: Sendable {
    /// There is nothing to bind: no tensors.
    case notTried
    /// Read as an adapter; no base was given.
    case opened
    case bound(Binding)
    /// The adapter has no merged form, and why. That is no defect: it is served unmerged, and held against the base by names
    /// and shapes alone.
    case unmergeable(PeftfileError, BasePlacement)
    case refused(PeftfileError)

    init(_ subject: CheckSubject) {
        guard subject.weights.checkpoint != nil else {
            self = .notTried
            return
        }
        do {
            let adapter = try subject.adapter()
            self = try BindingState(adapter, subject)
        } catch {
            self = .refused(PeftfileError(wrapping: error, file: subject.path))
        }
    }

    /// What comes of the adapter, which may be another than the subject's own.
    ///
    /// - Throws: the refusal that says what is wrong.
    init(_ adapter: Adapter, _ subject: CheckSubject) throws {
        if let base = subject.options.base {
            let state = try BindingState.binding(adapter, base, subject.bindingOptions)
            // What is of another component than the base was held against nothing.
            if adapter.dialectName != nil, let error = BindingState.contradiction(of: adapter) { throw error }
            self = state
            return
        }
        // What the method makes of the config needs no base.
        if adapter.config?.peftType != nil { try MethodRegistry.method(of: adapter).requireConfig(of: adapter) }
        do { _ = try adapter.targets(subject.bindingOptions) } catch let error as PeftfileError {
            guard BindingState.withoutMergedForm.contains(error.rule ?? "") else { throw error }
        }
        // Nor does what is refused on every base.
        if let error = BindingState.contradiction(of: adapter) { throw error }
        self = .opened
    }

    /// The refusal of a module on every base.
    private static func contradiction(of adapter: Adapter) -> PeftfileError? {
        let effects = (try? adapter.effects())?.modules ?? []
        return effects.lazy.compactMap(\.contradiction).first { error in
            RuleRegistry.rules.contains { $0.refusals.contains(error.rule ?? "") } && !withoutMergedForm.contains(error.rule ?? "")
        }?.inFile(adapter.path)
    }

    /// Binds the adapter; where it has no merged form, what is left of it that a base can contradict.
    ///
    /// - Throws: the refusal that says what is wrong.
    static func binding(_ adapter: Adapter, _ base: Checkpoint, _ options: BindingOptions) throws -> BindingState {
        do {
            return .bound(try Binding(base: base, adapters: [adapter], options: options))
        } catch let refusal as PeftfileError {
            switch refusal.rule {
            case "ActivatedLoRA", "ArrowRouter":
                // Without the part that cannot be merged it is a LoRA like any other.
                let rest = try adapter.ignoringConfigKeys(["alora_invocation_tokens", "arrow_config"])
                _ = try Binding(base: base, adapters: [rest], options: options)
                return .unmergeable(refusal, BasePlacement())
            case "ResidualBase":
                // Whichever of the two bases it is, names and shapes are the same.
                var residual = options
                residual.baseRole = .residual
                _ = try Binding(base: base, adapters: [adapter], options: residual)
                return .unmergeable(refusal, BasePlacement())
            case "TaskMissing":
                // All tasks have the same tensors.
                var first = options
                first.task = 0
                return .bound(try Binding(base: base, adapters: [adapter], options: first))
            case "NotMergeable", "GroupedConvolution", "BiasMissing", "ProjectionMissing":
                return .unmergeable(refusal, try BasePlacement(adapter, base: base))
            default: throw refusal
            }
        }
    }

    /// The rules of refusals that say that an adapter has no merged form.
    private static let withoutMergedForm: Set<String> = [
        "NotMergeable", "ActivatedLoRA", "ArrowRouter", "GroupedConvolution", "ResidualBase", "BiasMissing", "TaskMissing",
        "ProjectionMissing",
    ]

    var binding: Binding? {
        if case .bound(let binding) = self { return binding }
        return nil
    }

    var placement: BasePlacement? {
        if case .unmergeable(_, let placement) = self { return placement }
        return nil
    }
}

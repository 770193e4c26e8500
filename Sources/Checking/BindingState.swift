import Adapters
import ByteAccess
import Checkpoints

/// What came of holding an adapter against its base, or of opening it where there is none.
enum BindingState: Sendable {
    /// There is nothing to bind: no tensors, or no config.
    case notTried
    /// Read as an adapter; no base was given.
    case opened
    case bound(Binding)
    case refused(PeftfileError)

    init(_ subject: CheckSubject) {
        guard subject.weights.checkpoint != nil, subject.config.config != nil else {
            self = .notTried
            return
        }
        do {
            let adapter = try subject.adapter()
            guard let base = subject.options.base else {
                self = .opened
                return
            }
            self = .bound(try Binding(base: base, adapters: [adapter]))
        } catch {
            self = .refused(PeftfileError(wrapping: error, file: subject.path))
        }
    }

    /// The rules of refusals that say that an adapter has no merged form, which is no defect: it is served unmerged.
    static let withoutMergedForm: Set<String> = [
        "NotMergeable", "ActivatedLoRA", "ArrowRouter", "GroupedConvolution", "ResidualBase", "BiasMissing",
    ]

    var binding: Binding? {
        if case .bound(let binding) = self { return binding }
        return nil
    }
}

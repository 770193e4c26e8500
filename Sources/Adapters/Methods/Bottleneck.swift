import ByteAccess
import Checkpoints

/// Adapter-Tuning (arXiv:1902.00751), as the adapters library and OpenDelta store it: recognised by its tensors, since
/// its config names no `peft_type`, and refused with the reason.
///
///     y = x + U f(D x + b) + c
///
/// No weight of the base has the same effect for every x unless f is the identity; and then the neighbouring weight is
/// changed only where no norm, gate or residual sum lies between, which the file does not tell.
struct Bottleneck: AdapterMethod {
    let peftTypes: [String] = []
    let configKeys: Set<String> = []

    func targets(of adapter: Adapter) throws -> [AdapterTarget] {
        Bottleneck.modules(of: adapter).map { module in
            AdapterTarget(module: ExactString(module.root), method: "bottleneck", rank: module.down?.shape.first)
        }
    }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        let parts = key.stored.text
        return ["adapter_", ".adapters.", "modulelist.", "invertible_adapters"].contains { parts.contains($0) }
    }

    func remarks(on adapter: Adapter) -> [String] { ["\(adapter.path): \((try? sentence(adapter)) ?? "")"] }

    private func sentence(_ adapter: Adapter) throws -> String {
        let section = try AdapterHubConfig.section(adapter.config) ?? adapter.config
        let function = section?["non_linearity"]?.stringValue
        let reason: String
        if let function, PromptActivation(name: function) == .identity {
            reason = "its function is the identity, and the file does not tell whether the weight before it is its only input"
        } else {
            reason = "the non-linearity\(function.map { " \($0.printable)" } ?? "") between its two projections has no weight-space form"
        }
        return "a bottleneck adapter cannot be merged: \(reason)"
    }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        throw PeftfileError(
            .refused, try sentence(adapter), file: adapter.path, rule: "NotMergeable", help: "serve it unmerged")
    }

    static func modules(of adapter: Adapter) -> [BottleneckModule] {
        BottleneckModule.modules(among: adapter.checkpoint.tensors.map { PromptTensor($0) })
    }
}

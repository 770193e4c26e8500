import ByteAccess
import Tensors

/// The orientation of updates to stacked experts.
struct StackOrientations {
    private let peftVersion: String?
    private let modelTypes: [String]
    /// What the stacks that are not square say, if they agree: one version of the library trained them all.
    private let witnessed: Bool?

    init(
        _ found: [(request: ParameterRequest, found: FoundParameter)], peftVersion: String?, modelTypes: [String]
    ) {
        self.peftVersion = peftVersion
        self.modelTypes = modelTypes
        let decided = Set(
            found.compactMap { request, found -> Bool? in
                guard found.stored.isStack, let update = request.update else { return nil }
                return UpdateOrientation.fit(update, stack: found.stored.shape) ?? nil
            })
        witnessed = decided.count == 1 ? decided.first : nil
    }

    /// Whether the update's B·A must be transposed to lie in a matrix of the stack.
    ///
    /// A module's own `weight` is mlx-lm's SwitchLinear, (E, out, in) as its update is (`LoRASwitchLinear.fuse` in mlx_lm/tuner/lora.py);
    /// PEFT wraps other parameters, each with a name.
    func isTransposed(_ request: ParameterRequest, _ parameter: String, in shape: Shape) -> Bool {
        guard let update = request.update, let fit = UpdateOrientation.fit(update, stack: shape) else { return false }
        if fit == nil, request.parameter == .weight, parameter == "weight" { return false }
        return fit ?? witnessed
            ?? UpdateOrientation.ofSquareStack(peftVersion: peftVersion, modelTypes: modelTypes)
    }
}

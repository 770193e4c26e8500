public import ByteAccess

/// One linear layer of a prompt encoder: y = W·x + b, W (out, in), b (out).
///
/// Element j of y is defined as `b[j] + (sum over k = 0 ... in − 1, by fma from zero, of W[j, k]·x[k])`, in float64.
public struct PromptLayer: Sendable, Hashable {
    /// The weight's tensor, (outputs, inputs).
    public let weight: ExactString
    /// The bias' tensor, (outputs).
    public let bias: ExactString
    /// The width of what goes in.
    public let inputs: Int
    /// The width of what comes out.
    public let outputs: Int
}

extension PromptLayer {
    /// The layers of an `nn.Sequential` under `prefix`: linear layers at `steps`, functions between them.
    ///
    /// - Parameters:
    ///   - steps: the places that linear layers have, in order: 0, 2 for two of them.
    ///   - input: the tensor whose last dimension enters the first layer.
    ///   - width: that dimension.
    /// - Throws: `.refused` with both shapes where a layer does not take what the one before it gives.
    static func sequence(
        of group: PromptGroup, under prefix: String, steps: [Int], from input: PromptTensor, width: Int
    ) throws -> [PromptLayer] {
        var layers: [PromptLayer] = []
        var (before, inputs) = (input, width)
        for step in steps {
            let weight = try group.required("\(prefix).\(step).weight")
            let bias = try group.required("\(prefix).\(step).bias")
            try weight.requireNumbers(rank: 2)
            try bias.requireNumbers(rank: 1)
            try weight.requireShape([weight.shape[0], inputs], dueTo: before)
            try bias.requireShape([weight.shape[0]], dueTo: weight)
            layers.append(
                PromptLayer(weight: weight.stored, bias: bias.stored, inputs: inputs, outputs: weight.shape[0]))
            (before, inputs) = (weight, weight.shape[0])
        }
        return layers
    }

    /// The names of `sequence`'s tensors below the root.
    static func leaves(under prefix: String, steps: [Int]) -> [String] {
        steps.flatMap { ["\(prefix).\($0).weight", "\(prefix).\($0).bias"] }
    }
}

public import ByteAccess
public import Tensors

/// The pairs of factors in an adapter of PEFT's own dialect, each by the parameter that it is of: as PEFT wraps it, by the config alone.
public struct ParameterPairs: Sendable {
    /// The two factors of one parameter, and what stands beside them.
    public struct Pair: Sendable {
        /// A: (r, in), or of a stack of E matrices (E·r, in).
        public var a: TensorInfo
        /// B: (out, r), or (out, r·E).
        public var b: TensorInfo
        /// B's bias.
        public var bias: TensorInfo?
        /// DoRA's magnitude.
        public var magnitude: TensorInfo?
        /// The whole factor of B·A.
        public var scale: Double
        /// r, as the config says it.
        public var rank: Int
    }

    /// The pairs by the whole path of their parameters: `model.layers.0.mlp.experts.gate_up_proj`, or a module's `weight`.
    public private(set) var pairs: [ExactString: Pair] = [:]

    /// - Throws: what reading a LoRA throws; `.refused` with rule `WrappedParameters` where `target_parameters` does not tell which
    ///   parameter a wrapper is of.
    public init(_ adapter: Adapter) throws {
        let config = try LoRAConfig(adapter.config ?? AdapterConfig(json: [:], path: adapter.path), options: BindingOptions())
        let modules = try LoRAModule.collect(from: adapter)
        let levels = Dictionary(modules.map { ($0.path, 1) }, uniquingKeysWith: +)
        for module in modules {
            let wrapped = module.wrappedParameter(config.targetParameters, levels: levels[module.path] ?? 1)
            guard wrapped != nil || module.depth == 0 && levels[module.path] == 1 else {
                throw PeftfileError(
                    .refused, "is of a parameter that target_parameters does not tell", file: adapter.path, tensor: module.a.name, rule: "WrappedParameters")
            }
            let parameter = "\(module.path).\(wrapped ?? "weight")"
            let key = wrapped == nil ? module.path.text : parameter
            pairs[ExactString(parameter)] = Pair(
                a: module.a, b: module.b, bias: module.bias, magnitude: module.magnitude, scale: config.scale(for: key), rank: config.rank(for: key))
        }
    }
}

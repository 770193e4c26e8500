public import ByteAccess
import Tensors

/// Stacked experts of Unsloth, whose files have `lora_B`'s columns in two orders of one shape: (out, E, r) before September
/// 2026, and (out, r, E), which PEFT reads, since. `auto_mapping.unsloth_fixed` marks both.
///
/// Sources: unslothai/unsloth issue 6930 and unsloth-zoo issue 1269 for the two orders; `ParamWrapper.get_delta_weight` in
/// peft/tuners/lora/layer.py for PEFT's own.
public struct UnslothExperts: Sendable {
    /// A `lora_B` that holds a stack.
    public struct Stack: Sendable {
        /// (out, experts · rank).
        public let tensor: ExactString
        /// Experts of the stack.
        public let experts: Int
        /// The rank of each.
        public let rank: Int
    }

    /// The stacks, in the order of the file; none where the config has no such mark.
    public let stacks: [Stack]

    /// - Throws: what is wrong with the config.
    public init(of adapter: Adapter) throws {
        guard let file = adapter.config, file.peftType == "LORA", file["auto_mapping"]?["unsloth_fixed"]?.boolValue == true else {
            stacks = []
            return
        }
        let config = try LoRAConfig(file, options: BindingOptions(baseRole: .residual))
        let modules = try LoRAModule.collect(from: adapter)
        let levels = Dictionary(modules.map { ($0.path, 1) }, uniquingKeysWith: +)
        stacks = modules.compactMap { module in
            let parameter = module.wrappedParameter(config.targetParameters, levels: levels[module.path] ?? 1)
            let rank = config.rank(for: parameter.map { "\(module.path).\($0)" } ?? module.path.text)
            guard rank > 0, module.b.shape.count == 2, module.storedRank > rank, module.storedRank % rank == 0,
                module.b.shape[1] == module.storedRank
            else { return nil }
            return Stack(tensor: module.b.name, experts: module.storedRank / rank, rank: rank)
        }
    }

    /// Why a stack cannot be read until its order is said.
    static func undecided(_ tensor: ExactString, experts: Int) -> PeftfileError {
        PeftfileError(
            .refused, "holds \(experts) experts from Unsloth, which has written their columns in two orders of one shape",
            tensor: tensor, rule: "ExpertOrder",
            help: "say --expert-order expert-major for a file from before September 2026, else rank-major")
    }

    /// The order in which all stacks are written.
    ///
    /// - Throws: `.refused` where there are stacks and nothing says it.
    public func order(_ options: BindingOptions) throws -> BindingOptions.ExpertOrder? {
        guard let first = stacks.first else { return nil }
        guard let order = options.expertOrder else { throw UnslothExperts.undecided(first.tensor, experts: first.experts) }
        return order
    }
}

public import ByteAccess
import Checkpoints
import Containers

/// What transformers 5 has in memory in the place of a module of the Hub's files: for whoever writes an adapter that PEFT loads.
///
/// PEFT wraps the modules that the config names in the model in memory and drops what the file has for any other, with no more than a warning
/// (`set_peft_model_state_dict` in peft/utils/save_and_load.py). So a file that has the Hub's names of a model that loading renames, or
/// that has one update for each expert where memory has one parameter for all, is no update at all.
///
/// Source: src/transformers/conversion_mapping.py, as `RenameTable` and `ExpertLayouts` have it.
public struct NamesInMemory: Sendable {
    /// A matrix of one expert, in the parameter (E, out, in) that memory has for all.
    public struct Slot: Sendable, Hashable {
        /// The module that has the parameter: `model.layers.0.mlp.experts`.
        public let container: String
        /// The parameter's own name: `gate_up_proj`.
        public let parameter: String
        /// Whether the matrix is the first or the second half of each expert's rows; nil where it is all of them.
        public let half: Int?
        /// Which expert it is.
        public let expert: Int
    }

    private let rules: [RenameRule]
    private let fused: [FusedRows]
    private let types: Set<String>

    /// The names of the Hub's files as they are, which vLLM and llama.cpp's converter read: each expert is a module of its own.
    ///
    /// Source: `get_base_tensor_name` in convert_lora_to_gguf.py of ggml-org/llama.cpp; `SupportsLoRA.is_3d_moe_weight` in
    /// vllm/model_executor/models/interfaces.py, which few models set.
    public static let ofFiles = NamesInMemory(modelTypes: [], rules: [])

    private init(modelTypes: Set<String>, rules: [RenameRule]) { (types, self.rules, fused) = (modelTypes, rules, []) }

    /// The names for models of one of these types.
    init(modelTypes: [String]) {
        let own = modelTypes.map(normalizedModelType)
        (types, rules) = (Set(own), RenameTable.rules(for: own))
        fused = FusedRows.table.filter { !$0.modelTypes.isDisjoint(with: own) }
    }

    /// The names of the model that an adapter is for: by the config of the base, or by the architecture that a GGUF file says.
    public init(of adapter: Adapter, bases: [PipelineBase]) {
        var types = bases.flatMap { BaseDirectory(tensors: [], config: $0.checkpoint.config).allModelTypes }
        if types.isEmpty { types = bases.compactMap { $0.checkpoint.gguf?.architecture }.flatMap(\.kinds) }
        let file = adapter.checkpoint.shards.first?.file as? GGUFFile
        if types.isEmpty, let name = file?.value("general.architecture")?.stringValue {
            types = GGUFArchitecture.named(name)?.kinds ?? []
        }
        self.init(modelTypes: types)
    }

    /// The module's path in memory.
    public func module(_ path: ExactString) -> ExactString {
        let (leaf, name) = (".weight", RenameRule.inMemory("\(path).weight", rules))
        return name.hasSuffix(leaf) ? ExactString(String(name.dropLast(leaf.count))) : path
    }

    /// Whether PEFT would not find the module under its own name in memory: it renames what it loads as it does the Hub's files, and of a
    /// name that begins with the file's makes a third.
    ///
    /// Source: `convert_peft_adapter_state_dict_for_transformers` in peft/utils/transformers_weight_conversion.py, which renames by
    /// expressions without an end.
    public func isRenamedTwice(_ module: ExactString) -> Bool {
        rules.contains { $0.memory.continues($0.file) && $0.memory.firstMatch(in: module.text.dottedComponents) != nil }
    }

    /// The modules that memory has in the place of one that the file has; none where it has one as well.
    public func parts(_ path: ExactString) -> [String] {
        let parts = path.text.dottedComponents
        return fused.lazy.compactMap { row in
            row.file.firstMatch(in: parts) == nil ? nil : row.memory.compactMap { row.file.rewrite(parts, as: $0) }
        }.first ?? []
    }

    /// The place of an expert's matrix, by its path in memory; nil for any other module, and where memory has a module for each expert.
    public func slot(_ module: ExactString) -> Slot? {
        let parts = module.text.dottedComponents
        guard stacksExperts, parts.count > 3, parts[parts.count - 3] == "experts", let leaf = parts.last,
            let expert = Int(parts[parts.count - 2]), expert >= 0, "\(expert)" == parts[parts.count - 2]
        else { return nil }
        let container = parts.dropLast(2).joined(separator: ".")
        for layout in ExpertLayouts.leaves {
            if leaf == layout.down { return Slot(container: container, parameter: "down_proj", half: nil, expert: expert) }
            if leaf == layout.up, !types.isDisjoint(with: NamesInMemory.withoutGate) {
                return Slot(container: container, parameter: "up_proj", half: nil, expert: expert)
            }
            if leaf == layout.gate || leaf == layout.up {
                return Slot(container: container, parameter: "gate_up_proj", half: leaf == layout.gate ? 0 : 1, expert: expert)
            }
        }
        return nil
    }

    /// Whether `target_parameters` has to name the module's weight, and not `target_modules` the module: a router that is no linear layer
    /// in memory, and what PEFT would take for the experts' in a list of modules, by the end of its name.
    ///
    /// Source: `_MOE_TARGET_MODULE_MAPPING` and `_convert_peft_config_moe` in peft/utils/transformers_weight_conversion.py.
    ///
    /// - Parameter besideExperts: whether the adapter has an update of experts: of a GGUF file's `llama` nothing else tells Mixtral.
    public func isParameter(_ module: ExactString, besideExperts: Bool) -> Bool {
        stacksExperts && (besideExperts || !types.contains("llama")) && NamesInMemory.taken.contains(module.text.dottedComponents.last.map(String.init) ?? "")
    }

    /// Whether memory has one parameter for the matrices of all experts.
    private var stacksExperts: Bool { !types.isDisjoint(with: NamesInMemory.stacked) }

    private static let taken: Set<String> = ["gate", "router", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"]

    /// Experts of two projections alone.
    private static let withoutGate: Set<String> = ["nemotron_h"]

    /// The model types whose experts are `gate_up_proj` (E, 2f, in) and `down_proj` (E, out, f) in memory, or of two projections.
    private static let stacked: Set<String> = [
        "afmoe", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe", "exaone_moe", "flex_olmo", "glm4_moe",
        "glm4_moe_lite", "glm4v_moe", "glm_moe_dsa", "granitemoe", "granitemoehybrid", "granitemoeshared", "hunyuan_v1_moe", "hy_v3", "jamba",
        "kimi_linear", "laguna", "lfm2_moe", "longcat_flash", "mellum", "minimax", "minimax_m2", "mixtral", "nemotron_h", "olmoe", "phimoe",
        "qwen2_moe", "qwen3_5_moe", "qwen3_5_moe_text", "qwen3_moe", "qwen3_next", "qwen3_omni_moe", "qwen3_vl_moe", "qwen3_vl_moe_text",
        "solar_open",
    ]
}

import ByteAccess
import Tensors

/// What `inspect` shows of a module of a method without a merged form.
struct UnmergeableFigures {
    var rank: Int?
    var alpha: Double?
    var scale: Double?
    var details: [TargetDetail] = []
}

/// Methods whose effect no weight of the base can hold, or not one that the files tell, each with the mathematical
/// reason: they are recognised and refused by name.
///
/// Sources: the classes of these names in peft/tuners and peft/utils/peft_types.py.
struct UnmergeableMethod: AdapterMethod {
    let peftTypes: [String]
    /// Completes "… cannot be merged: ".
    let reason: String
    /// What gets further.
    var help = "serve it unmerged"
    let configKeys: Set<String> = []
    var baseSides: [String: BaseSide] = [:]
    var hasInnerAdapters = false
    /// LLaMA-Adapter has one module for each model, ShadowPEFT takes every layer, prompts and X-LoRA have none.
    var needsTargetModules = false
    var stillPoints: [[String: Double]] = []
    /// Whether the method reads a key of the config, where it is not as with all others.
    var effect: @Sendable (String, AdapterConfig?) -> Bool? = { _, _ in nil }
    /// The tensors of each module, and how many modules there are, as the config tells.
    var forms: @Sendable (AdapterConfig) -> (tensors: [TensorForm], modules: Int?) = { _ in ([], nil) }

    /// The component that holds a small model made as the base is.
    var mirror: String?

    /// What pages call the method.
    var name = ""
    /// What the tensors of a module, by what their keys say after its path, and the config tell of it.
    var figures: @Sendable ([String: TensorInfo], AdapterConfig) -> UnmergeableFigures = { _, _ in .init() }

    /// One row for each module with tensors, and for each part that is of no module.
    func targets(of adapter: Adapter) throws -> [AdapterTarget] {
        guard let config = adapter.config, !name.isEmpty else { return [] }
        var order: [ExactString] = []
        var tensors: [ExactString: [String: TensorInfo]] = [:]
        for key in adapter.keys {
            guard let component = key.component, baseSides[component] != nil, let info = adapter.tensor(key.stored) else { continue }
            let module = key.module.text.isEmpty ? ExactString(component) : key.module
            if tensors[module] == nil { order.append(module) }
            tensors[module, default: [:]][key.leaf.isEmpty ? component : "\(component).\(key.leaf)"] = info
        }
        return order.map { module in
            let figures = figures(tensors[module] ?? [:], config)
            return AdapterTarget(
                module: module, method: name, rank: figures.rank, alpha: figures.alpha, scale: figures.scale, details: figures.details)
        } + SavedParameters.targets(of: adapter)
    }

    func claims(_ key: AdapterKey, of adapter: Adapter) -> Bool {
        if key.isPrompt { return baseSides.isEmpty }
        if let component = key.component, baseSides[component] != nil { return true }
        return SavedParameters.claims(key, of: adapter, hasBiases: false)
    }

    func hasEffect(_ key: String, _ value: JSONValue?, of adapter: Adapter) -> Bool? {
        effect(key, adapter.config) ?? (key == "init_weights" ? false : nil)
    }

    func remarks(on adapter: Adapter) -> [String] { ["\(adapter.path): \(sentence(adapter))"] }

    private func sentence(_ adapter: Adapter) -> String {
        "\(adapter.config?.peftType ?? "a prefix or prompt") cannot be merged: \(reason)"
    }

    func updates(of adapter: Adapter, in context: BindingContext) throws -> MethodUpdates {
        throw PeftfileError(.refused, sentence(adapter), file: adapter.path, rule: "NotMergeable", help: help)
    }

    func thinUpdates(of adapter: Adapter) throws -> ThinUpdates { ThinUpdates(reason: "\(reason)") }

    /// Trained vectors that are put before the input or into the attention cache.
    static let softPrompts = UnmergeableMethod(
        peftTypes: SoftPrompt.allCases.map(\.peftType),
        reason: "it adds virtual tokens to the input or the attention cache, and no weight of the base changes",
        help: "load it as a prompt; peftfile strip removes an encoder that is left from training", effect: { key, config in
            switch key {
            // The class that serves the prompt, and how many it takes (`PeftModel.from_pretrained`, `_prepare_prompt_learning_config`).
            case "task_type": true
            // What the first embedding is made of, without a file (`PromptEmbedding.__init__`); an LSTM's dropout; CPT's loss.
            case "prompt_tuning_init", "prompt_tuning_init_text": config?["prompt_tuning_init_state_dict_path"] == nil ? false : nil
            case "encoder_dropout", "opt_weighted_loss_type", "opt_loss_decay_factor": false
            default: nil
            }
        })

    /// LLaMA-Adapter (arXiv:2303.16199).
    static let adaptionPrompt = UnmergeableMethod(
        peftTypes: ["ADAPTION_PROMPT"],
        reason: "it adds gated attention over trained prompt tokens, which depends on each query",
        baseSides: ["adaption_prompt": .hidden, "adaption_gate": .free],
        // The gate multiplies what the prompt adds; keys and values of a prompt of zeros are zeros.
        stillPoints: [["adaption_gate": 0], ["adaption_prompt": 0]],
        // `_BaseAdaptedAttention.__init__` in peft/tuners/adaption_prompt/layer.py; the last `adapter_layers` layers have one.
        forms: { config in
            let length = config["adapter_len"]?.intValue
            return (
                [.init(key: "adaption_prompt", shape: [1, length, nil]), .init(key: "adaption_gate", shape: [1])],
                config["adapter_layers"]?.intValue
            )
        },
        name: "LLaMA-Adapter",
        figures: { tensors, _ in
            guard let shape = tensors["adaption_prompt"]?.shape, shape.count == 3 else { return .init() }
            return .init(details: [.init("adapter_len", shape[1]), .init("width", shape[2])])
        })

    /// X-LoRA (arXiv:2402.07148).
    static let xLoRA = UnmergeableMethod(
        peftTypes: ["XLORA"], reason: "a gate mixes LoRA experts for each token, so no single weight stands for it",
        baseSides: ["internal_xlora_classifier": .free], hasInnerAdapters: true, forms: { (xLoRAForms($0), nil) },
        name: "X-LoRA",
        figures: { tensors, config in
            var details = ["xlora_depth", "xlora_size", "top_k_lora"].compactMap { key in
                config[ExactString(key)]?.intValue.map { TargetDetail(key, $0) }
            }
            if let experts = config["adapters"]?.objectValue?.members.count { details.insert(.init("experts", experts), at: 0) }
            details.append(.init("layerwise_scalings", config["layerwise_scalings"]?.boolValue ?? false))
            return .init(details: details)
        })

    /// The last layer of the classifier, of one output for each expert; PEFT's files do not have the layers before it all.
    /// Source: `XLoraClassifier.__init__` in peft/tuners/xlora/classifier.py.
    private static func xLoRAForms(_ config: AdapterConfig) -> [TensorForm] {
        guard let depth = config["xlora_depth"]?.intValue, depth > 0, depth < 1000 else { return [] }
        // Behind each layer stands a ReLU, and where there is one a dropout.
        let step = (config["xlora_dropout_p"]?.doubleValue ?? 0.2) > 0 ? 3 : 2
        let name = "internal_xlora_classifier.layers.\((depth - 1) * step)"
        let isLayerwise = config["layerwise_scalings"]?.boolValue == true
        let classes = isLayerwise ? nil : config["adapters"]?.objectValue?.members.count
        let width = depth == 1 ? config["hidden_size"]?.intValue : config["xlora_size"]?.intValue
        return [.init(key: "\(name).weight", shape: [classes, width]), .init(key: "\(name).bias", shape: [classes])]
    }

    /// Lily (arXiv:2407.09946).
    static let lily = UnmergeableMethod(
        peftTypes: ["LILY"],
        reason: "a router mixes its shared factors by the input, so no single weight stands for it",
        // (r, in), (experts·r, out), (experts, r): `LilyLayer.update_layer` in peft/tuners/lily/layer.py.
        baseSides: ["lily_A": .inputColumns, "lily_B": .outputColumns, "lily_router": .free],
        needsTargetModules: true,
        stillPoints: [["lily_B": 0], ["lily_A": 0]],
        forms: { config in
            let (rank, experts) = (config["r"]?.intValue, config["num_B"]?.intValue)
            let rows = rank.flatMap { rank in experts.map { rank.multipliedReportingOverflow(by: $0).partialValue } }
            return (
                [
                    .init(key: "lily_A.weight", shape: [rank, nil]), .init(key: "lily_B.weight", shape: [rows, nil]),
                    .init(key: "lily_router.weight", shape: [experts, rank]),
                ], nil
            )
        },
        name: "Lily",
        figures: { tensors, config in
            let experts = tensors["lily_router.weight"]?.shape.first.map { TargetDetail("num_B", $0) }
            let stride = config["stride_A"]?.intValue.map { TargetDetail("stride_A", $0) }
            return .init(
                rank: tensors["lily_A.weight"]?.shape.first, scale: config["scaling"]?.doubleValue,
                details: [experts, stride].compactMap { $0 })
        })

    /// ShadowPEFT: a small model runs beside the base and corrects each layer's input.
    static let shadow = UnmergeableMethod(
        peftTypes: ["SHADOW"],
        reason: "a second model runs beside the base, and what it adds to a layer's input depends on that input",
        // d the width of the hidden states: (r, d), (d, r), and two layers d → u → d each: `ShadowLayer.update_layer` in
        // peft/tuners/shadow/layers.py.
        baseSides: [
            "shadow_down": .hidden, "shadow_up": .hiddenRows, "shadow_update_transform": .free, "shadow_update_gate": .free,
            "shadow_backbone": .free,
            "shadow_update_transform.0.weight": .hidden, "shadow_update_transform.2.weight": .hiddenRows,
            "shadow_update_transform.2.bias": .hiddenRows, "shadow_update_gate.0.weight": .hidden,
            "shadow_update_gate.2.weight": .hiddenRows, "shadow_update_gate.2.bias": .hiddenRows,
        ],
        // What is put into the layer's input is the up-projection of the discrepancy: `ShadowLayer` in peft/tuners/shadow/layers.py.
        stillPoints: [["shadow_up": 0]],
        // Whether the shadow has a head for text or for classes: `ShadowModel` in peft/tuners/shadow/model.py.
        effect: { key, _ in key == "task_type" ? true : nil },
        forms: { config in
            let rank = config["r"]?.intValue
            let width = config["update_hidden_size"]?.intValue ?? rank
            let layers = ["shadow_update_transform", "shadow_update_gate"].flatMap { name in
                [
                    TensorForm(key: "\(name).0.weight", shape: [width, nil]), TensorForm(key: "\(name).0.bias", shape: [width]),
                    TensorForm(key: "\(name).2.weight", shape: [nil, width]), TensorForm(key: "\(name).2.bias", shape: [nil]),
                ]
            }
            return (
                [.init(key: "shadow_down.weight", shape: [rank, nil]), .init(key: "shadow_up.weight", shape: [nil, rank])] + layers,
                nil
            )
        },
        mirror: "shadow_backbone", name: "ShadowPEFT",
        figures: { tensors, config in
            let down = tensors.first { $0.key.hasPrefix("shadow_down") }?.value.shape.first
            guard let down else { return .init(details: [.init("tensors", tensors.count)]) }
            let width = tensors.first { $0.key.hasPrefix("shadow_update_gate") && $0.key.hasSuffix(".0.weight") }?.value.shape.first
            return .init(
                rank: down, alpha: config["shadow_alpha"]?.doubleValue,
                details: width.map { [.init("update_hidden_size", $0)] } ?? [])
        })

    /// PSOFT: ΔW = U·S·(R − I)·Vᵀ over the r largest singular triplets of the base, of which the file holds R alone. Turning
    /// a pair of singular vectors round, u and v to −u and −v, leaves the base as it is and changes the sign of every
    /// element of R − I that couples it with another: `PsoftLayer._compute_svd_factors`,
    /// `OrthLayer.get_matrix` in peft/tuners/psoft/layer.py.
    static let psoft = UnmergeableMethod(
        peftTypes: ["PSOFT"],
        reason: "it is a rotation between singular vectors of the base, whose signs are in no file; each build of LAPACK, and "
            + "each device, chooses its own, and the sum is another for each choice",
        help: "merge it with PEFT's merge_and_unload on the machine that trained it", baseSides: ["psoft_R": .module],
        needsTargetModules: true,
        // Cayley's map of 0 is the identity; the vectors around it begin as ones.
        stillPoints: [["psoft_R.weight": 0, "psoft_R.vector_a": 1, "psoft_R.vector_b": 1]],
        // `OrthLayer.__init__` in peft/tuners/psoft/layer.py: the triangle above the diagonal, or the whole matrix.
        forms: { config in
            guard let rank = config["r"]?.intValue, rank > 0, rank < 1 << 20 else { return ([], nil) }
            let isTriangle = config["psoft_orth"]?.boolValue ?? true
            let vectors = ["a", "b"].filter { config[ExactString("psoft_mag_\($0)")]?.boolValue == true }
            return (
                [.init(key: "psoft_R.weight", shape: isTriangle ? [rank * (rank - 1) / 2] : [rank, rank])]
                    + vectors.map { .init(key: "psoft_R.vector_\($0)", shape: [rank]) }, nil
            )
        },
        name: "PSOFT",
        // Δ is scaled by psoft_alpha / r: `PsoftLayer.update_layer`.
        figures: { tensors, config in
            let alpha = config["psoft_alpha"]?.doubleValue, rank = config["r"]?.intValue
            let vectors = ["a", "b"].filter { tensors["psoft_R.vector_\($0)"] != nil }.joined(separator: " and ")
            let form = tensors["psoft_R.weight"].map { TargetDetail("psoft_orth", $0.shape.count == 1) }
            return .init(
                rank: rank, alpha: alpha, scale: rank.flatMap { rank in rank > 0 ? alpha.map { $0 / Double(rank) } : nil },
                details: [form].compactMap { $0 } + (vectors.isEmpty ? [] : [.init("magnitudes", vectors)]))
        })
}

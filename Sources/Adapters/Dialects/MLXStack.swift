import ByteAccess
import Tensors

/// A stack of experts of mlx-lm, and what the Hub's files have in its place.
///
/// mlx-lm holds one matrix of all experts of a layer in one SwitchLinear: `gate_proj`, `up_proj` and `down_proj` of `switch_mlp`, of `experts` or of
/// `experts.switch_glu`; `fc1` and `fc2` where there is no gate. The models' `sanitize` makes them, of
///
/// | the Hub's file | models |
/// |---|---|
/// | one matrix an expert, `experts.N.gate_proj` or `experts.N.w1` | mixtral, qwen3_moe, deepseek_v3, dots1, lfm2_moe, nemotron_h … |
/// | `experts.gate_up_proj` (E, 2m, h), the gate's rows first | qwen3_5_moe, gemma4_text |
/// | the same transposed, (E, h, 2m) | llama4, qwen3_vl_moe |
/// | transposed, and columns of gate and up take turns | gpt_oss |
/// | `input_linear.weight` (E, 2m, h) and `output_linear.weight` | granitemoe |
///
/// The LoRA of gate and up is on such a parameter one of both ranks together, that of a `target_parameters` wrapper:
///
///     A = [A_gate; A_up]        B = [[B_gate, 0], [0, B_up]], its rows in the order of the parameter's
///
/// Source: `SwitchGLU` in mlx_lm/models/switch_layers.py, `sanitize` in mlx_lm/models/mixtral.py, qwen3_5_moe.py, gemma4_text.py, llama4.py,
/// qwen3_vl_moe.py, gpt_oss.py, granitemoe.py, nemotron_h.py, phixtral.py.
struct MLXStack {
    let path: ExactString
    /// The module around the experts.
    private let front: String
    /// The name of the matrix.
    private let leaf: String

    init?(_ path: ExactString) {
        var parts = path.text.dottedComponents.map(String.init)
        guard parts.count > 2, let leaf = parts.popLast(), let container = parts.popLast(), ["switch_mlp", "switch_glu", "experts"].contains(container)
        else { return nil }
        if container == "switch_glu", parts.count > 1, parts.last == "experts" { parts.removeLast() }
        self.path = path
        self.leaf = leaf
        front = parts.joined(separator: ".")
    }

    /// The same matrix of the experts beside it: the gate's and up's.
    var fused: [ExactString] {
        let start = path.text.dropLast(leaf.count)
        return ["gate_proj", "up_proj"].contains(leaf) ? ["gate_proj", "up_proj"].map { ExactString(start + $0) } : [path]
    }

    // MARK: One parameter for all experts

    /// A parameter of the base in which a stack lies, `experts.gate_up_proj` or `experts.down_proj`.
    struct Parameter {
        let module: ExactString
        let name: String
        /// Whether rows of gate and up take turns.
        let takesTurns: Bool
        /// The version of PEFT whose wrapper is so: from 0.19.1 on A has the inputs, and the outputs where experts are held as (in, out), but for
        /// the models that transformers marks (``UpdateOrientation``); before that A has the first dimension of them all.
        let peftVersion: String
    }

    /// The parameter in which the base has the stack; nil where it has the stack itself, or the experts one by one.
    func parameter(_ context: DialectContext) -> Parameter? {
        guard context.hasBase, let name = ["gate_proj": "gate_up_proj", "up_proj": "gate_up_proj", "down_proj": "down_proj"][leaf] else { return nil }
        let module = ExactString(front + ".experts")
        guard context.weightShape(path) == nil, let place = context.place(ParameterRequest(module: module, parameter: .named(name))), place.shape.count == 3,
            place.pieces.allSatisfy({ $0.storedExpert != nil && $0.tensor == place.pieces[0].tensor })
        else { return nil }
        let isHeldInOut = context.anyBase { UpdateOrientation.holdsExpertsInOut($0.modelTypes) }
        let isMarked = context.anyBase { UpdateOrientation.ofSquareStack(peftVersion: PortableAdapter.Module.peftVersion, modelTypes: $0.modelTypes) }
        return Parameter(
            module: module, name: name, takesTurns: context.anyBase { $0.modelTypes.contains("gpt_oss") },
            peftVersion: isHeldInOut && !isMarked ? "0.18.0" : PortableAdapter.Module.peftVersion)
    }

    // MARK: One matrix an expert

    /// What the Hub's files may call the matrix of an expert, the likeliest first.
    private func names(_ expert: Int) -> [String] {
        let names: [String]
        switch leaf {
        case "gate_proj": names = ["experts.\(expert).gate_proj", "experts.\(expert).w1"]
        case "up_proj": names = ["experts.\(expert).up_proj", "experts.\(expert).w3"]
        case "down_proj": names = ["experts.\(expert).down_proj", "experts.\(expert).w2"]
        case "fc1": names = ["experts.\(expert).up_proj", "mlp.\(expert).fc1"]
        case "fc2": names = ["experts.\(expert).down_proj", "mlp.\(expert).fc2"]
        default: names = ["experts.\(expert).\(leaf)"]
        }
        return names.map { "\(front).\($0)" }
    }

    /// The module of each expert, as the base calls it: the first tells for all.
    func experts(_ count: Int, _ context: DialectContext) -> [ExactString] {
        guard count > 0 else { return [] }
        let spelling = names(0).firstIndex { context.weightShape(ExactString($0)) != nil } ?? 0
        return (0..<count).map { ExactString(names($0)[spelling]) }
    }
}

extension MLX {
    /// The factors of a stack of experts.
    struct Factors {
        let a: TensorInfo
        let b: TensorInfo
        let experts: Int
        let rank: Int
        let rows: Int
        let columns: Int

        /// - Throws: `.refused` where the two are not of one stack.
        init(_ a: TensorInfo, _ b: TensorInfo, _ file: DialectFile) throws {
            (self.a, self.b) = (a, b)
            (experts, rows, rank) = (b.shape[0], b.shape[1], b.shape[2])
            columns = a.shape.last ?? 0
            guard experts > 0, rank > 0, a.elementCount == experts * rank * columns,
                a.shape == [experts, rank, columns] || a.shape == [experts * rank, columns]
            else {
                throw file.refusal(
                    "has shape \(a.shape) beside lora_b's \(b.shape)", a.name, rule: "FactorShape",
                    help: "mlx-lm stores a SwitchLinear's lora_a as (E, r, in) and lora_b as (E, out, r)")
            }
        }
    }

    /// A stack of experts: one tensor where the base has it so, else one module for each expert.
    func switchModule(_ path: ExactString, _ factors: Factors, scale: Double, _ context: DialectContext) -> DialectModule {
        let (a, b, rank, inputs) = (factors.a, factors.b, factors.rank, factors.columns)
        var module = DialectModule(name: path, naming: .path, component: nil, form: .lora)
        module.scale = ModuleScale(rank: rank, value: scale)
        MLX.add(factors, to: &module)
        for (expert, name) in (MLXStack(path)?.experts(factors.experts, context) ?? []).enumerated() {
            var one = DialectModule(name: name, naming: .path, component: nil, form: .lora)
            one.scale = module.scale
            let aRows = a.shape.count == 3 ? expert..<(expert + 1) : (expert * rank)..<((expert + 1) * rank)
            one.add("lora_A", "weight", TensorView(
                name: ExactString("\(a.name)[\(expert)]"), shape: [rank, inputs], parts: [.init(a, rows: aRows)]))
            one.add("lora_B", "weight", TensorView(
                name: ExactString("\(b.name)[\(expert)]"), shape: [factors.rows, rank],
                parts: [.init(b, rows: expert..<(expert + 1))]))
            module.elsewhere.append(one)
        }
        return module
    }

    /// The factors as PEFT has those of a stack.
    private static func add(_ factors: Factors, to module: inout DialectModule) {
        module.add("lora_A", "weight", TensorView(factors.a, shape: [factors.experts * factors.rank, factors.columns]))
        // (E, out, r) -> (out, r, E): PEFT's columns are rank-major.
        module.add("lora_B", "weight", TensorView(factors.b, axes: [1, 2, 0], shape: [factors.rows, factors.rank * factors.experts]))
    }

    /// The update of a parameter of all experts, by one stack or by the gate's and up's.
    ///
    /// - Parameter members: the stacks in the order of the parameter's rows; nil for one without an update.
    func wrapper(_ parameter: MLXStack.Parameter, _ members: [Factors?], scale: Double, _ file: DialectFile) throws -> DialectModule {
        let present = members.compactMap { $0 }
        var module = DialectModule(name: parameter.module, naming: .path, component: nil, form: .wrapper("experts." + parameter.name, parameter.peftVersion))
        guard let first = present.first else { return module }
        let rank = present.reduce(0) { $0 + $1.rank }
        module.scale = ModuleScale(rank: rank, value: scale)
        guard members.count > 1 else {
            MLX.add(first, to: &module)
            return module
        }
        let (experts, rows, columns) = (first.experts, first.rows, first.columns)
        if let other = present.first(where: { ($0.experts, $0.rows, $0.columns, $0.b.dtype, $0.a.dtype) != (experts, rows, columns, first.b.dtype, first.a.dtype) }) {
            throw file.refusal(
                "has shape \(other.b.shape) in \(other.b.dtype.rawValue) beside \(first.b.shape) in \(first.b.dtype.rawValue) of \"\(first.b.name)\", and the "
                    + "base holds both in one parameter", other.b.name, rule: "FactorShape", help: "merge onto the base that the adapter was trained on")
        }
        var (a, b): ([TensorView.Part], [TensorView.Part]) = ([], [])
        var before = 0
        for (index, member) in members.enumerated() {
            guard let member else { continue }
            // A as (E, R·in) and B as (2·m, R·E), or (m, 2·R·E) where rows take turns.
            var part = TensorView.Part(member.a, column: before * columns)
            if member.a.shape.count == 2 { part.height = experts }
            a.append(part)
            let offset = before * experts
            b.append(
                parameter.takesTurns
                    ? .init(member.b, axes: [1, 2, 0], column: index * rank * experts + offset)
                    : .init(member.b, axes: [1, 2, 0], row: index * rows, column: offset))
            before += member.rank
        }
        let name = "\(parameter.module).\(parameter.name)"
        module.add("lora_A", "weight", TensorView(
            name: ExactString(name + ".lora_a"), shape: [experts * rank, columns], height: experts, parts: a))
        module.add("lora_B", "weight", TensorView(
            name: ExactString(name + ".lora_b"), shape: [members.count * rows, rank * experts], height: parameter.takesTurns ? rows : nil, parts: b))
        return module
    }

    /// The parameters of each expert of a stack, for a base that has them apart; none of any other module.
    ///
    /// - Throws: `.refused` where the base holds them in a way that replaces no rows.
    func wholeExperts(
        _ stack: DialectModule, _ info: TensorInfo, _ leaf: String, _ file: DialectFile, _ context: DialectContext
    ) throws -> [DialectModule] {
        guard let experts = MLXStack(stack.name), info.shape.count == (leaf == "bias" ? 2 : 3), info.shape[0] <= 4096 else { return [] }
        if let parameter = experts.parameter(context), parameter.takesTurns {
            throw file.refusal(
                "was trained whole, and in \"\(parameter.module).gate_up_proj\" of the base gate and up take turns, of which no whole rows are replaced", info.name,
                rule: "MissingTarget", help: "convert the base with mlx_lm.convert, and merge onto that")
        }
        return experts.experts(info.shape[0], context).enumerated().map { expert, name in
            var one = DialectModule(name: name, naming: .path, component: nil, form: stack.form)
            one.add(
                "whole", leaf,
                TensorView(
                    name: ExactString("\(info.name)[\(expert)]"), shape: Array(info.shape.dropFirst()), parts: [.init(info, rows: expert..<(expert + 1))]))
            return one
        }
    }
}

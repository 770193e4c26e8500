import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// LoRA and DoRA under the names that the model has in memory, which are those that PEFT loads (``NamesInMemory``); for other loaders under
/// those of the Hub's files.
///
/// Where memory has one parameter (E, out, in) for the matrices of all experts, the update of each expert e of E becomes a part of that
/// parameter's:
///
///     A (E·r, in):  expert e has rows e·r …       B (out, r·E):  expert e has columns k·E + e
///
/// Gate and up projection are one parameter, gate rows first. With factors of their own, of ranks r₁ and r₂, each expert has both A below
/// each other and both B on a diagonal, r = r₁ + r₂; with one A that both share, both B below each other and r = r₁. The quotient α / r
/// stays each pair's own.
///
/// Source: `ParamWrapper` in peft/tuners/lora/layer.py, `_inject_parameters` in peft/tuners/tuners_utils.py.
extension AdapterConversion {
    private typealias Member = (slot: NamesInMemory.Slot, module: Module)
    private typealias Parameter = (path: ExactString, rank: Int, alpha: Double)

    mutating func writePEFT(_ modules: [Module]) throws {
        let names = options.loader == nil ? NamesInMemory(of: adapter, bases: options.bases) : .ofFiles
        let modules = try foldingScales(modules)
        var (plain, parameters, renamed): ([Module], [Parameter], [(ExactString, ExactString)]) = ([], [], [])
        var (containers, stacks): ([String], [String: [Member]]) = ([], [:])
        let hasExperts = modules.contains { names.slot(names.module($0.path)) != nil }
        for var module in modules {
            if module.isParameter {
                // The base has it in one tensor as well.
                try addPEFT(module, prefix: "base_model.model.")
                parameters.append((module.path, module.rank, try AdapterConversion.alpha(for: module)))
                continue
            }
            let own = module.path
            let parts = names.parts(own)
            guard parts.isEmpty else {
                throw unable(
                    module, "is \(parts.count) modules in memory from transformers 5 on, \(parts.joined(separator: ", "))", help: "merge it instead")
            }
            module.path = names.module(own)
            guard !names.isRenamedTwice(module.path) else {
                throw unable(
                    module, "is \(module.path) in memory, which PEFT 0.21 renames once more when it loads an adapter, and then drops", help: "merge it instead")
            }
            if let slot = names.slot(module.path) {
                try requirePair(module, "is of a parameter in memory")
                if stacks[slot.container] == nil { containers.append(slot.container) }
                stacks[slot.container, default: []].append((slot, module))
                continue
            }
            if own != module.path { renamed.append((own, module.path)) }
            try addPEFT(module, prefix: "base_model.model.")
            if names.isParameter(module.path, besideExperts: hasExperts), !module.isEmbedding {
                try requirePair(module, "is named as a parameter for PEFT, which would take it for the experts' in a list of modules")
                parameters.append((ExactString("\(module.path).weight"), module.rank, try AdapterConversion.alpha(for: module)))
            } else {
                plain.append(module)
            }
        }
        for container in containers { parameters += try addStacks(container, stacks[container] ?? []) }
        if !parameters.isEmpty, let other = plain.first(where: { $0.magnitude != nil || $0.bias != nil }) {
            throw unable(other, "has more than two factors, which PEFT has for no adapter of parameters (target_parameters)", help: "merge it instead")
        }
        config = try peftConfig(plain, parameters: parameters)
        // How a wrapper's factors lie depends on it.
        if modules.contains(where: \.isParameter) { config?["peft_version"] = .string(Module.peftVersion) }
        if let first = renamed.first {
            notes.append(
                "\(first.0.text.printable) is written as \(first.1.text.printable), its name in memory from transformers 5 on"
                    + (renamed.count > 1 ? ", and \(renamed.count - 1) more in the same way" : ""))
        }
        if let first = containers.first {
            notes.append(
                "experts are written for the parameters that transformers 5 has for all of them (target_parameters), "
                    + "the first \(first.printable); transformers 4 has a module for each and does not load that")
        }
    }

    private func requirePair(_ module: Module, _ reason: String) throws {
        guard module.magnitude == nil, module.bias == nil, !module.isConvolution, !module.isEmbedding, squareOrientation != .inOut else {
            throw unable(module, "\(reason), and PEFT has no more than two factors for one", help: "merge it instead")
        }
    }

    /// The parameters of the experts in one module: PEFT wraps them in the order of registration, each around those before.
    private mutating func addStacks(_ container: String, _ members: [Member]) throws -> [Parameter] {
        let own = ["gate_up_proj", "up_proj", "down_proj"].filter { name in members.contains { $0.slot.parameter == name } }
        let experts = options.bases.lazy.compactMap { GGUFFacts($0.checkpoint).experts }.first ?? (members.map(\.slot.expert).max() ?? 0) + 1
        return try own.enumerated().map { position, parameter in
            let path = "base_model.model.\(container)" + String(repeating: ".base_layer", count: own.count - 1 - position)
            let parts = try [nil, 0, 1].compactMap { half -> ExpertPart? in
                let those = members.filter { $0.slot.parameter == parameter && $0.slot.half == half }.sorted { $0.slot.expert < $1.slot.expert }
                guard let first = those.first?.module else { return nil }
                guard those.map(\.slot.expert) == Array(0..<experts) else {
                    throw unable(first, "is one of \(those.count) experts with an update, and PEFT has one parameter for all \(experts)", help: "merge it instead")
                }
                return try ExpertPart(those.map(\.module), half: half, self)
            }
            return try addStack(parts, "\(container).\(parameter)", key: path)
        }
    }

    private mutating func addStack(_ parts: [ExpertPart], _ parameter: String, key: String) throws -> Parameter {
        guard let first = parts.first, let last = parts.last, let leading = first.modules.first else {
            throw PeftfileError(.refused, "has no update of \(parameter.printable)", file: adapter.path, rule: "NotConvertible")
        }
        let numbers = AdapterNumbers(adapters: [adapter])
        let count = first.modules.count
        guard parts.allSatisfy({ $0.modules.count == count && $0.inputs == first.inputs && $0.rows == first.rows }) else {
            throw unable(leading, "has another shape than the other half of \(parameter.printable)", help: "merge it instead")
        }
        func isShared(_ pair: (Module, Module)) throws -> Bool {
            let (one, other) = (pair.0.a, pair.1.a)
            guard one.dtype == other.dtype, one.shape == other.shape else { return false }
            return try numbers.elements(of: one.name, adapter: 0) == numbers.elements(of: other.name, adapter: 0)
        }
        let shares = try parts.count == 2 && zip(first.modules, last.modules).allSatisfy(isShared)
        let rank = shares ? first.rank : parts.reduce(0) { $0 + $1.rank }
        // What other scales leave over goes into B.
        let factors = try parts.map { try $0.quotients(of: leading.scale, self) }
        let used = shares ? [first] : parts
        let a = try AdapterConversion.commonDType(used.flatMap(\.modules).map { ($0.a, 1) }, numbers)
        let b = try AdapterConversion.commonDType(zip(parts, factors).flatMap { zip($0.modules.map(\.b), $1) }, numbers)
        guard let a, let b else { throw unable(leading, "has factors of several dtypes, and no one of them holds all", help: "merge it instead") }
        outputs.append(
            Output(
                name: ExactString("\(key).lora_A.weight"), dtype: a, shape: [count * rank, first.inputs],
                source: .arranged(
                    (0..<count).flatMap { expert in used.map { ($0.modules[expert].a.name, 1) } }, shape: [count * rank, first.inputs], axes: [0, 1])))
        let rows = first.half == nil ? first.rows : 2 * first.rows
        var (blocks, column): ([Output.Block], Int) = ([], 0)
        for (part, quotients) in zip(parts, factors) {
            blocks += zip(part.modules, quotients).enumerated().map { expert, pair in
                Output.Block(
                    tensor: pair.0.b.name, factor: pair.1, row: part.half == 1 ? part.rows : 0, column: column + expert, columns: part.rank, step: count)
            }
            if !shares { column += part.rank * count }
        }
        outputs.append(Output(name: ExactString("\(key).lora_B.weight"), dtype: b, shape: [rows, rank * count], source: .blocks(blocks)))
        return (ExactString(parameter), rank, try AdapterConversion.alpha(scale: leading.scale, rank: rank, tensor: leading.a.name))
    }

    /// The one dtype of the tensors, or else F32 where that holds each times its factor; nil where it does not.
    private static func commonDType(_ tensors: [(TensorInfo, Double)], _ numbers: AdapterNumbers) throws -> DType? {
        let own = Set(tensors.map(\.0.dtype))
        if own.count == 1, let dtype = own.first, try tensors.allSatisfy({ try $0.1 == 1 || exactDType(of: $0.0, times: $0.1, numbers) == dtype }) {
            return dtype
        }
        return try tensors.allSatisfy { try exactDType(of: $0.0, times: $0.1, numbers) != nil && $0.0.dtype != .f64 } ? .f32 : nil
    }
}

/// The same matrix of every expert, in order.
private struct ExpertPart {
    let modules: [AdapterConversion.Module]
    let half: Int?
    let rank: Int, rows: Int, inputs: Int

    init(_ modules: [AdapterConversion.Module], half: Int?, _ conversion: AdapterConversion) throws {
        (self.modules, self.half) = (modules, half)
        let (a, b) = (modules[0].a.shape, modules[0].b.shape)
        if let other = modules.first(where: { $0.a.shape != a || $0.b.shape != b }) {
            throw conversion.unable(other, "has another rank or shape than \"\(modules[0].path)\", and they are one parameter in memory", help: "merge it instead")
        }
        (rank, rows, inputs) = (modules[0].rank, b[0], a[1])
    }

    /// What each B is multiplied with, where all have one scale.
    func quotients(of scale: Double, _ conversion: AdapterConversion) throws -> [Double] {
        try modules.map { module in
            let quotient = module.scale / scale
            guard module.scale == scale || quotient.isFinite && (-module.scale).addingProduct(quotient, scale) == 0 else {
                throw conversion.unable(module, "has another scale than the other experts, which no factor leaves exact", help: "merge it instead")
            }
            return module.scale == scale ? 1 : quotient
        }
    }
}

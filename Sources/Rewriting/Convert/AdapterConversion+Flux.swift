import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// FLUX.1's layers that diffusers has as several, under sd-scripts' names: one pair of factors for the layers below each other.
///
///     down = [A_1; …; A_n]  (Σr, in),   up = diag(q_1·B_1, …, q_n·B_n)  (out, Σr),   alpha / Σr = s,   q_i = s_i / s
///
/// So up·down has each layer's own B_i·A_i in its rows, and zeros in those of a layer without an update: nothing is added and nothing
/// rounded. A quotient that is no exact number, or whose product with an element is none in F32, is refused. The halves of
/// `final_layer.adaLN_modulation` change places. DoRA's magnitudes are one for each row, and stand below each other where all layers have them.
///
/// Source: `LoRANetwork.state_dict` in networks/lora_flux.py of sd-scripts, which writes what it trained with `split_qkv` so.
extension AdapterConversion {
    mutating func writeFlux(_ parts: [(path: String, layer: OriginalLayer, module: Module)]) throws {
        let numbers = AdapterNumbers(adapters: [adapter])
        for path in Set(parts.map(\.path)).sorted() {
            let members = parts.filter { $0.path == path }.map { ($0.layer, $0.module) }.sorted { $0.0.part < $1.0.part }
            guard let (layer, first) = members.first else { continue }
            let width = first.a.shape[1]
            for (own, module) in members {
                guard module.a.shape == [module.rank, width], module.b.shape == [own.rows(width: width).count, module.rank] else {
                    throw unable(module, "has factors of shape \(module.b.shape) and \(module.a.shape), which are not those of FLUX.1's \(layer.name)")
                }
            }
            for (one, other) in zip(members, members.dropFirst()) where one.0.part == other.0.part {
                throw unable(other.1, "is the same part of \(layer.name) as another module")
            }
            if layer.isSwapped { try addSwapped(first, path) } else { try addFused(members, path, width, numbers) }
        }
    }

    private mutating func addSwapped(_ module: Module, _ path: String) throws {
        let rows = module.b.shape[0]
        let halves = [(rows / 2)..<rows, 0..<(rows / 2)]
        func gather(_ leaf: String, _ info: TensorInfo, _ shape: Shape) {
            outputs.append(
                Output(name: ExactString("\(path).\(leaf)"), dtype: info.dtype, shape: shape, source: .gathered(info.name, 1, rows: halves)))
        }
        add("\(path).lora_down.weight", module.a)
        gather("lora_up.weight", module.b, module.b.shape)
        try addAlpha(AdapterConversion.alpha(for: module), path, module.alphaDType)
        if let magnitude = module.magnitude { gather("dora_scale", magnitude, [rows, 1]) }
    }

    private mutating func addFused(
        _ members: [(layer: OriginalLayer, module: Module)], _ path: String, _ width: Int, _ numbers: AdapterNumbers
    ) throws {
        let (layer, modules) = (members[0].layer, members.map(\.module))
        let scale = modules.map(\.scale).first { $0 != 0 } ?? 1
        let rank = modules.reduce(0) { $0 + $1.rank }
        var (pieces, dtypes, column): ([Output.Block], [DType], Int) = ([], [], 0)
        for (own, module) in members {
            let quotient = module.scale / scale
            guard quotient.isFinite, (-module.scale).addingProduct(quotient, scale) == 0,
                let dtype = quotient == 1 ? module.b.dtype : try AdapterConversion.exactDType(of: module.b, times: quotient, numbers)
            else {
                throw PeftfileError(
                    .refused,
                    "module \"\(module.path)\": kohya's \(layer.name) has one scale, \(scale), and F32 does not hold this module's lora_B times "
                        + "\(module.scale) / \(scale)", file: adapter.path, tensor: module.b.name, rule: "ScaleNotExact",
                    help: "keep it in diffusers' dialect, or merge it")
            }
            pieces.append(
                .init(tensor: module.b.name, factor: quotient, row: own.rows(width: width).lowerBound, column: column, columns: module.rank))
            dtypes.append(dtype)
            column += module.rank
        }
        func name(_ leaf: String) -> ExactString { ExactString("\(path).\(leaf)") }
        outputs.append(
            Output(
                name: name("lora_down.weight"), dtype: AdapterConversion.common(modules.map(\.a.dtype)), shape: [rank, width],
                source: .arranged(modules.map { ($0.a.name, 1) }, shape: [rank, width], axes: [0, 1])))
        outputs.append(
            Output(
                name: name("lora_up.weight"), dtype: AdapterConversion.common(dtypes), shape: [layer.rowCount(width: width), rank],
                source: .blocks(pieces)))
        try addAlpha(AdapterConversion.alpha(scale: scale, rank: rank, tensor: modules[0].a.name), path, modules[0].alphaDType)
        let magnitudes = modules.compactMap(\.magnitude)
        guard !magnitudes.isEmpty else { return }
        guard magnitudes.count == layer.shares.count else {
            throw unable(
                modules[0], "is DoRA and a part of kohya's \(layer.name), of which another part has no magnitude: it would be the norm of the base's rows")
        }
        let shape = [layer.rowCount(width: width), 1]
        outputs.append(
            Output(
                name: name("dora_scale"), dtype: AdapterConversion.common(magnitudes.map(\.dtype)), shape: shape,
                source: .arranged(magnitudes.map { ($0.name, 1) }, shape: shape, axes: [0, 1])))
    }

    /// A dtype that holds the numbers of all.
    private static func common(_ dtypes: [DType]) -> DType {
        guard let first = dtypes.first, Set(dtypes).count > 1 else { return dtypes.first ?? .f32 }
        return dtypes.contains(.f64) || !first.isMergeable ? .f64 : .f32
    }
}

import ByteAccess
import Tensors

/// loralib's MergedLinear, one LoRA for some of the equal parts of a fused layer, in loralib's files and AdapterHub's.
///
///     A (n·r, in), B (n·out/L, r):  part p of L has rows [p·out/L, (p + 1)·out/L);  ΔW of the g-th enabled part is B_g·A_g
///
/// Which n of the L parts are enabled is not in loralib's file (`enable_lora`), so `--enable-lora` says it, and
/// `--scale` says lora_alpha / r. Files whose modules are all plain pairs are bare factors and need no dialect, unless
/// `--enable-lora` is given: the factors of one enabled part look like a plain layer's, and the base's rows tell them apart.
/// A convolution in the same file is told by its weight in the base, and bound as bare factors are (``LoralibConvolution``).
/// Source: `MergedLinear.merge_AB`, `zero_pad` in loralib/layers.py of microsoft/LoRA.
struct MergedLinear: Dialect {
    let name = "loralib"
    let stacksFactors = true

    func openQuestions(_ file: DialectFile) -> Set<OpenQuestion> { [.scale, .enabledParts, .squareOrientation] }

    func recognises(_ file: DialectFile) -> Bool {
        guard file.config == nil, !file.tensors.isEmpty else { return false }
        let pairs = MergedLinear.pairs(in: file.tensors, a: ".lora_A", b: ".lora_B")
        return pairs.map { $0.count * 2 } == file.tensors.count
            && pairs?.contains { MergedLinear.parts(of: $0.a, $0.b) > 1 } == true
    }

    func read(_ file: DialectFile, context: DialectContext) throws -> DialectReading {
        var reading = DialectReading()
        let pairs = MergedLinear.pairs(in: file.tensors, a: ".lora_A", b: ".lora_B") ?? []
        guard let scale = context.options.scale else {
            throw file.refusal(
                "loralib's file does not say its scale"
                    + (context.options.enableLoRA.isEmpty ? ", nor which parts of fused layers it adapts" : ""),
                pairs.first { MergedLinear.parts(of: $0.a, $0.b) > 1 }?.a.name, rule: "ScaleMissing",
                help: "give lora_alpha / r with --scale"
                    + (context.options.enableLoRA.isEmpty ? ", and the parts with --enable-lora true,false,true" : ""))
        }
        for pair in pairs {
            let weight = context.weightShape(ExactString(pair.module))
            if let convolution = MergedLinear.convolution(pair, weight: weight, scale: scale) {
                reading.modules.append(convolution)
                continue
            }
            reading.modules.append(
                try MergedLinear.module(
                    pair, enabled: context.options.enableLoRA, component: nil, file, weight: weight, isOnePartUntold: true
                ) { ModuleScale(rank: $0, value: scale) })
        }
        return reading
    }

    /// A pair of a convolution; nil where the weight is none, or not of such factors.
    private static func convolution(_ pair: Pair, weight: Shape?, scale: Double) -> DialectModule? {
        guard let weight, let convolution = LoralibConvolution(a: pair.a, b: pair.b, weight: weight) else { return nil }
        var module = DialectModule(
            name: ExactString(pair.module), naming: .path, component: nil, form: DialectForm(name: "convolution", method: BareFactors()))
        module.add("lora_A", "weight", TensorView(pair.a))
        module.add("lora_B", "weight", TensorView(pair.b))
        module.scale = ModuleScale(rank: convolution.rank, value: scale)
        return module
    }

    struct Pair {
        let module: String
        let a: TensorInfo
        let b: TensorInfo
    }

    /// The pairs of factors, in file order; nil where a factor has no partner.
    static func pairs(in tensors: some Collection<TensorInfo>, a: String, b: String) -> [Pair]? {
        let byName = Dictionary(tensors.filter { $0.name.text.hasSuffix(b) }.map { ($0.name, $0) }) { first, _ in first }
        var pairs: [Pair] = []
        for info in tensors where info.name.text.hasSuffix(a) {
            let module = String(info.name.text.dropLast(a.count))
            guard let other = byName[ExactString(module + b)], info.shape.count == 2, other.shape.count == 2 else { return nil }
            pairs.append(Pair(module: module, a: info, b: other))
        }
        return pairs
    }

    /// n: how many parts the factors are for; 1 for a plain pair.
    static func parts(of a: TensorInfo, _ b: TensorInfo) -> Int {
        guard b.shape[1] > 0, a.shape[0] % b.shape[1] == 0, a.shape[1] != b.shape[0] || a.shape[0] == b.shape[1] else { return 1 }
        return a.shape[0] / b.shape[1]
    }

    /// Whether a plain pair is that of the one part that is enabled: the layer has L times the rows of B.
    private static func isOnePart(_ pair: Pair, enabled: [Bool], weight: Shape?, untold: Bool) -> Bool {
        guard enabled.count > 1, enabled.count(where: { $0 }) == 1 else { return false }
        guard let weight, weight.count == 2 else { return weight == nil && untold }
        let (rows, columns) = (pair.b.shape[0], pair.a.shape[1])
        return [[rows * enabled.count, columns], [columns, rows * enabled.count]].contains(weight)
    }

    /// A plain pair as it is, or the block-diagonal B (out, n·r) that stands for the parts.
    ///
    /// - Parameters:
    ///   - weight: the shape of the layer's weight, where a base tells.
    ///   - isOnePartUntold: whether a plain pair is of the one part that is enabled where no base tells: the caller named the parts.
    static func module(
        _ pair: Pair, enabled: [Bool], component: String?, _ file: DialectFile, weight: Shape?, isOnePartUntold: Bool = false,
        scale: (Int) -> ModuleScale
    ) throws -> DialectModule {
        var module = DialectModule(name: ExactString(pair.module), naming: .path, component: component, form: .lora)
        module.add("lora_A", "weight", TensorView(pair.a))
        let count = parts(of: pair.a, pair.b)
        let rank = pair.b.shape[1]
        guard count > 1 || isOnePart(pair, enabled: enabled, weight: weight, untold: isOnePartUntold) else {
            module.add("lora_B", "weight", TensorView(pair.b))
            module.scale = scale(rank)
            return module
        }
        let places = enabled.indices.filter { enabled[$0] }
        guard !enabled.isEmpty else {
            throw file.refusal(
                "holds factors for \(count) parts of a fused layer, and the file does not say which", pair.a.name,
                rule: "EnableLoRA", help: "say which: --enable-lora true,false,true")
        }
        guard places.count == count, pair.b.shape[0] % count == 0 else {
            throw file.refusal(
                "holds factors for \(count) parts, and \(places.count) of \(enabled.count) are enabled", pair.a.name,
                rule: "EnableLoRA", help: "say which \(count) parts are adapted: --enable-lora true,false,true")
        }
        let height = pair.b.shape[0] / count
        let rows = places.enumerated().map { group, place in
            TensorView.Part(
                pair.b, rows: (group * height)..<((group + 1) * height), row: place * height, column: group * rank)
        }
        module.add("lora_B", "weight", TensorView(
            name: pair.b.name, shape: [height * enabled.count, count * rank], parts: rows))
        let own = scale(rank)
        module.scale = ModuleScale(rank: count * rank, value: own.value)
        return module
    }
}

import ByteAccess
import Checkpoints
import Containers
import Tensors

/// The LoRA adapters of llama.cpp: GGUF files with `general.type` `adapter`.
///
/// | tensor of the base | `<name>.lora_a` | `<name>.lora_b` | update |
/// |---|---|---|---|
/// | a weight (out, in) | (r, in) | (out, r) | W += s·B·A |
/// | `token_embd.weight` (vocab, dim) | (vocab, r) | (dim, r) | W += s·A·Bᵀ |
/// | a stack of experts (E, out, in) | (E, r, in) | (E, out, r) | W[e] += s·B[e]·A[e] |
///
/// Shapes are outermost dimension first; the file has them the other way round. s = α / r with `adapter.lora.alpha` and the
/// rank of each pair, and 1 where α is 0 or not there. Names are those of GGUF models (``GGUFArchitecture``), and rows of
/// `lora_b` stand in the order that the model's rows have there: where that is not the Hub's they are turned back by the
/// heads that the base counts. A norm that is stored whole takes the place of the base's, as mergekit-extract-lora means
/// it; llama.cpp leaves it out.
///
/// GPT-2's Conv1D layers are turned by llama.cpp's converter with their factors, so that lora_a is (r, out) and lora_b (in, r) of
/// the model's tensor, which llama.cpp refuses to load where the two differ. Such a file is read as what it was made from; where
/// only square layers are adapted and `--square-orientation` does not say it, it is refused (``ConvertedConv1D``).
///
/// Source: `llama_adapter_lora_init_impl` in src/llama-adapter.cpp, `get_scale` in src/llama-adapter.h,
/// convert_lora_to_gguf.py, of ggml-org/llama.cpp.
struct GGUFLoRA: Dialect {
    let name = "gguf"
    let acceptsPEFTConfig = true

    func recognises(_ file: DialectFile) -> Bool {
        guard let gguf = file.gguf else { return false }
        return gguf.value("general.type")?.stringValue == "adapter"
            || file.tensors.contains { GGUFLoRA.pairName($0.name) != nil }
    }

    func openQuestions(_ file: DialectFile) -> Set<OpenQuestion> {
        ConvertedConv1D(file, options: BindingOptions()).problem == nil ? [] : [.squareOrientation]
    }

    func read(_ file: DialectFile, context: DialectContext) throws -> DialectReading {
        guard let gguf = file.gguf else { return DialectReading() }
        let header = try Header(gguf, file)
        if let problem = file.checkpoint.quantisation?.problem { throw problem }
        var reading = DialectReading()
        guard let architecture = GGUFArchitecture.named(header.architecture) else {
            let refusal = file.refusal(
                "is for the architecture \"\(header.architecture.printable)\", whose tensors are not known by the Hub's names", nil,
                rule: "GGUFArchitecture", help: "known are \(GGUFArchitecture.names.joined(separator: ", "))")
            if context.hasBase { throw refusal }
            reading.unsettled = refusal
            try read(file, header, context, &reading) { GGUFPlace(hub: $0, gguf: $0) }
            return reading
        }
        let names = Set(file.tensors.compactMap { GGUFLoRA.pairName($0.name)?.0 })
        try read(file, header, context, &reading) { name in
            // What a name stands for may depend on what else the model has: the base tells, and else what the adapter has itself.
            let all = context.hasBase ? architecture.places(ofGGUF: name) : []
            let known = all.count > 1 ? all.first { context.weightShape(ExactString(GGUFLoRA.module(of: $0))) != nil } : nil
            guard let place = known ?? architecture.place(ofGGUF: name, isThere: names.contains) else {
                throw file.refusal(
                    "\"\(name.printable)\" is no tensor of \(architecture.name) that has one name on the Hub",
                    ExactString(name), rule: "GGUFName")
            }
            return place
        }
        return reading
    }

    private func read(
        _ file: DialectFile, _ header: Header, _ context: DialectContext, _ reading: inout DialectReading,
        place: (String) throws -> GGUFPlace
    ) throws {
        let conv1D = ConvertedConv1D(file, options: context.options)
        if let problem = conv1D.problem {
            if context.hasBase { throw problem }
            reading.unsettled = reading.unsettled ?? problem
        }
        if conv1D.isTurned {
            reading.warnings.append(
                "lora_a and lora_b of GPT-2's Conv1D layers are turned, as llama.cpp's converter leaves them, and are turned back here; llama.cpp itself loads no such layer that is not square")
        }
        var order: [String] = []
        var pairs: [String: [String: TensorInfo]] = [:]
        for var info in file.tensors {
            // What blocks without an offset stand for, an f16 times an integer, F32 holds: F64 is needed for no more than reading.
            if let type = file.gguf?.type(of: info), [.q8_0, .q5_0, .q4_0].contains(type) { info.dtype = .f32 }
            guard let (name, leaf) = GGUFLoRA.pairName(info.name) else {
                // The loader knows no other ending than a norm's.
                guard info.name.text.contains("_norm.") else { continue }
                reading.modules.append(try norm(info, place(info.name.text), header, file))
                continue
            }
            if pairs[name] == nil { order.append(name) }
            pairs[name, default: [:]][leaf] = info
        }
        for name in order {
            guard let a = pairs[name]?["lora_a"], let b = pairs[name]?["lora_b"] else {
                throw file.refusal(
                    "\"\(name.printable)\" has no lora_\(pairs[name]?["lora_a"] == nil ? "a" : "b")",
                    pairs[name]?.values.map(\.name).min(), rule: "MissingPair", help: "half of a pair is no update")
            }
            let place = try place(name)
            if let form = place.form, form != .turned || place.isStack || place.gguf.contains("_exps") {
                throw file.refusal(
                    "is for a tensor that is a part of the Hub's, or another form of it (\(place.hub))", a.name, rule: "GGUFName",
                    help: "take the adapter as PEFT saved it")
            }
            guard place.hub.hasSuffix(".weight") else {
                throw file.refusal("belongs to no weight", a.name, rule: "GGUFName")
            }
            if conv1D.isTurned, ConvertedConv1D.concerns(name) {
                reading.modules.append(try turnedModule(Pair(a: a, b: b, place: place), header, file))
                continue
            }
            reading.modules += try modules(Pair(a: a, b: b, place: place), header, file, context, &reading)
        }
        if !reading.modules.isEmpty, reading.modules.contains(where: { $0.form.name == "whole" }) {
            reading.warnings.append("norms are stored whole and replaced here; llama.cpp leaves them as they are")
        }
    }

    /// `X` and `lora_a` of `X.lora_a`.
    private static func pairName(_ name: ExactString) -> (String, String)? {
        for leaf in ["lora_a", "lora_b"] where name.text.hasSuffix("." + leaf) {
            return (String(name.text.dropLast(leaf.count + 1)), leaf)
        }
        return nil
    }

    private static func module(of place: GGUFPlace) -> String {
        place.hub.hasSuffix(".weight") ? String(place.hub.dropLast(".weight".count)) : place.hub
    }

    // MARK: Modules

    private struct Pair {
        let a: TensorInfo
        let b: TensorInfo
        let place: GGUFPlace

        /// The Hub's path of the module.
        func path(_ name: String) -> ExactString { ExactString(String(name.dropLast(".weight".count))) }
    }

    private func modules(
        _ pair: Pair, _ header: Header, _ file: DialectFile, _ context: DialectContext, _ reading: inout DialectReading
    ) throws -> [DialectModule] {
        let (a, b) = (pair.a, pair.b)
        let isEmbedding = pair.place.gguf == "token_embd.weight"
        let dimensions = pair.place.isStack ? 3 : 2
        guard a.shape.count == dimensions, b.shape.count == dimensions, let rank = b.shape.last, rank > 0,
            !pair.place.isStack || a.shape[0] == b.shape[0]
        else { throw misshapen(pair, file) }
        var module = DialectModule(name: pair.path(pair.place.hub), naming: .path, component: nil, form: header.form)
        module.scale = header.alpha == 0 ? ModuleScale(rank: rank, value: 1) : ModuleScale(rank: rank, alpha: header.alpha)
        guard !isEmbedding else {
            guard a.shape[1] == rank else { throw misshapen(pair, file) }
            module.add("lora_embedding_A", "", TensorView(a, axes: [1, 0]))
            module.add("lora_embedding_B", "", TensorView(b))
            return [module]
        }
        guard a.shape[dimensions - 2] == rank else { throw misshapen(pair, file) }
        guard pair.place.isStack else {
            module.add("lora_A", "weight", TensorView(a))
            module.add("lora_B", "weight", try turned(b, pair.place.rowOrder, header, file, context, &reading))
            return [module]
        }
        return (0..<a.shape[0]).map { expert in
            var one = module
            one.name = pair.path(pair.place.hubName(expert: expert))
            for (component, info) in [("lora_A", a), ("lora_B", b)] {
                one.add(component, "weight", TensorView(
                    name: ExactString("\(info.name)[\(expert)]"), shape: Array(info.shape.dropFirst()),
                    parts: [.init(info, rows: expert..<(expert + 1))]))
            }
            return one
        }
    }

    /// A and B of Bᵀ and Aᵀ, which the file has in their places.
    private func turnedModule(_ pair: Pair, _ header: Header, _ file: DialectFile) throws -> DialectModule {
        let (a, b) = (pair.a, pair.b)
        guard a.shape.count == 2, b.shape.count == 2, let rank = b.shape.last, rank > 0, a.shape[0] == rank else {
            throw misshapen(pair, file)
        }
        var module = DialectModule(name: pair.path(pair.place.hub), naming: .path, component: nil, form: header.form)
        module.scale = header.alpha == 0 ? ModuleScale(rank: rank, value: 1) : ModuleScale(rank: rank, alpha: header.alpha)
        module.add("lora_A", "weight", TensorView(b, axes: [1, 0]))
        module.add("lora_B", "weight", TensorView(a, axes: [1, 0]))
        return module
    }

    private func misshapen(_ pair: Pair, _ file: DialectFile) -> PeftfileError {
        file.refusal(
            "has shape \(pair.b.shape) beside lora_a's \(pair.a.shape)", pair.b.name, rule: "FactorShape",
            help: pair.place.gguf == "token_embd.weight"
                ? "of an embedding lora_a is (vocab, r) and lora_b (dim, r)"
                : "llama.cpp stores lora_a as (r, in) and lora_b as (out, r); its old finetune wrote lora_a the other way round")
    }

    /// Rows of `lora_b` in the Hub's order.
    private func turned(
        _ info: TensorInfo, _ order: GGUFRowOrder?, _ header: Header, _ file: DialectFile, _ context: DialectContext,
        _ reading: inout DialectReading
    ) throws -> TensorView {
        guard let order else { return TensorView(info) }
        let (rows, rank) = (info.shape[0], info.shape[1])
        if let heads = context.heads, heads.key != heads.query, let runs = order.runs(of: rows, heads: heads) {
            var (parts, row): ([TensorView.Part], Int) = ([], 0)
            for run in runs {
                parts.append(.init(info, rows: row..<(row + run.count), row: run.lowerBound))
                row += run.count
            }
            return TensorView(name: info.name, shape: info.shape, parts: parts)
        }
        guard let heads = context.heads, let (shape, axes) = order.arrangement(of: rows, heads: heads) else {
            let refusal = file.refusal(
                "its rows are ordered by heads, and \(context.heads == nil ? "no config counts them" : "they do not divide \(rows) rows")",
                info.name, rule: "HeadsUnknown",
                help: context.hasBase
                    ? "put the base's config.json beside its weights"
                    : "name the base, whose config.json counts them: --base BASE; or --heads QUERIES,KEYS")
            if context.hasBase || context.heads != nil { throw refusal }
            reading.unsettled = reading.unsettled ?? refusal
            return TensorView(info)
        }
        var split = info
        split.shape = shape + [rank]
        return TensorView(split, axes: axes + [3], shape: info.shape)
    }

    /// A parameter that is stored whole.
    private func norm(_ info: TensorInfo, _ place: GGUFPlace, _ header: Header, _ file: DialectFile) throws -> DialectModule {
        guard info.shape.count == 1, let dot = place.hub.lastIndex(of: ".") else {
            throw file.refusal("has shape \(info.shape), and a norm is a vector", info.name, rule: "FactorShape")
        }
        guard GGUFArchitecture.named(header.architecture)?.normOffset ?? 0 == 0 else {
            throw file.refusal(
                "is a norm, in which llama.cpp stores 1 + w for \(header.architecture)", info.name, rule: "GGUFNorm",
                help: "llama.cpp itself leaves it out: remove it if the update is in the pairs")
        }
        var module = DialectModule(
            name: ExactString(String(place.hub[..<dot])), naming: .path, component: nil,
            form: DialectForm(name: "whole", method: WholeParameters()))
        module.add("whole", String(place.hub[place.hub.index(after: dot)...]), TensorView(info))
        return module
    }

    /// Refuses a file for another architecture than the base's, where both are known: its q and k may have another order of rows.
    ///
    /// Source: `llama_adapter_lora_init_impl` in src/llama-adapter.cpp of ggml-org/llama.cpp, which refuses it as well.
    static func requireArchitecture(of adapter: Adapter, _ base: GGUFFacts) throws {
        guard let file = adapter.checkpoint.shards.first?.file as? GGUFFile,
            let name = file.value("general.architecture")?.stringValue, let own = GGUFArchitecture.named(name),
            let other = base.architecture, own.name != other.name, Set(own.kinds).isDisjoint(with: other.kinds)
        else { return }
        throw PeftfileError(
            .refused, "is for the architecture \(own.name), and the base is \(other.name)", file: adapter.path,
            rule: "GGUFArchitecture", help: "name the base that it was trained on")
    }

    // MARK: Metadata

    /// What the file says of all its pairs.
    private struct Header {
        let architecture: String
        let alpha: Double
        /// LoRA, or activated LoRA, which no merge can hold.
        let form: DialectForm

        init(_ gguf: GGUFFile, _ file: DialectFile) throws {
            let type = gguf.value("adapter.type")?.stringValue
            guard type == "lora" else {
                throw file.refusal(
                    "adapter.type is \(type.map { "\"\($0.printable)\"" } ?? "missing"), and llama.cpp knows lora alone", nil,
                    rule: "MethodUnsupported")
            }
            guard let architecture = gguf.value("general.architecture")?.stringValue else {
                throw file.refusal("has no general.architecture", nil, rule: "GGUFArchitecture")
            }
            self.architecture = architecture
            let stored = gguf.value("adapter.lora.alpha")
            guard let alpha = stored == nil ? 0 : stored?.doubleValue else {
                throw file.refusal("adapter.lora.alpha is no number", nil, rule: "ScalarValue")
            }
            guard alpha.isFinite else { throw file.refusal("adapter.lora.alpha is NaN or infinite", nil, rule: "ScalarNotFinite") }
            self.alpha = alpha
            guard let tokens = gguf.value("adapter.alora.invocation_tokens")?.arrayValue else {
                form = .lora
                return
            }
            // Only whether there are any decides here; more than a sentence is not read.
            let ids = try tokens.count <= 4096 ? gguf.elements(of: tokens).compactMap(\.intValue) : []
            form = DialectForm(
                name: "lora", method: LoRA(),
                settings: ["alora_invocation_tokens": .array(ids.map { .number(JSONNumber($0)) })])
        }
    }
}

extension DialectFile {
    /// The file, where it is GGUF.
    var gguf: GGUFFile? { checkpoint.shards.first?.file as? GGUFFile }
}

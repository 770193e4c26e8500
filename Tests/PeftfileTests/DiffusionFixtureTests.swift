import Peftfile
import TestSupport
import Testing

/// One model of Fixtures/diffusion: a transformer under its repository's names and under diffusers', adapters under either, and what they give.
struct DiffusionModel {
    static let names = ((try? FileSystem.list(Fixtures.path("diffusion"))) ?? []).filter { $0.hasSuffix(".json") }.sorted()

    /// Adapters of one kind that all give the same.
    struct Case {
        let forms: [String]
        /// Whose names the adapters have: `own` or `diffusers`.
        let side: String
        let modules: [String]
        let base: String
        /// Nil where there is none.
        let alpha: Double?
        /// Tensors to which something is added as it is, with its seed.
        let differences: [(name: String, seed: Int)]
        /// Of each tensor of the base the start of its hash; nil where it stays.
        let expected: [String?]
    }

    let className: String
    let rank: Int
    private(set) var bases: [String: [(name: String, shape: Shape)]] = [:]
    private(set) var cases: [Case] = []

    init(_ file: String) throws {
        let json = try JSONValue.parse(TestFile.bytes(Fixtures.path("diffusion/\(file)")), file: file)
        className = try #require(json["class"]?.stringValue)
        rank = try #require(json["rank"]?.intValue)
        for side in ["own", "diffusers"] {
            bases[side] = try #require(json["bases"]?[ExactString(side)]?.objectValue).members.map { member in
                (member.key.text, (member.value.arrayValue ?? []).compactMap(\.intValue))
            }
        }
        for value in try #require(json["cases"]?.arrayValue) {
            let which = ExactString(try #require(value["modules"]?.stringValue))
            let alpha = value["alpha"]?.doubleValue ?? 0
            cases.append(
                Case(
                    forms: (value["forms"]?.arrayValue ?? []).compactMap(\.stringValue), side: try #require(value["names"]?.stringValue),
                    modules: (json["modules"]?[which]?.arrayValue ?? []).compactMap(\.stringValue),
                    base: try #require(value["base"]?.stringValue), alpha: alpha == 0 ? nil : alpha,
                    differences: (value["differences"]?.objectValue?.members ?? []).map { ($0.key.text, $0.value.intValue ?? 0) },
                    expected: try #require(value["expected"]?.arrayValue).map(\.stringValue)))
        }
    }

    /// Element i of a tensor; whole numbers that F32 holds.
    static func numbers(_ shape: Shape, seed: Int) -> [Double] {
        (0..<shape.reduce(1, *)).map { Double(($0 * 7 + seed * 13) % 251 - 125) }
    }

    func base(_ side: String, front: String = "") -> [SmallTensor] {
        (bases[side] ?? []).enumerated().map { index, tensor in
            SmallTensor(
                name: ExactString(front + tensor.name), shape: tensor.shape, values: DiffusionModel.numbers(tensor.shape, seed: index + 1))
        }
    }

    /// What stands before the tensors of a module, and what its factors are called.
    private static func names(_ module: String, _ form: String) -> (front: String, down: String, up: String) {
        switch form {
        case "kohya": ("lora_unet_" + String(module.map { $0 == "." ? "_" : $0 }), "lora_down.weight", "lora_up.weight")
        case "comfy": ("diffusion_model." + module, "lora_A.weight", "lora_B.weight")
        case "comfy-alpha": ("diffusion_model." + module, "lora_down.weight", "lora_up.weight")
        case "bare": (module, "lora_down.weight", "lora_up.weight")
        case "peft": ("base_model.model." + module, "lora_A.weight", "lora_B.weight")
        case "diffsynth": (module, "lora_A.default.weight", "lora_B.default.weight")
        case "diffsynth-pipe": ("pipe.dit." + module, "lora_A.default.weight", "lora_B.default.weight")
        default: ("transformer." + module, "lora_A.weight", "lora_B.weight")
        }
    }

    func adapter(_ own: Case, _ form: String) -> [SmallTensor] {
        let shapes = Dictionary(uniqueKeysWithValues: (bases[own.side] ?? []).map { ($0.name, $0.shape) })
        func tensor(_ name: String, _ shape: Shape, seed: Int) -> SmallTensor {
            SmallTensor(name: ExactString(name), shape: shape, values: DiffusionModel.numbers(shape, seed: seed))
        }
        let factors = own.modules.enumerated().flatMap { number, module -> [SmallTensor] in
            let shape = shapes[module + ".weight"] ?? [0, 0]
            let (front, down, up) = DiffusionModel.names(module, form)
            return [
                tensor("\(front).\(down)", [rank, shape[1]], seed: 2 * number + 1),
                tensor("\(front).\(up)", [shape[0], rank], seed: 2 * number + 2),
            ] + (own.alpha.map { [SmallTensor(name: ExactString("\(front).alpha"), shape: [], values: [$0])] } ?? [])
        }
        return factors + own.differences.map { name, seed in
            let leaf = name.split(separator: ".").last.map(String.init) ?? ""
            let front = DiffusionModel.names(String(name.dropLast(leaf.count + 1)), form).front
            let end = ["weight": "diff", "bias": "diff_b", "modulation": "diff_m"][leaf] ?? leaf
            return tensor("\(front).\(end)", shapes[name] ?? [], seed: seed)
        }
    }
}

/// Diffusion transformers of diffusers 0.42.1, small enough to be made anew by a formula, with adapters as they are in the field. What each gives was
/// recorded from diffusers' own converters of checkpoints and of LoRA files: `Fixtures/diffusion/generate.py`.
@Suite struct DiffusionFixtureTests {
    @Test func allModelsAreThere() { #expect(DiffusionModel.names.count == 10) }

    private func digests(_ file: Checkpoint) throws -> [String: String] {
        var result: [String: String] = [:]
        for tensor in file.tensors {
            var hash = SHA256()
            hash.update(try file.read(tensor))
            result[tensor.name.text] = String(SHA256.hex(hash.finalize()).prefix(16))
        }
        return result
    }

    @Test(arguments: DiffusionModel.names) func mergesAreThoseOfDiffusers(_ file: String) throws {
        let model = try DiffusionModel(file)
        let directory = try TemporaryDirectory()
        var count = 0
        for own in model.cases {
            // The repository's file may be a whole pipeline's.
            for (form, front) in own.forms.flatMap({ form in (own.base == "own" ? ["", "model.diffusion_model."] : [""]).map { (form, $0) } }) {
                let (base, adapter) = (directory.path("base.safetensors"), directory.path("adapter.safetensors"))
                try SmallTensor.write(model.base(own.base, front: front), to: base)
                try SmallTensor.write(model.adapter(own, form), to: adapter)
                let name = "\(file): \(own.side) names as \(form) onto \(front)\(own.base)"
                do {
                    let binding = try Binding(base: Checkpoint.open(base), adapters: [Adapter(path: adapter)])
                    let out = directory.path("out\(count)")
                    _ = try PlanExecutor(plan: .merge(binding), target: out).run()
                    let result = try Checkpoint.open(out)
                    let (before, after) = (try digests(Checkpoint.open(base)), try digests(result))
                    for (tensor, expected) in zip(model.bases[own.base] ?? [], own.expected) {
                        #expect(after[front + tensor.name] == expected ?? before[front + tensor.name], "\(name): \(tensor.name)")
                    }
                    #expect(try Verifier(binding: binding, result: result).run().isEquivalent, "\(name)")
                } catch {
                    Issue.record("\(name): \(error)")
                }
                count += 1
            }
        }
        #expect(count >= 5)
    }
}

import Peftfile
import TestSupport
import Testing

/// Merges of GGUF bases: the file that is written is, byte for byte, the one that an independent writer makes of numbers computed here.
@Suite struct GGUFMergeTests {
    /// Rows of heads in llama.cpp's order: numpy's reshape(heads, 2, n / heads / 2, …).swapaxes(1, 2).
    static func permuted(_ values: [Double], heads: Int, columns: Int) -> [Double] {
        let half = values.count / columns / heads / 2
        var result: [Double] = []
        for head in 0..<heads {
            for pair in 0..<half {
                for part in 0..<2 {
                    let row = (head * 2 + part) * half + pair
                    result += values[(row * columns)..<((row + 1) * columns)]
                }
            }
        }
        return result
    }

    /// The rule of `quantize_row_q8_0_ref`, in words of its own.
    static func q8(_ values: [Double]) -> [UInt8] {
        stride(from: 0, to: values.count, by: 32).flatMap { start -> [UInt8] in
            let block = values[start..<(start + 32)].map { Float($0) }
            let d = (block.map(abs).max() ?? 0) / 127
            let half = Float16(d).bitPattern
            let codes = block.map { x -> UInt8 in
                let scaled = d == 0 ? 0 : x * (1 / d)
                let size = (abs(scaled) + 0.5).rounded(.down)
                // 0.49999997 + 0.5 rounds up to 1 in float32, and is no half.
                let code = abs(scaled) < 0.5 ? 0 : Int(size)
                return UInt8(bitPattern: Int8(scaled < 0 ? -code : code))
            }
            return [UInt8(half & 255), UInt8(half >> 8)] + codes
        }
    }

    static func bytes(_ values: [Double], _ type: UInt32) throws -> [UInt8] {
        switch type {
        case 0: try Conversion.narrowed(values, to: .f32)
        case 1: try Conversion.narrowed(values, to: .f16)
        case 30: try Conversion.narrowed(values, to: .bf16)
        default: q8(values)
        }
    }

    /// What a tensor is: llama.cpp's name, the Hub's module, type, rows, columns, heads, and whether the adapter changes it.
    struct Part: Sendable {
        var name: String
        var module: String
        var type: UInt32
        var rows: Int
        var columns: Int
        var heads: Int?
        var isChanged: Bool
    }

    static let parts: [Part] = [
        .init(name: "token_embd", module: "model.embed_tokens", type: 8, rows: 8, columns: 32, isChanged: false),
        .init(name: "blk.0.attn_q", module: "model.layers.0.self_attn.q_proj", type: 1, rows: 64, columns: 32, heads: 2, isChanged: true),
        .init(name: "blk.0.attn_k", module: "model.layers.0.self_attn.k_proj", type: 8, rows: 24, columns: 32, heads: 1, isChanged: true),
        .init(name: "blk.0.attn_v", module: "model.layers.0.self_attn.v_proj", type: 30, rows: 24, columns: 32, isChanged: true),
        .init(name: "blk.0.attn_output", module: "model.layers.0.self_attn.o_proj", type: 8, rows: 32, columns: 64, isChanged: true),
        .init(name: "blk.0.ffn_up", module: "model.layers.0.mlp.up_proj", type: 0, rows: 5, columns: 32, isChanged: true),
        .init(name: "blk.0.ffn_down", module: "model.layers.0.mlp.down_proj", type: 1, rows: 32, columns: 5, isChanged: false),
    ]

    /// Numbers of a base: whole, or of blocks whose largest code is 127.
    static func weights(_ part: Part, seed: Int) -> [Double] {
        let numbers = SmallTensor.numbers(part.rows * part.columns, seed: seed)
        guard part.type == 8 else { return numbers }
        return numbers.enumerated().map { $0.offset % 32 == 7 ? 63.5 : $0.element * 0.5 }
    }

    static func factors(_ part: Part, seed: Int) -> (a: [Double], b: [Double]) {
        (SmallTensor.numbers(2 * part.columns, seed: seed + 50).map { $0 / 16 }, SmallTensor.numbers(part.rows * 2, seed: seed + 90).map { $0 / 8 })
    }

    /// The file, before the merge or after it; `type` in place of the types of matrices.
    static func file(merged: Bool, type: UInt32? = nil, quarter: Bool = false) throws -> [UInt8] {
        var builder = GGUFBuilder()
        builder.add("general.architecture", "llama")
        builder.add("llama.attention.head_count", 2 as UInt32)
        builder.add("llama.attention.head_count_kv", 1 as UInt32)
        builder.add("tokenizer.ggml.tokens", texts: ["a", "b"])
        builder.add("general.file_type", type ?? 7)
        let norm = GGUFBuilder.bytes((0..<32).map { Float($0) / 3 })
        builder.tensors = [.init("output_norm.weight", [32], norm)]
        for (seed, part) in parts.enumerated() {
            var values = weights(part, seed: seed)
            if part.isChanged, merged {
                let (a, b) = factors(part, seed: seed)
                values = Plain.sum(values, Plain.product(b, a, part.rows, 2, part.columns), scale: 3)
            }
            if let heads = part.heads { values = permuted(values, heads: heads, columns: part.columns) }
            builder.tensors.append(
                .init("\(part.name).weight", [UInt64(part.columns), UInt64(part.rows)], type: type ?? part.type, try bytes(values, type ?? part.type)))
        }
        builder.tensors.append(.init("rope_freqs.weight", [3], GGUFBuilder.bytes([1, 2, 3])))
        if quarter {
            builder.tensors.append(.init("output.weight", [32, 1], type: 2, [0, 0x3C] + [UInt8](repeating: 0x9A, count: 16)))
        }
        return builder.file()
    }

    /// The base as a file, and an adapter.
    static func model(quarter: Bool = false) throws -> (SmallModel, String) {
        let model = try SmallModel()
        let path = try model.directory.write(file(merged: false, quarter: quarter), to: "base.gguf")
        try model.adapter(
            parts.enumerated().filter(\.element.isChanged).flatMap { seed, part in
                let (a, b) = factors(part, seed: seed)
                return [
                    SmallTensor(name: ExactString("\(part.module).lora_A.weight"), shape: [2, part.columns], values: a),
                    SmallTensor(name: ExactString("\(part.module).lora_B.weight"), shape: [part.rows, 2], values: b),
                ]
            })
        return (model, path)
    }

    static func binding(_ model: SmallModel, _ base: String) throws -> Binding {
        try Binding(base: .open(base), adapters: [Adapter(path: model.directory.path("adapter"))])
    }

    /// Merges the model's adapter into a GGUF file, which must have these bytes, and verifies it.
    static func expectMerge(
        of model: SmallModel, onto base: Checkpoint, writes expected: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let binding = try Binding(base: base, adapters: [Adapter(path: model.directory.path("adapter"))])
        var settings = MergeSettings()
        settings.form = .gguf
        let target = model.directory.path("out.gguf")
        _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: target).run()
        #expect(try TestFile.bytes(target) == expected, sourceLocation: sourceLocation)
        #expect(try Verifier(binding: binding, result: .open(target)).run().isEquivalent, sourceLocation: sourceLocation)
    }

    /// A Mixtral of the Hub as llama.cpp's converter files it: the architecture "llama", experts in stacks, q and k turned by heads.
    static func mixtral(_ base: Checkpoint) throws -> [UInt8] {
        let heads = (try #require(base.config?["num_attention_heads"]?.intValue), try #require(base.config?["num_key_value_heads"]?.intValue))
        let names = [
            "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight",
            "block_sparse_moe.gate": "ffn_gate_inp", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
            "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
            "w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps",
        ]
        var stacks: [String: (shape: Shape, bytes: [UInt8])] = [:]
        for tensor in base.tensors.sorted(by: { $0.name < $1.name }) {
            let parts = tensor.name.text.split(separator: ".").map(String.init)
            let isExpert = parts.contains("experts")
            let name: String
            if let own = names[tensor.name.text] {
                name = own
            } else {
                let module = parts[3..<(parts.count - 1)].joined(separator: ".")
                name = "blk.\(parts[2]).\(try #require(names[isExpert ? parts[parts.count - 2] : module])).weight"
            }
            var bytes = try base.read(tensor)
            for (leaf, count) in [("q_proj", heads.0), ("k_proj", heads.1)] where parts.contains(leaf) {
                let values = try Conversion.widened(bytes, as: tensor.dtype, count: tensor.info.elementCount)
                bytes = try Conversion.narrowed(permuted(values, heads: count, columns: tensor.shape[1]), to: tensor.dtype)
            }
            let before = stacks[name]
            let shape = isExpert ? [(before?.shape[0] ?? 0) + 1] + tensor.shape : tensor.shape
            stacks[name] = (shape, (before?.bytes ?? []) + bytes)
        }
        var builder = GGUFBuilder()
        builder.add("general.architecture", "llama")
        builder.add("llama.attention.head_count", UInt32(heads.0))
        builder.add("llama.attention.head_count_kv", UInt32(heads.1))
        let type: UInt32 = base.tensors[0].dtype == .bf16 ? 30 : 0
        builder.tensors = stacks.sorted { $0.key < $1.key }.map { name, stack in
            .init(name, stack.shape.reversed().map { UInt64($0) }, type: type, stack.bytes)
        }
        return builder.file()
    }

    /// PEFT's adapters of experts in transformers 5 (`mlp.experts`, `mlp.gate`) onto a GGUF base, whose names are Mixtral's own: what an
    /// independent program computed in float64 for the safetensors base.
    @Test(arguments: ["arch-mixtral", "lora-mixtral-target-params"]) func expertsOfAMixtralAreFound(_ name: String) throws {
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        let base = try directory.write(Self.mixtral(.open(merge.base)), to: "base.gguf")
        let target = directory.path("out.gguf")
        let binding = try Binding(base: .open(base), adapters: [Adapter(path: merge.adapter)])
        var settings = MergeSettings()
        settings.form = try OutputForm(output: target, base: binding.base)
        _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: target).run()
        let (result, before, expected) = (try Checkpoint.open(target), try Checkpoint.open(merge.base), try merge.expected())
        #expect(result.tensors.count == before.tensors.count)
        for tensor in before.tensors {
            let found = try result.numbers(tensor.name)
            if expected[tensor.name] == nil {
                #expect(try found == before.numbers(tensor.name), "\(tensor.name)")
            } else {
                #expect(try isClose(found, expected.numbers(tensor.name)) && found != before.numbers(tensor.name), "\(tensor.name)")
            }
        }
        #expect(try Verifier(binding: binding, result: result).run().isEquivalent)
    }

    @Test(arguments: [nil, DType.f16, .bf16, .f32] as [DType?], [false, true])
    func theFileIsTheOneThatAnotherWriterMakes(_ dtype: DType?, _ hashing: Bool) throws {
        let (model, base) = try Self.model()
        let binding = try Self.binding(model, base)
        var settings = MergeSettings(dtype: dtype)
        let target = model.directory.path("out.gguf")
        settings.form = try OutputForm(output: target, base: binding.base)
        #expect(settings.form == .gguf)
        let receipt = try PlanExecutor(
            plan: .merge(binding, settings: settings), target: target, settings: .init(jobs: 2, hashing: hashing, panelElements: 64)
        ).run()
        let types: [DType: UInt32] = [.f16: 1, .bf16: 30, .f32: 0]
        var expected = try Self.file(merged: true, type: dtype.flatMap { types[$0] })
        if dtype == .bf16 {
            // The number of a file's type is not that of a tensor's: LLAMA_FTYPE_MOSTLY_BF16 is 32.
            let place = try #require(expected.indices.first { expected[$0...].starts(with: "general.file_type".utf8) }) + 17 + 4
            expected[place] = 32
        }
        let found = try TestFile.bytes(target)
        #expect(found.count == expected.count)
        if let place = zip(found, expected).enumerated().first(where: { $0.element.0 != $0.element.1 })?.offset {
            Issue.record("byte \(place) of \(expected.count)")
        }
        if hashing {
            #expect(receipt.document(target: target)["subject"]?.arrayValue?.first?["digest"]?["sha256"]?.stringValue == SHA256.hex(SHA256.hash(expected)))
        }
        #expect(receipt.total.updated > 0 && (dtype == nil) == (receipt.total.roundingError != nil))
        let report = try Verifier(binding: binding, result: .open(target), dtype: dtype, jobs: 1).run()
        #expect(report.isEquivalent, "\(report.json.serialized())")
        #expect(report.tensors.count == Self.parts.count + 2)
    }

    /// One flipped bit in any tensor, or in the metadata, is seen.
    @Test func flippedBitsAreSeen() throws {
        let (model, base) = try Self.model()
        let binding = try Self.binding(model, base)
        let right = try Self.file(merged: true)
        let whole = try Checkpoint.open(model.directory.write(right, to: "right.gguf"), entire: true)
        #expect(try Verifier(binding: binding, result: .open(model.directory.path("right.gguf"))).run().isEquivalent)
        var random = SplitMix64(seed: 9)
        for tensor in whole.storedTensors {
            for _ in 0..<3 {
                var wrong = right
                wrong[Int.random(in: Int(tensor.info.begin)..<Int(tensor.info.end), using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                let result = try Checkpoint.open(model.directory.write(wrong, to: "wrong.gguf"))
                let report = try Verifier(binding: binding, result: result, jobs: 1).run()
                #expect(!report.isEquivalent && report.tensors.filter { !$0.isEquivalent }.map(\.name) == [tensor.name], "\(tensor.name)")
            }
        }
        var wrong = right
        let token = try #require(wrong.indices.first { wrong[$0...].starts(with: [1, 0, 0, 0, 0, 0, 0, 0, 0x62]) })
        wrong[token + 8] = 0x63
        let report = try Verifier(binding: binding, result: .open(model.directory.write(wrong, to: "wrong.gguf"))).run()
        #expect(report.config.map(\.path) == [["tokenizer.ggml.tokens"]] || !report.isEquivalent)
    }

    /// Values and bytes of `gguf.quants.quantize(…, Q8_0)` of gguf-py 0.19.0, which says that it is bit for bit ggml's reference.
    @Test func q8IsGGMLs() throws {
        var x: [Float] = []
        for index in 0..<64 {
            let value = Double((index * 37) % 101 - 50) / 16 + 0.001 * Double(index)
            x.append(index < 32 ? Float(value) : Float(value) * Float(1e-3))
        }
        var ties: [Float] = [127, 0.5, -0.5, 1.5, -1.5, 2.5, 126.5, -126.5]
        ties += [Float](repeating: 0, count: 24)
        let expected = [
            "5c2682df3c9bf956b5126fce2b8ae744a3015ebd1a77d63392ef4cab0966c5227fde9c013c99f755b3116fcc2a88e644a1ff5dbb1977d43290ee4ca90765c3217fdc3a98",
            "003c7f01ff02fe037f81000000000000000000000000000000000000000000000000",
        ]
        for (values, hex) in zip([x, ties], expected) {
            let model = try SmallModel()
            var builder = GGUFBuilder()
            builder.add("general.architecture", "qwen2")
            builder.tensors = [.init("output.weight", [UInt64(values.count), 1], type: 8, [UInt8](repeating: 0, count: values.count / 32 * 34))]
            let base = try model.directory.write(builder.file(), to: "base.gguf")
            try model.adapter(
                [
                    .init(name: "lm_head.lora_A.weight", shape: [1, values.count], values: values.map(Double.init)),
                    .init(name: "lm_head.lora_B.weight", shape: [1, 1], values: [1]),
                ], shared: #""r": 1, "lora_alpha": 1"#)
            var settings = MergeSettings()
            settings.form = .gguf
            let binding = try Self.binding(model, base)
            _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: model.directory.path("out.gguf")).run()
            let bytes = try TestFile.bytes(model.directory.path("out.gguf")).suffix(values.count / 32 * 34 + (values.count == 64 ? 28 : 30))
            #expect(SHA256.hex(Array(bytes.prefix(values.count / 32 * 34))) == hex)
            #expect(try Verifier(binding: binding, result: .open(model.directory.path("out.gguf"))).run().isEquivalent)
        }
    }

    /// A changed tensor of another type is refused by name, an unchanged one is copied; the Hub's form takes any.
    @Test func otherTypesWantADType() throws {
        let (model, base) = try Self.model(quarter: true)
        var binding = try Self.binding(model, base)
        var settings = MergeSettings()
        settings.form = .gguf
        let target = model.directory.path("out.gguf")
        _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: target).run()
        #expect(try TestFile.bytes(target) == Self.file(merged: true, quarter: true))
        try model.adapter([
            .init(name: "lm_head.lora_A.weight", shape: [2, 32], values: SmallTensor.numbers(64, seed: 1)),
            .init(name: "lm_head.lora_B.weight", shape: [1, 2], values: [1, 2]),
        ])
        binding = try Self.binding(model, base)
        let error = #expect(throws: PeftfileError.self) { _ = try RewritePlan.merge(binding, settings: settings) }
        #expect(error?.rule == "GGUFOutputType" && error?.tensor == "output.weight" && error?.help?.contains("--dtype") == true)
        settings.dtype = .f16
        _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: model.directory.path("half.gguf")).run()
        let half = try Checkpoint.open(model.directory.path("half.gguf"), entire: true)
        #expect(half.quantisation == nil && half["output.weight"]?.dtype == .f16 && half["output_norm.weight"]?.dtype == .f32)
        #expect(try Verifier(binding: binding, result: .open(model.directory.path("half.gguf")), dtype: .f16).run().isEquivalent)
    }

    /// The fixtures, whose negative scales have negative zeros, stay GGUF in another type and are verified.
    @Test(arguments: ["gguf-legacy", "gguf-k-mix"], [DType.f16, .bf16, .f32])
    func blocksBecomeNumbers(_ name: String, _ dtype: DType) throws {
        let binding = try Binding(
            base: .open(Fixtures.path("quantised/\(name)/base")), adapters: [Adapter(path: Fixtures.path("quantised/\(name)/adapter"))])
        let directory = try TemporaryDirectory()
        var settings = MergeSettings(dtype: dtype)
        settings.form = .gguf
        _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: directory.path("out.gguf")).run()
        let report = try Verifier(binding: binding, result: .open(directory.path("out.gguf")), dtype: dtype).run()
        #expect(report.isEquivalent, "\(report.json.serialized())")
        // The same numbers as in safetensors, whose values are the fixture's.
        settings.form = .safetensorsFile
        _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: directory.path("out.safetensors")).run()
        let (gguf, plain) = (try Checkpoint.open(directory.path("out.gguf")), try Checkpoint.open(directory.path("out.safetensors")))
        for tensor in plain.tensors where tensor.shape.count > 1 {
            #expect(try gguf.numbers(tensor.name) == plain.numbers(tensor.name), "\(tensor.name)")
        }
    }

    /// The output's name decides.
    @Test func formsFollowTheName() throws {
        let (model, path) = try Self.model()
        let base = try Checkpoint.open(path)
        #expect(try OutputForm(output: "a/b.gguf", base: base) == .gguf)
        #expect(try OutputForm(output: "b.safetensors", base: base) == .safetensorsFile)
        #expect(try OutputForm(output: "b", base: base) == .directory)
        try model.base([SmallModel.tensor("w", [2, 2], seed: 1)])
        let other = try Checkpoint.open(model.directory.path("base"))
        #expect(try OutputForm(output: "b", base: other) == .likeBase)
        #expect(throws: PeftfileError.self) { try OutputForm(output: "b.gguf", base: other) }
        let binding = try Self.binding(model, path)
        var results: [[ExactString: [UInt8]]] = []
        for (form, name) in [(OutputForm.safetensorsFile, "out.safetensors"), (.directory, "out")] {
            var settings = MergeSettings()
            settings.form = form
            _ = try PlanExecutor(plan: .merge(binding, settings: settings), target: model.directory.path(name)).run()
            let result = try Checkpoint.open(model.directory.path(name))
            #expect(try Verifier(binding: binding, result: result).run().isEquivalent)
            results.append(try Dictionary(uniqueKeysWithValues: result.tensors.map { ($0.name, try result.read($0)) }))
        }
        #expect(results[0] == results[1] && results[0].count == Self.parts.count + 1)
        #expect(try model.directory.names().contains("out") && FileSystem.isRegularFile(model.directory.path("out/model.safetensors")))
    }
}

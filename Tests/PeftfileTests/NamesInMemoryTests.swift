import Peftfile
import TestSupport
import Testing

/// Adapters of llama.cpp and mlx-lm that are written for PEFT: every matrix of small models of transformers 5 has its update where the
/// model in memory has it (`Fixtures/names/memory.json`, found by numbered elements), as PEFT's own formula makes it of the file.
@Suite struct NamesInMemoryTests {
    private static let types: JSONObject =
        (try? JSONValue.parse(TestFile.bytes(Fixtures.path("names/memory.json")), file: "memory.json").objectValue) ?? [:]
    static let kinds = types.members.map(\.key.text).filter { GGUFArchitecture.of(["model_type": .string($0)]) != nil }

    /// A matrix of the Hub's, where memory has it, and its two factors of rank 2.
    private struct Matrix {
        let name: String
        let shape: Shape
        let parameter: String
        let expert: Int?
        let row: Int
        let a: [Double]
        let b: [Double]
        var product: [Double] { Plain.product(b, a, shape[0], 2, shape[1]) }
    }

    /// Those that a GGUF adapter can name, each with factors of its own; or of each expert one A for the gate and the up projection.
    private static func matrices(_ kind: String, sharing: Bool) throws -> [(matrix: Matrix, place: GGUFPlace)] {
        let architecture = try #require(GGUFArchitecture.of(["model_type": .string(kind)]))
        return try #require(types[ExactString(kind)]?.objectValue).members.enumerated().compactMap { number, member in
            let values = try #require(member.value.arrayValue)
            let places = architecture.parts(ofHub: member.key.text)
            // What has another form or order of rows is told of in other tests, embeddings have other keys, and what is several in memory is refused.
            guard let place = places.first, place.form == nil, place.rowOrder == nil, place.gguf != "token_embd.weight",
                place.isStack == (values[2].intValue != nil), !member.key.text.hasSuffix(".Wqkv.weight"), kind != "laguna" || !member.key.text.contains(".shared_expert.")
            else { return nil }
            let shape = values[0].arrayValue?.compactMap(\.intValue) ?? []
            let expert = values[2].intValue
            let isFirst = ["gate_proj", "w1"].contains { member.key.text.contains(".\($0).") }
            let isSecond = ["up_proj", "w3"].contains { member.key.text.contains(".\($0).") }
            let seed = sharing && (isFirst || isSecond) ? 100 + (expert ?? 0) : number
            return (
                Matrix(
                    name: member.key.text, shape: shape, parameter: try #require(values[1].stringValue), expert: expert, row: values[3].intValue ?? 0,
                    a: SmallTensor.numbers(2 * shape[1], seed: seed), b: SmallTensor.numbers(2 * shape[0], seed: 1000 + number)), place
            )
        }
    }

    private static func adapter(_ matrices: [(matrix: Matrix, place: GGUFPlace)], _ kind: String) throws -> [UInt8] {
        var file = GGUFBuilder()
        file.add("general.architecture", try #require(GGUFArchitecture.of(["model_type": .string(kind)])).name)
        file.add("general.type", "adapter")
        file.add("adapter.type", "lora")
        file.add("adapter.lora.alpha", 6 as Float)
        var names: [String] = []
        for (_, place) in matrices where !names.contains(place.gguf) { names.append(place.gguf) }
        for name in names {
            let own = matrices.filter { $0.place.gguf == name }.map(\.matrix).sorted { ($0.expert ?? 0) < ($1.expert ?? 0) }
            let shape = own[0].shape
            let front: [UInt64] = own[0].expert == nil ? [] : [UInt64(own.count)]
            file.tensors.append(.init("\(name).lora_a", [UInt64(shape[1]), 2] + front, GGUFBuilder.bytes(own.flatMap(\.a).map { Float($0) })))
            file.tensors.append(.init("\(name).lora_b", [2, UInt64(shape[0])] + front, GGUFBuilder.bytes(own.flatMap(\.b).map { Float($0) })))
        }
        return file.file()
    }

    /// The update of a parameter by PEFT's formula, (E, out, in) or (out, in), times s; nil where the file has none.
    private func update(_ parameter: String, experts: Int, rows: Int, columns: Int, _ file: Checkpoint, _ config: JSONObject) throws -> [Double]? {
        let leaf = String(parameter.split(separator: ".").last ?? "")
        let module = String(parameter.dropLast(leaf.count + 1))
        let named = Set((config["target_parameters"]?.arrayValue ?? []).compactMap(\.stringValue))
        var key = "base_model.model.\(module)"
        if leaf != "weight" {
            // `ParamWrapper`s lie around each other in the order of registration.
            let order = ["gate_up_proj", "up_proj", "down_proj"].filter { named.contains("\(module).\($0)") }
            guard let place = order.firstIndex(of: leaf) else { return nil }
            key += String(repeating: ".base_layer", count: order.count - 1 - place)
        }
        guard let a = file[ExactString("\(key).lora_A.weight")] else { return nil }
        let isNamed = named.contains(parameter) || config["target_modules"]?.arrayValue?.contains(.string(module)) == true
        #expect(isNamed && leaf == "weight" || named.contains(parameter), "\(parameter)")
        let (first, second) = (try file.numbers(a.name), try file.numbers(ExactString("\(key).lora_B.weight")))
        let rank = a.shape[0] / experts
        func entry(_ pattern: ExactString, _ general: ExactString) -> Double {
            let path = named.contains(parameter) ? parameter : module
            let own = config[pattern]?[ExactString("^" + path.split(separator: ".").joined(separator: "\\."))]
            return (own ?? config[general])?.doubleValue ?? .nan
        }
        #expect(entry("rank_pattern", "r") == Double(rank))
        let scale = entry("alpha_pattern", "lora_alpha") / Double(rank)
        var result = [Double](repeating: 0, count: experts * rows * columns)
        for expert in 0..<experts {
            for row in 0..<rows {
                for column in 0..<columns {
                    for k in 0..<rank {
                        result[(expert * rows + row) * columns + column] +=
                            scale * second[row * rank * experts + k * experts + expert] * first[(expert * rank + k) * columns + column]
                    }
                }
            }
        }
        return result
    }

    @Test func theFixtureIsThere() { #expect(Self.kinds.count >= 30) }

    @Test(arguments: kinds, [false, true]) func whatPEFTLoadsIsWhatWasMeant(_ kind: String, _ sharing: Bool) throws {
        let model = try SmallModel()
        let all = try Self.matrices(kind, sharing: sharing)
        try model.directory.write(Self.adapter(all, kind), to: "a.gguf")
        // In a base that has the Hub's names it is the same update, whatever file it is in.
        try model.base(
            all.enumerated().map { SmallModel.tensor(ExactString($1.matrix.name), $1.matrix.shape, seed: $0) },
            config: #"{"model_type": "\#(kind)", "tie_word_embeddings": false, "num_attention_heads": 2}"#)
        for base in [nil, model.directory.path("base")] {
            let name = base == nil ? "alone" : "held"
            let conversion = try AdapterConversion(
                Adapter(path: model.directory.path("a.gguf")), to: .peft,
                options: .init(bases: base.map { [PipelineBase(try Checkpoint.open($0))] } ?? [], gguf: .init(facts: .init(heads: .init(query: 2, key: 2)))))
            _ = try ConversionExecutor(conversion: conversion, target: model.directory.path(name)).run()
            let file = try Checkpoint.open(model.directory.path(name))
            let config = try #require(try JSONValue.parse(TestFile.bytes(model.directory.path("\(name)/adapter_config.json")), file: nil).objectValue)
            for (parameter, members) in Dictionary(grouping: all.map(\.matrix), by: \.parameter) {
                let experts = (members.compactMap(\.expert).max() ?? 0) + 1
                let (rows, columns) = (members.map { $0.row + $0.shape[0] }.max() ?? 0, members[0].shape[1])
                let found = try #require(try update(parameter, experts: experts, rows: rows, columns: columns, file, config), "\(parameter)")
                for one in members {
                    let first = ((one.expert ?? 0) * rows + one.row) * columns
                    #expect(Array(found[first..<(first + one.shape[0] * columns)]) == one.product.map { 3 * $0 }, "\(one.name)")
                }
            }
            // Each factor is of one of them.
            let parameters = Set(all.map(\.matrix.parameter))
            #expect(file.tensors.count == 2 * parameters.count)
            if all.contains(where: { $0.matrix.expert != nil }) {
                for target in config["target_modules"]?.arrayValue ?? [] {
                    #expect(!["gate", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"].contains(target.stringValue?.split(separator: ".").last.map(String.init)))
                }
            }
        }
        let (direct, there) = (try model.merged(["a.gguf"], as: "direct"), try model.merged(["alone"], as: "there"))
        for tensor in direct.tensors { #expect(try direct.read(tensor) == there.read(#require(there[tensor.name])), "\(tensor.name)") }
        for one in all.map(\.matrix) {
            let before = try Checkpoint.open(model.directory.path("base")).numbers(ExactString(one.name))
            #expect(try direct.numbers(ExactString(one.name)) == Plain.sum(before, one.product, scale: 3))
        }
    }

    /// Loaders that go by the Hub's files get its names, each expert for itself.
    @Test(arguments: ["mixtral", "qwen3_moe", "hy_v3"], ["vllm", "llama.cpp"]) func otherLoadersGetTheNamesOfTheFiles(_ kind: String, _ loader: String) throws {
        #expect(Self.kinds.contains(kind))
        let directory = try TemporaryDirectory()
        let all = try Self.matrices(kind, sharing: false)
        try directory.write(Self.adapter(all, kind), to: "a.gguf")
        let result = try Tool.run(["convert", directory.path("a.gguf"), "--to", "peft", "--for", loader, "--heads", "2", "-o", directory.path("out")])
        #expect(result.status == 0, "\(result.errors)")
        let names = Set(try Checkpoint.open(directory.path("out")).tensors.map(\.name.text))
        #expect(names == Set(all.flatMap { one in ["A", "B"].map { "base_model.model.\(one.matrix.name.dropLast(".weight".count)).lora_\($0).weight" } }))
        let config = try #require(try JSONValue.parse(TestFile.bytes(directory.path("out/adapter_config.json")), file: nil).objectValue)
        #expect(config["target_parameters"] == nil)
        #expect(try Tool.run(["verify", directory.path("out")]).status == 0)
    }

    /// What PEFT would drop whatever it is called, and what is several modules in memory, is refused by name.
    @Test(arguments: [
        ("laguna", "blk.1.ffn_up_shexp.weight", "renames once more"), ("nomic-bert", "blk.0.attn_qkv.weight", "3 modules in memory"),
    ]) func whatPEFTWouldDropIsRefused(_ architecture: String, _ name: String, _ reason: String) throws {
        let model = try SmallModel()
        var file = GGUFBuilder()
        for (key, value) in [("general.architecture", architecture), ("general.type", "adapter"), ("adapter.type", "lora")] { file.add(key, value) }
        file.tensors = ["lora_a", "lora_b"].map { .init("\(name).\($0)", $0 == "lora_a" ? [4, 2] : [2, 6], GGUFBuilder.bytes([Float](repeating: 1, count: $0 == "lora_a" ? 8 : 12))) }
        try model.directory.write(file.file(), to: "a.gguf")
        let error = #expect(throws: PeftfileError.self) { _ = try AdapterConversion(Adapter(path: model.directory.path("a.gguf")), to: .peft) }
        #expect(error?.rule == "NotConvertible" && error?.message.contains(reason) == true, "\(String(describing: error))")
    }

    /// A file of Nemotron-H with experts says another architecture than its base's config.json, and is of that base.
    @Test func aVariantIsOfItsBase() throws {
        let model = try SmallModel()
        try model.base(
            [SmallModel.tensor("backbone.layers.0.mixer.o_proj.weight", [6, 4], seed: 1)], config: #"{"model_type": "nemotron_h", "tie_word_embeddings": false}"#)
        var file = GGUFBuilder()
        for (key, value) in [("general.architecture", "nemotron_h_moe"), ("general.type", "adapter"), ("adapter.type", "lora")] { file.add(key, value) }
        let (a, b) = (SmallTensor.numbers(8, seed: 1), SmallTensor.numbers(12, seed: 2))
        file.tensors = [
            .init("blk.0.attn_output.weight.lora_a", [4, 2], GGUFBuilder.bytes(a.map { Float($0) })),
            .init("blk.0.attn_output.weight.lora_b", [2, 6], GGUFBuilder.bytes(b.map { Float($0) })),
        ]
        try model.directory.write(file.file(), to: "a.gguf")
        let name: ExactString = "backbone.layers.0.mixer.o_proj.weight"
        let before = try Checkpoint.open(model.directory.path("base")).numbers(name)
        #expect(try model.merged(["a.gguf"]).numbers(name) == Plain.sum(before, Plain.product(b, a, 6, 2, 4), scale: 1))
        let conversion = try AdapterConversion(Adapter(path: model.directory.path("a.gguf")), to: .peft)
        #expect(conversion.outputs.map(\.name) == ["A", "B"].map { ExactString("base_model.model.model.layers.0.mixer.o_proj.lora_\($0).weight") })
    }

    /// What PEFT has no form for is refused, and nothing written.
    @Test func whatAParameterCannotHoldIsRefused() throws {
        let model = try SmallModel()
        let all = try Self.matrices("mixtral", sharing: false)
        try model.base(
            all.enumerated().map { SmallModel.tensor(ExactString($1.matrix.name), $1.matrix.shape, seed: $0) },
            config: #"{"model_type": "mixtral", "num_local_experts": 3, "tie_word_embeddings": false, "num_attention_heads": 2}"#)
        try model.directory.write(Self.adapter(all.filter { $0.matrix.expert != nil }, "mixtral"), to: "a.gguf")
        let error = #expect(throws: PeftfileError.self) {
            _ = try AdapterConversion(
                Adapter(path: model.directory.path("a.gguf")), to: .peft, options: .init(bases: [PipelineBase(try Checkpoint.open(model.directory.path("base")))]))
        }
        #expect(error?.rule == "NotConvertible" && error?.message.contains("all 3") == true, "\(String(describing: error))")
    }

    /// mlx-lm's stacks too: of a gate without an up projection the other rows stay.
    @Test(arguments: [["up_proj", "down_proj"], ["gate_proj", "up_proj", "down_proj"], ["gate_proj"]]) func stacksOfMLXArePartsOfParameters(_ leaves: [String]) throws {
        let model = try SmallModel()
        let front = "model.layers.0.mlp."
        func shape(_ leaf: String) -> Shape { leaf == "down_proj" ? [4, 6] : [6, 4] }
        try model.base(
            (0..<3).flatMap { expert in
                ["gate_proj", "up_proj", "down_proj"].enumerated().map {
                    SmallModel.tensor(ExactString("\(front)experts.\(expert).\($1).weight"), shape($1), seed: 3 * expert + $0)
                }
            }, config: #"{"model_type": "qwen3_moe", "num_experts": 3, "tie_word_embeddings": false}"#)
        try FileSystem.makeDirectory(model.directory.path("mlx"))
        try SmallTensor.write(
            leaves.enumerated().flatMap { number, leaf in
                [
                    SmallModel.tensor(ExactString("\(front)switch_mlp.\(leaf).lora_a"), [3, 2, shape(leaf)[1]], seed: 20 + number),
                    SmallModel.tensor(ExactString("\(front)switch_mlp.\(leaf).lora_b"), [3, shape(leaf)[0], 2], seed: 40 + number),
                ]
            }, to: model.directory.path("mlx/adapters.safetensors"))
        try model.directory.write(
            #"{"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": {"rank": 2, "scale": 3.0, "dropout": 0.0}}"#, to: "mlx/adapter_config.json")
        let result = try Tool.run(["convert", model.directory.path("mlx"), "--to", "peft", "--base", model.directory.path("base"), "-o", model.directory.path("peft")])
        #expect(result.status == 0, "\(result.errors)")
        let (direct, there) = (try model.merged(["mlx"], as: "direct"), try model.merged(["peft"], as: "there"))
        for tensor in direct.tensors { #expect(try direct.read(tensor) == there.read(#require(there[tensor.name])), "\(tensor.name)") }
        let proof = try Tool.run(["verify", model.directory.path("peft")])
        #expect(proof.status == 0, "\(proof.output)\(proof.errors)")
    }

    /// `verify` tells what is not the source's: one flipped bit in any tensor of the result.
    @Test(arguments: ["hy_v3", "mixtral"], [false, true]) func flippedBitsAreSeen(_ kind: String, _ sharing: Bool) throws {
        let model = try SmallModel()
        let all = try Self.matrices(kind, sharing: sharing)
        try model.directory.write(Self.adapter(all, kind), to: "a.gguf")
        let source = try Adapter(path: model.directory.path("a.gguf"))
        let heads = GGUFHeads(query: 2, key: 2)
        _ = try ConversionExecutor(
            conversion: AdapterConversion(source, to: .peft, gguf: .init(facts: .init(heads: heads))), target: model.directory.path("peft")
        ).run()
        func isSame() throws -> Bool {
            try ConversionComparison(source: source, result: Adapter(path: model.directory.path("peft")), reading: .init(heads: heads)).isEquivalent
        }
        #expect(try isSame())
        let path = "peft/adapter_model.safetensors"
        let right = try TestFile.bytes(model.directory.path(path))
        var random = SplitMix64(seed: 9)
        for tensor in try Checkpoint.open(model.directory.path("peft")).storedTensors {
            var wrong = right
            // A bit of the exponent: of a zero too it makes another number.
            let element = Int.random(in: 0..<tensor.info.elementCount, using: &random)
            wrong[Int(tensor.info.begin) + 4 * element + 3] ^= 1 << UInt8.random(in: 0..<6, using: &random)
            try model.directory.write(wrong, to: path)
            #expect(try !isSame(), "\(tensor.name)")
        }
    }
}

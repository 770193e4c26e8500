import Adapters
import ByteAccess
import Tensors
import Testing

/// Experts in every pairing of layouts, routers, and the orientation of stacked updates.
@Suite struct NamingExpertTests {
    struct Row: CustomTestStringConvertible {
        let types: [String]
        /// The module in memory, and its container on disk.
        let memory: String
        let file: String
        let leaves: (gate: String, up: String, down: String)
        var testDescription: String { types.joined(separator: ", ") }

        /// Two experts, one matrix each: m = 12, h = 8.
        func apart(_ type: String) -> SyntheticBase {
            var base = SyntheticBase(type, names: [])
            for expert in 0..<2 {
                for (leaf, shape) in [(leaves.gate, [12, 8]), (leaves.up, [12, 8]), (leaves.down, [8, 12])] {
                    base.tensors.append((ExactString("\(file).\(expert).\(leaf).weight"), shape))
                }
            }
            return base
        }

        func fused(_ type: String) -> SyntheticBase {
            SyntheticBase(type, [memory + ".gate_up_proj": [2, 24, 8], memory + ".down_proj": [2, 8, 12]])
        }
    }

    static let qwen = (gate: "gate_proj", up: "up_proj", down: "down_proj")
    static let mixtral = (gate: "w1", up: "w3", down: "w2")
    static let rows: [Row] = [
        Row(
            types: [
                "qwen2_moe", "qwen3_moe", "qwen3_next", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe",
                "glm4_moe_lite", "olmoe", "flex_olmo", "ernie4_5_moe", "dots1", "hunyuan_v1_moe", "afmoe", "exaone_moe",
                "longcat_flash", "solar_open",
            ], memory: "model.layers.1.mlp.experts", file: "model.layers.1.mlp.experts", leaves: qwen),
        Row(
            types: ["glm4v_moe", "qwen3_5_moe"], memory: "model.language_model.layers.1.mlp.experts",
            file: "model.language_model.layers.1.mlp.experts", leaves: qwen),
        Row(
            types: ["qwen3_omni_moe"], memory: "thinker.model.layers.1.mlp.experts",
            file: "thinker.model.layers.1.mlp.experts", leaves: qwen),
        Row(
            types: ["qwen3_5_moe_text"], memory: "model.layers.1.mlp.experts",
            file: "model.language_model.layers.1.mlp.experts", leaves: qwen),
        Row(
            types: ["mixtral", "minimax", "minimax_m2", "phimoe"], memory: "model.layers.1.mlp.experts",
            file: "model.layers.1.block_sparse_moe.experts", leaves: mixtral),
        Row(
            types: ["lfm2_moe"], memory: "model.layers.1.feed_forward.experts",
            file: "model.layers.1.feed_forward.experts", leaves: mixtral),
        Row(
            types: ["jamba"], memory: "model.layers.1.feed_forward.experts",
            file: "model.layers.1.feed_forward.experts", leaves: qwen),
    ]

    @Test(arguments: rows) func oneMatrixAnExpertOnDisk(_ row: Row) throws {
        for type in row.types {
            let places = try row.apart(type).wrapped(row.memory, [(8, 12), (24, 8)])
            let tensor = { (expert: Int, leaf: String) in ExactString("\(row.file).\(expert).\(leaf).weight") }
            #expect(
                places[0]
                    == ParameterPlace(
                        parameter: "down_proj", shape: [2, 8, 12],
                        pieces: (0..<2).map {
                            ParameterPiece(expert: $0, rows: 0..<8, tensor: tensor($0, row.leaves.down))
                        }), "\(type)")
            #expect(
                places[1]
                    == ParameterPlace(
                        parameter: "gate_up_proj", shape: [2, 24, 8],
                        pieces: (0..<2).flatMap {
                            [
                                ParameterPiece(expert: $0, rows: 0..<12, tensor: tensor($0, row.leaves.gate)),
                                ParameterPiece(expert: $0, rows: 12..<24, tensor: tensor($0, row.leaves.up)),
                            ]
                        }), "\(type)")
        }
    }

    @Test(arguments: rows) func fusedOnDisk(_ row: Row) throws {
        for type in row.types {
            let places = try row.fused(type).wrapped(row.memory, [(8, 12), (24, 8)])
            #expect(places.map(\.parameter) == ["down_proj", "gate_up_proj"])
            #expect(places[1].shape == [2, 24, 8])
            #expect(
                places[1].pieces
                    == (0..<2).map {
                        ParameterPiece(
                            expert: $0, rows: 0..<24, tensor: ExactString(row.memory + ".gate_up_proj"),
                            storedExpert: $0)
                    }, "\(type)")
        }
    }

    /// Version 4 adapts each expert's layers: onto files of the same layout, and onto fused ones.
    @Test(arguments: rows) func oneAdapterAnExpert(_ row: Row) throws {
        for type in row.types {
            let (gate, up, down) = row.leaves
            let modules = ["1.\(gate)", "1.\(up)", "1.\(down)"].map { "\(row.file).\($0)" }
            #expect(try row.apart(type).tensors(of: modules) == modules.map { $0 + ".weight" })

            let requests = zip(modules, [(12, 8), (12, 8), (8, 12)]).map {
                ParameterRequest(module: ExactString($0), parameter: .weight, update: (rows: $1.0, columns: $1.1))
            }
            let places = try row.fused(type).resolver.resolve(requests)
            let gateUp = ExactString(row.memory + ".gate_up_proj")
            let stored = ExactString(row.memory + ".down_proj")
            #expect(
                requests.map { places[$0]?.pieces } == [
                    [ParameterPiece(rows: 0..<12, tensor: gateUp, storedExpert: 1)],
                    [ParameterPiece(rows: 0..<12, tensor: gateUp, storedExpert: 1, storedOffset: 12)],
                    [ParameterPiece(rows: 0..<8, tensor: stored, storedExpert: 1)],
                ], "\(type)")
            #expect(requests.allSatisfy { places[$0]?.updateTransposed == false })
            #expect(requests.map { places[$0]?.shape } == [[12, 8], [12, 8], [8, 12]])
        }
    }

    @Test func nemotronHasNoGate() throws {
        var base = SyntheticBase("nemotron_h", names: [])
        for expert in 0..<3 {
            let front = "backbone.layers.1.mixer.experts.\(expert)"
            base.tensors.append((ExactString(front + ".up_proj.weight"), [12, 8]))
            base.tensors.append((ExactString(front + ".down_proj.weight"), [8, 12]))
        }
        let places = try base.wrapped("model.layers.1.mixer.experts", [(8, 12), (12, 8)])
        #expect(places.map(\.parameter) == ["down_proj", "up_proj"])
        #expect(places.map(\.shape) == [[3, 8, 12], [3, 12, 8]])
        #expect(places[1].pieces[2].tensor == "backbone.layers.1.mixer.experts.2.up_proj.weight")
        // Square: the order of registration alone tells.
        base.tensors = base.tensors.map { ($0.name, [8, 8]) }
        #expect(
            try base.wrapped("model.layers.1.mixer.experts", [(8, 8), (8, 8)]).map(\.parameter)
                == ["down_proj", "up_proj"])
    }

    @Test(arguments: ["granitemoe", "granitemoeshared", "granitemoehybrid"])
    func graniteStoresItsExpertsUnderOtherNames(_ type: String) throws {
        let front = "model.layers.0.block_sparse_moe"
        let file = SyntheticBase(
            type,
            [
                front + ".input_linear.weight": [2, 24, 8], front + ".output_linear.weight": [2, 8, 12],
                front + ".router.layer.weight": [2, 8],
            ])
        let places = try file.wrapped(front + ".experts", [(8, 12), (24, 8)])
        #expect(places.map(\.parameter) == ["down_proj", "gate_up_proj"])
        #expect(
            places.map(\.pieces[1].tensor.text) == [front + ".output_linear.weight", front + ".input_linear.weight"])
        #expect(try file.wrapped(front + ".router", [(2, 8)])[0].shape == [2, 8])
        // Version 4's own parameter, on version 5's file.
        let new = SyntheticBase(
            type, [front + ".experts.gate_up_proj": [2, 24, 8], front + ".experts.down_proj": [2, 8, 12]])
        var older = new
        older.peftVersion = nil
        let place = try older.wrapped(front + ".input_linear", [(8, 24)])[0]
        #expect(place.pieces[1].tensor.text == front + ".experts.gate_up_proj")
        #expect(place.updateTransposed)
    }

    /// The hub's file has both stacks transposed; a file of version 5 under its own names has not. Either is told from
    /// the pair, even where both are square.
    @Test(arguments: [(m: 12, h: 8), (m: 8, h: 8), (m: 4, h: 8)]) func qwen3VLMoeLiesTransposed(
        _ size: (m: Int, h: Int)
    ) throws {
        let (m, h) = size
        let container = "model.language_model.layers.0.mlp.experts"
        let hub = SyntheticBase(
            "qwen3_vl_moe", [container + ".gate_up_proj": [2, h, 2 * m], container + ".down_proj": [2, m, h]])
        let own = SyntheticBase(
            "qwen3_vl_moe", [container + ".gate_up_proj": [2, 2 * m, h], container + ".down_proj": [2, h, m]])
        for (base, transposed) in [(hub, true), (own, false)] {
            let places = try base.wrapped(container, [(h, m), (2 * m, h)])
            #expect(places.map(\.parameter) == ["down_proj", "gate_up_proj"])
            #expect(places.map(\.shape) == [[2, h, m], [2, 2 * m, h]])
            #expect(places.allSatisfy { $0.pieces.allSatisfy { $0.transposed == transposed } })
            #expect(places.allSatisfy { !$0.updateTransposed })
            #expect(places[1].pieces[1].rows == 0..<2 * m)
        }
        // Version 4 held them as the hub does, and PEFT before 0.19 transposed: the same update.
        var older = hub
        older.peftVersion = "0.18.1"
        #expect(try older.wrapped(container, [(h, m), (2 * m, h)]).allSatisfy { !$0.updateTransposed })
    }

    /// Square experts: only the version of PEFT says which way round the update lies, unless a sibling is not square.
    @Test(
        arguments: [
            (type: "gpt_oss", version: "0.17.1" as String?, transposed: true), ("gpt_oss", nil, true),
            ("gpt_oss", "0.18.2.dev0", true), ("gpt_oss", "0.19.0", false), ("gpt_oss", "0.19.1", true),
            ("gpt_oss", "0.21.2", true), ("openai_privacy_filter", "0.21.2", true), ("llama4_text", nil, true),
            ("llama4_text", "0.18.0", true), ("llama4_text", "0.19.0", true), ("llama4_text", "0.19.1.dev0", false),
            ("llama4_text", "0.21.2", false), ("mixtral", "0.21.2", false), ("mixtral", "0.18.0", true),
            ("qwen2_moe", "1.0.0", false), ("gpt_oss", "1.0", true),
        ] as [(type: String, version: String?, transposed: Bool)])
    func squareExpertsByVersion(_ row: (type: String, version: String?, transposed: Bool)) throws {
        var base = SyntheticBase(row.type, ["model.layers.0.mlp.experts.down_proj": [3, 16, 16]])
        base.peftVersion = row.version
        #expect(
            try base.wrapped("model.layers.0.mlp.experts", [(16, 16)])[0].updateTransposed == row.transposed,
            "\(row.type) \(row.version ?? "none")")
    }

    @Test func aSiblingThatIsNotSquareSettlesTheOrientation() throws {
        let container = "model.layers.0.mlp.experts"
        var base = SyntheticBase(
            "gpt_oss", [container + ".gate_up_proj": [3, 16, 32], container + ".down_proj": [3, 16, 16]])
        base.peftVersion = "0.21.2"
        // A library without the mark: B·A lies as the parameter does.
        #expect(try base.wrapped(container, [(16, 16), (16, 32)]).map(\.updateTransposed) == [false, false])
        #expect(try base.wrapped(container, [(16, 16), (32, 16)]).map(\.updateTransposed) == [true, true])
    }

    @Test func ariaHoldsItsExpertsInOut() throws {
        var base = SyntheticBase("aria", ["language_model.model.layers.0.mlp.experts.fc2.weight": [3, 16, 16]])
        let module = "model.language_model.layers.0.mlp.experts.fc2"
        base.targetParameters = ["experts.fc2.weight"]
        #expect(try base.wrapped(module, [(16, 16)])[0].updateTransposed)
        base.peftVersion = "0.19.0"
        #expect(try base.wrapped(module, [(16, 16)])[0].updateTransposed == false)
    }

    @Test func routersArePlainMatrices() throws {
        for (type, memory, file) in [
            ("qwen3_moe", "model.layers.0.mlp.gate", "model.layers.0.mlp.gate"),
            ("mixtral", "model.layers.0.mlp.gate", "model.layers.0.block_sparse_moe.gate"),
            ("phimoe", "model.layers.0.mlp.router", "model.layers.0.block_sparse_moe.gate"),
            ("gpt_oss", "model.layers.0.mlp.router", "model.layers.0.mlp.router"),
            ("llama4_text", "model.layers.0.feed_forward.router", "model.layers.0.feed_forward.router"),
        ] {
            var base = SyntheticBase(type, ["\(file).weight": [4, 16], "\(file).bias": [4]])
            for version in [nil, "0.19.0", "0.21.2"] {
                base.peftVersion = version
                let place = try base.wrapped(memory, [(4, 16)])[0]
                #expect(
                    place.parameter == "weight"
                        && place.pieces == [ParameterPiece(rows: 0..<4, tensor: ExactString(file + ".weight"))])
                #expect(!place.updateTransposed)
            }
            // A router of as many experts as the model is wide is square and still not transposed.
            base.tensors[0].shape = [16, 16]
            #expect(try base.wrapped(memory, [(16, 16)])[0].updateTransposed == false)
        }
    }

    @Test func oneWrapperIsToldByTargetOrShape() throws {
        let container = "model.layers.0.mlp.experts"
        var base = SyntheticBase(
            "qwen3_moe", [container + ".gate_up_proj": [2, 24, 8], container + ".down_proj": [2, 8, 12]])
        #expect(try base.wrapped(container, [(24, 8)])[0].parameter == "gate_up_proj")
        #expect(try base.wrapped(container, [(8, 12)])[0].parameter == "down_proj")
        base.tensors = base.tensors.map { ($0.name, [2, 8, 8]) }
        let error = #expect(throws: PeftfileError.self) { try base.wrapped(container, [(8, 8)]) }
        #expect(error?.rule == "WrappedParameters")
        base.targetParameters = ["experts.down_proj"]
        #expect(try base.wrapped(container, [(8, 8)])[0].parameter == "down_proj")
        base.targetParameters = ["mlp.experts.gate_up_proj"]
        #expect(try base.wrapped(container, [(8, 8)])[0].parameter == "gate_up_proj")
    }

    @Test func biasesOfExpertsMayBeWrappedToo() throws {
        let container = "model.layers.0.mlp.experts"
        var base = SyntheticBase(
            "gpt_oss",
            [
                container + ".gate_up_proj": [2, 16, 32], container + ".gate_up_proj_bias": [2, 32],
                container + ".down_proj": [2, 16, 16], container + ".down_proj_bias": [2, 16],
            ])
        base.targetParameters = ["experts.gate_up_proj", "experts.gate_up_proj_bias", "experts.down_proj"]
        let places = try base.wrapped(container, [(16, 16), (2, 32), (32, 16)])
        #expect(places.map(\.parameter) == ["down_proj", "gate_up_proj_bias", "gate_up_proj"])
        #expect(places.map(\.updateTransposed) == [true, false, true])
    }

    /// A parser that knows nothing of wrappers asks for the module's weight.
    @Test func anUpdateOfAModuleWithoutWeightIsItsWrapper() throws {
        let base = SyntheticBase("qwen3_moe", ["model.layers.0.mlp.experts.gate_up_proj": [2, 24, 8]])
        let request = ParameterRequest(module: "model.layers.0.mlp.experts", parameter: .weight, update: (24, 8))
        let place = try #require(try base.resolver.resolve([request])[request])
        #expect(place.parameter == "gate_up_proj" && place.pieces.count == 2)
    }

    @Test func incompleteExpertsAreRefused() {
        let row = Self.rows[0]
        var base = row.apart("qwen3_moe")
        base.tensors.removeAll { $0.name == "model.layers.1.mlp.experts.1.up_proj.weight" }
        #expect(throws: PeftfileError.self) { try base.wrapped(row.memory, [(24, 8)]) }
        base = row.apart("qwen3_moe")
        base.tensors[3].shape = [10, 8]
        base.tensors[4].shape = [10, 8]
        let error = #expect(throws: PeftfileError.self) { try base.wrapped(row.memory, [(24, 8)]) }
        #expect(error?.rule == "UnequalExperts")
    }

    @Test func aKernelIsNoStack() throws {
        let base = SyntheticBase(
            "whisper", ["model.encoder.conv1.weight": [16, 8, 3], "model.encoder.conv2.weight": [8, 8, 1]])
        for (module, rows, columns) in [("model.encoder.conv1", 16, 24), ("model.encoder.conv2", 8, 8)] {
            let request = ParameterRequest(
                module: ExactString(module), parameter: .weight, update: (rows: rows, columns: columns))
            let place = try #require(try base.resolver.resolve([request])[request])
            #expect(place.pieces == [ParameterPiece(rows: 0..<rows, tensor: ExactString(module + ".weight"))])
            #expect(!place.updateTransposed)
        }
    }
}

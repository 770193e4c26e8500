import Peftfile
import TestSupport
import Testing

/// Uni-LoRA's indices are dealt over modules that no tensor names. The sums are what PEFT 0.21.2 adds (`merge_and_unload` in float64)
/// to a model of these modules with θ = 1, −2, 3, 4, −5, 6, 7, `r` 2 and seed 42.
@Suite struct DealtIndexTests {
    static let projection: [Double] = [
        -2.7888543366328413, 4.472135901451111, -6.1304950591729686, -4.7639318816412235, -0.588854389317568, -0.4472135901451111,
        0.46950478277285157, 10.63606774956569, 3.3999999185781498, -4.447213494354699, 6.199999851524861, -2.599999937736232,
        5.999999856314382, -8.683281397185048, 11.999999712628764, 2.3999999425257528,
    ]
    static let head: [Double] = [
        9.35278617516838, 6.61114543825969, -1.7304951645424218, 6.436067850145623, 6.199999851524861, 7.199999827577258,
        4.999999880261985, -0.5999999856314382, 4.7999998850515055, 5.999999856314382, 4.7999998850515055, -1.1999999712628764,
        6.7999998371562995, 9.599999770103011, 9.199999779682052, -3.599999913788629, -6.7999998371562995, -5.199999875472464,
        0.3999999904209588, -3.999999904209588,
    ]

    private func model(_ names: (projection: ExactString, embedding: ExactString), config: String, targets: String) throws -> SmallModel {
        let model = try SmallModel()
        try model.base(
            [
                SmallTensor(name: names.projection, shape: [4, 4], values: [Double](repeating: 0, count: 16), dtype: .f32),
                SmallTensor(name: names.embedding, shape: [5, 4], values: [Double](repeating: 1, count: 20), dtype: .f32),
            ], config: config)
        try model.adapter(
            [SmallTensor(name: "unilora_theta_d", shape: [7], values: [1, -2, 3, 4, -5, 6, 7], dtype: .f32)], peftType: "UNILORA",
            shared: #""r": 2, "theta_d_length": 7, "proj_seed": 42, "target_modules": \#(targets)"#)
        return model
    }

    private func expect(_ numbers: [Double], _ expected: [Double], sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(
            numbers.count == expected.count && zip(numbers, expected).allSatisfy { abs($0 - $1) < 2e-6 }, "\(numbers)",
            sourceLocation: sourceLocation)
    }

    /// A head without a tensor of its own is a module, and is dealt indices behind the model's.
    @Test(arguments: [#"["q_proj", "lm_head"]"#, #"".*(q_proj|lm_head)""#]) func aTiedHead(_ targets: String) throws {
        let model = try model(
            ("model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight"),
            config: #"{"model_type": "llama", "tie_word_embeddings": true, "architectures": ["LlamaForCausalLM"]}"#, targets: targets)
        let merged = try model.merged()
        expect(try merged.numbers("model.layers.0.self_attn.q_proj.weight"), Self.projection)
        expect(try merged.numbers("lm_head.weight"), Self.head.map { $0 + 1 })
        #expect(try merged.numbers("model.embed_tokens.weight") == [Double](repeating: 1, count: 20))
    }

    /// Names of target_modules that are those of memory, and others on disk; the head is registered last in both.
    @Test(arguments: [#"["q_proj", "classifier"]"#, #"["query", "classifier"]"#]) func namesInMemoryAndOnDisk(_ targets: String) throws {
        let name = ExactString("vit.encoder.layer.0.attention.attention.query.weight")
        let model = try model(
            (name, "classifier.weight"), config: #"{"model_type": "vit"}"#,
            targets: targets)
        let merged = try model.merged()
        expect(try merged.numbers(name), Self.projection)
        expect(try merged.numbers("classifier.weight"), Self.head.map { $0 + 1 })
    }

    /// A type that transformers may rename: dory's `gate_proj` of memory is `g_proj` on disk, and to overlook it would shift all others.
    @Test(arguments: [#"{"model_type": "dory"}"#, #"{"model_type": "newtype"}"#, #"{"model_type": "llama", "text_config": {"model_type": "newtype"}}"#, "{}"])
    func aTypeWhoseNamesAreNotKnown(_ config: String) throws {
        let names: (ExactString, ExactString) = ("model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight")
        #expect(try model(names, config: config, targets: #"["q_proj"]"#).refusal() == "TargetModules")
    }

    /// What fits neither, or both with different modules, is not guessed.
    @Test func namesThatFitNeither() throws {
        let names: (ExactString, ExactString) = ("vit.encoder.layer.0.attention.attention.query.weight", "classifier.weight")
        #expect(try model(names, config: #"{"model_type": "vit"}"#, targets: #"["q_prj"]"#).refusal() == "TargetModules")
        #expect(try model(names, config: #"{"model_type": "bert"}"#, targets: #"["q_prj"]"#).refusal() == "MissingTarget")
    }
}

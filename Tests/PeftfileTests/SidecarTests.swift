import Peftfile
import TestSupport
import Testing

/// The files beside merged weights: what is taken from where, and what never comes along.
@Suite struct SidecarTests {
    private typealias T = SmallModel

    private func model(config: String) throws -> SmallModel {
        let model = try SmallModel()
        try model.base([T.tensor("q.weight", [4, 4], seed: 1)], config: config)
        try model.adapter([T.tensor("q.lora_A.weight", [2, 4], seed: 2), T.tensor("q.lora_B.weight", [4, 2], seed: 3)],
            config: #""base_model_name_or_path": "org/name""#)
        for (name, text) in [
            ("tokenizer.json", "base"), ("tokenizer_config.json", "base"), ("merges.txt", "base"),
            ("generation_config.json", "base"), ("LICENSE", "base"), ("modeling_x.py", "base"),
            ("pytorch_model.bin", "never"), ("model.gguf", "never"), (".gitattributes", "never"), ("notes.txt", "left"),
            ("README.md", "---\nlicense: mit\n---\n"),
        ] { try model.directory.write(text, to: "base/\(name)") }
        try FileSystem.makeDirectory(model.directory.path("base/additional_chat_templates"))
        try model.directory.write("base", to: "base/additional_chat_templates/tool.jinja")
        for (name, text) in [
            ("tokenizer.json", "adapter"), ("chat_template.jinja", "adapter"), ("optimizer.pt", "never"),
            ("README.md", "adapter"),
        ] { try model.directory.write(text, to: "adapter/\(name)") }
        return model
    }

    @Test func filesComeFromTheAdapterFirstThenFromTheBase() throws {
        let model = try model(config: #"{"model_type": "llama", "extra": 1.50, "tie_word_embeddings": false}"#)
        _ = try model.merged()
        func text(_ name: String) throws -> String { try TestFile.text(model.directory.path("out/\(name)")) }
        #expect(try text("tokenizer.json") == "adapter")
        #expect(try text("chat_template.jinja") == "adapter")
        #expect(try text("tokenizer_config.json") == "base")
        #expect(try text("additional_chat_templates/tool.jinja") == "base")
        #expect(try text("LICENSE") == "base")
        #expect(try text("README.md").contains("base_model: org/name"))
        #expect(try text("README.md").contains("license: mit"))
        // Number text and key order of the base's config are kept.
        #expect(try text("config.json") == "{\n  \"model_type\": \"llama\",\n  \"extra\": 1.50,\n  \"tie_word_embeddings\": false\n}\n")
        #expect(
            try FileSystem.list(model.directory.path("out")) == [
                "LICENSE", "README.md", "additional_chat_templates", "chat_template.jinja", "config.json",
                "generation_config.json", "merges.txt", "model.safetensors", "peftfile-receipt.json", "tokenizer.json",
                "tokenizer_config.json",
            ])
    }

    @Test func pythonModulesComeAlongWhereTheConfigNamesThem() throws {
        let model = try model(config: #"{"auto_map": {"AutoModel": "modeling_x.X"}, "tie_word_embeddings": false}"#)
        _ = try model.merged()
        #expect(FileSystem.exists(model.directory.path("out/modeling_x.py")))
    }

    @Test func whatIsLeftBehindIsNamed() throws {
        let model = try model(config: #"{"tie_word_embeddings": false}"#)
        let plan = try RewritePlan.merge(model.binding())
        #expect(plan.warnings.contains { $0.contains("modeling_x.py") && $0.contains("notes.txt") })
        #expect(!plan.warnings.contains { $0.contains("gguf") || $0.contains("gitattributes") })
    }
}

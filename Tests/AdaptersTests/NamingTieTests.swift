import Adapters
import ByteAccess
import Testing

/// Parameters that files store once, under the name of another.
@Suite struct NamingTieTests {
    struct Row: CustomTestStringConvertible {
        let type: String
        /// The module on disk, and the modules that read it.
        let stored: String
        let absent: [String]
        var architecture = "XForCausalLM"
        var testDescription: String { "\(type): \(absent.joined(separator: ", ")) = \(stored)" }
    }

    static let rows: [Row] = [
        Row(type: "llama", stored: "model.embed_tokens", absent: ["lm_head"]),
        Row(type: "gemma2", stored: "model.embed_tokens", absent: ["lm_head"]),
        Row(type: "cohere2", stored: "model.embed_tokens", absent: ["lm_head"]),
        Row(type: "granite", stored: "model.embed_tokens", absent: ["lm_head"]),
        Row(type: "smollm3", stored: "model.embed_tokens", absent: ["lm_head"]),
        Row(type: "qwen3_5", stored: "model.language_model.embed_tokens", absent: ["lm_head"]),
        Row(type: "gpt2", stored: "transformer.wte", absent: ["lm_head"], architecture: "GPT2LMHeadModel"),
        Row(type: "mpt", stored: "transformer.wte", absent: ["lm_head"]),
        Row(type: "bloom", stored: "transformer.word_embeddings", absent: ["lm_head"]),
        Row(type: "falcon", stored: "transformer.word_embeddings", absent: ["lm_head"]),
        Row(type: "mamba2", stored: "backbone.embeddings", absent: ["lm_head"]),
        Row(type: "whisper", stored: "model.decoder.embed_tokens", absent: ["proj_out"]),
        Row(type: "opt", stored: "model.decoder.embed_tokens", absent: ["lm_head"]),
        Row(
            type: "bart", stored: "model.shared",
            absent: ["model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head"]),
        Row(type: "t5", stored: "shared", absent: ["encoder.embed_tokens", "decoder.embed_tokens", "lm_head"]),
        Row(type: "mt5", stored: "shared", absent: ["encoder.embed_tokens", "decoder.embed_tokens", "lm_head"]),
        Row(type: "roberta", stored: "roberta.embeddings.word_embeddings", absent: ["lm_head.decoder"]),
        Row(type: "xlm-roberta", stored: "roberta.embeddings.word_embeddings", absent: ["lm_head.decoder"]),
        Row(type: "esm", stored: "esm.embeddings.word_embeddings", absent: ["lm_head.decoder"]),
        Row(type: "xlnet", stored: "transformer.word_embedding", absent: ["lm_loss"]),
        Row(type: "electra", stored: "electra.embeddings.word_embeddings", absent: ["generator_lm_head"]),
        Row(type: "modernbert", stored: "model.embeddings.tok_embeddings", absent: ["decoder"]),
        Row(type: "bert", stored: "bert.embeddings.word_embeddings", absent: ["cls.predictions.decoder"]),
        Row(type: "distilbert", stored: "distilbert.embeddings.word_embeddings", absent: ["vocab_projector"]),
        Row(type: "albert", stored: "albert.embeddings.word_embeddings", absent: ["predictions.decoder"]),
        Row(type: "gpt_neox", stored: "gpt_neox.embed_in", absent: ["embed_out"]),
    ]

    @Test(arguments: rows) func absentNamesAreReadFromTheStoredOne(_ row: Row) throws {
        var base = SyntheticBase(row.type, names: [row.stored + ".weight"])
        base.tieWordEmbeddings = true
        base.architectures = [row.architecture]
        for module in row.absent {
            let request = ParameterRequest(module: ExactString(module), parameter: .weight, update: (6, 4))
            let place = try #require(try base.resolver.resolve([request])[request])
            #expect(place.pieces.map(\.tensor.text) == [row.stored + ".weight"])
            #expect(place.untiedName?.text == module + ".weight")
        }
        #expect(
            base.resolver.tiedPartners(of: ExactString(row.stored + ".weight")).map(\.text)
                == row.absent.map { $0 + ".weight" })
        // The stored side itself is not at the far end of a tie.
        let own = ParameterRequest(module: ExactString(row.stored), parameter: .weight)
        #expect(try base.resolver.resolve([own])[own]?.untiedName == nil)
    }

    @Test func theHeadOfALLaVAFileHasItsOwnFront() throws {
        var base = SyntheticBase(
            "gemma3", names: ["language_model.model.embed_tokens.weight", "language_model.model.layers.0.q.weight"])
        base.tieWordEmbeddings = true
        let request = ParameterRequest(module: "lm_head", parameter: .weight)
        for others in [[], ["model.language_model.layers.0.q"]] {
            let requests = [request] + others.map { ParameterRequest(module: ExactString($0), parameter: .weight) }
            let place = try #require(try base.resolver.resolve(requests)[request])
            #expect(place.pieces.map(\.tensor) == ["language_model.model.embed_tokens.weight"])
            #expect(place.untiedName == "language_model.lm_head.weight")
        }
        #expect(
            base.resolver.tiedPartners(of: "language_model.model.embed_tokens.weight")
                == ["language_model.lm_head.weight"])
    }

    @Test func theHeadOfAFileOfTheBareModel() throws {
        var base = SyntheticBase("gpt2", names: ["wte.weight", "h.0.attn.c_attn.weight"])
        base.architectures = ["GPT2LMHeadModel"]
        let requests = ["lm_head", "transformer.h.0.attn.c_attn"].map {
            ParameterRequest(module: ExactString($0), parameter: .weight)
        }
        let places = try base.resolver.resolve(requests)
        #expect(places[requests[0]]?.pieces.map(\.tensor) == ["wte.weight"])
        #expect(places[requests[0]]?.untiedName == "lm_head.weight")
        #expect(base.resolver.tiedPartners(of: "wte.weight") == ["lm_head.weight"])
        base.architectures = ["GPT2Model"]
        #expect(base.resolver.tiedPartners(of: "wte.weight").isEmpty)
    }

    @Test func anUntiedModelHasNoPartners() {
        var base = SyntheticBase("llama", names: ["model.embed_tokens.weight"])
        base.tieWordEmbeddings = false
        #expect(base.resolver.tiedPartners(of: "model.embed_tokens.weight").isEmpty)
        #expect(throws: PeftfileError.self) { try base.tensor(of: "lm_head") }
    }

    /// encoder and decoder read the shared embedding whatever the config says of the head (T5 v1.1).
    @Test func sharedEmbeddingsStayTiedWithoutTheHead() throws {
        var base = SyntheticBase("t5", names: ["shared.weight", "lm_head.weight"])
        base.tieWordEmbeddings = false
        #expect(try base.tensor(of: "encoder.embed_tokens") == "shared.weight")
        #expect(try base.tensor(of: "lm_head") == "lm_head.weight")
        #expect(
            base.resolver.tiedPartners(of: "shared.weight")
                == ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"])
    }

    @Test func aStoredHeadIsAPartnerOnlyWhereTheConfigSaysSo() {
        var base = SyntheticBase("llama", names: ["model.embed_tokens.weight", "lm_head.weight"])
        #expect(base.resolver.tiedPartners(of: "model.embed_tokens.weight").isEmpty)
        base.tieWordEmbeddings = true
        #expect(base.resolver.tiedPartners(of: "model.embed_tokens.weight") == ["lm_head.weight"])
        #expect(base.resolver.tiedPartners(of: "lm_head.weight") == ["model.embed_tokens.weight"])
    }

    @Test func headBiasesAreTiedToo() throws {
        let base = SyntheticBase(
            "roberta", ["lm_head.bias": [40], "roberta.embeddings.word_embeddings.weight": [40, 4]])
        let request = ParameterRequest(module: "lm_head.decoder", parameter: .bias)
        #expect(try base.resolver.resolve([request])[request]?.pieces.map(\.tensor) == ["lm_head.bias"])
    }

    @Test func aNameOfItsOwnGoesBeforeATie() throws {
        let names = ["language_model.model.embed_tokens.weight", "language_model.lm_head.weight"]
        let base = SyntheticBase("llava", names: names)
        #expect(try base.tensor(of: "lm_head") == names[1])
        #expect(try base.tensor(of: "model.language_model.embed_tokens") == names[0])
    }
}

@testable import Adapters
import ByteAccess
import Checkpoints
import TestSupport
import Testing

/// Names of bases that say 4 bits, and what is asked on a base that is stored otherwise.
@Suite struct QuantisationHintTests {
    @Test(arguments: [
        ("unsloth/llama-3-8b-bnb-4bit", "bitsandbytes"), ("x/Llama-nf4", "bitsandbytes"), ("x/L-FP4", "bitsandbytes"), ("x/L-GPTQ", "gptq"),
        ("x/L-GPTQ-Int4", "gptq"), ("x/L-AWQ", "awq"), ("nvidia/L-NVFP4", "nvfp4"), ("openai/gpt-mxfp4", "mxfp4"),
    ]) func namesOfASchemeIn4Bits(_ name: String, _ scheme: String) {
        #expect(QuantisationHint.scheme(named: name) == .some(.some(scheme)))
    }

    @Test(arguments: ["mlx-community/L-4bit", "x/L-Q4_K_M-GGUF", "x/L-q4_0", "x/L-4.0bpw-exl2", "x/L-4-bit", "x/L-int4", "x/L-w4a16"])
    func namesThatLeaveTheSchemeOpen(_ name: String) {
        let scheme = QuantisationHint.scheme(named: name)
        #expect(scheme != nil && scheme! == nil)
    }

    @Test(arguments: ["x/L-GPTQ-Int8", "x/Llama-gptq-8bit", "x/L-64bit", "x/Llama-14bit", "x/hawq-7b", "meta-llama/Llama-3-8B", "Qwen/Qwen3-4B"])
    func otherNames(_ name: String) {
        #expect(QuantisationHint.scheme(named: name) == nil)
    }

    /// FP8(W) is not NF4(W): an adapter that was trained in NF4 asks there as it does on 16 bits, and not on NF4.
    @Test(arguments: [("fp8-block128", true), ("bnb-int8", true), ("gptq-8bit", true), ("bnb-nf4", false), ("bnb-nf4-double-quant", false)])
    func aBaseThatIsQuantisedOtherwise(_ name: String, _ asks: Bool) throws {
        let adapter = try Adapter(path: Fixtures.path("quantised/qlora-nf4/adapter"))
        let base = try Checkpoint.open(Fixtures.path("quantised/\(name)/base"))
        do {
            _ = try BaseValues.unspecified.applied(to: base, adapters: [adapter])
            #expect(!asks)
        } catch let error as PeftfileError {
            #expect(asks && error.rule == "BaseAs" && error.help?.contains("--base-as stored") == true)
        }
        _ = try BaseValues.stored.applied(to: base, adapters: [adapter])
    }

    /// What is asked comes after what no answer could mend.
    @Test(arguments: [("refuse-unknown-method", "UnknownScheme"), ("refuse-gptq-marlin", "UnsupportedPacking")])
    func aBaseThatCannotBeRead(_ name: String, _ rule: String) throws {
        let adapter = try Adapter(path: Fixtures.path("quantised/qlora-nf4/adapter"))
        let base = try Checkpoint.open(Fixtures.path("quantised/\(name)/base"))
        let error = #expect(throws: PeftfileError.self) { _ = try BaseValues.unspecified.applied(to: base, adapters: [adapter]) }
        #expect(error?.rule == rule && error?.tensor != nil)
    }

    /// The titles of the schemes that hold 4 bits, some of them among other widths.
    @Test(arguments: [
        (nil, "MLX affine, 4 and 8 bits", true), (nil, "MLX affine, 2, 4, 5 and 6 bits", true), (nil, "MLX affine, 8 bits", false),
        (nil, "AWQ gemm", true), (nil, "bitsandbytes LLM.int8", false), ("gptq", "compressed-tensors pack-quantized, 4 bits", true),
        ("gptq", "compressed-tensors float-quantized, 8 bits", false), ("bitsandbytes", "GPTQ, 4 bits", false),
        ("bitsandbytes", "bitsandbytes LLM.int8", false), ("bitsandbytes", "bitsandbytes NF4, blocks of 64", true), ("mxfp4", "MXFP4", true),
    ] as [(String?, String, Bool)]) func schemesThatMeetAHint(_ scheme: String?, _ stored: String, _ isMet: Bool) {
        #expect(QuantisationHint(reason: "", scheme: scheme).isMet(byScheme: stored) == isMet)
    }

    /// What the message asks for is not refused by the next: a config that says how its base was held.
    @Test func aConfigThatSaysHowTheBaseWasHeld() throws {
        let text = #"{"peft_type": "LORA", "quantization_config": {"load_in_4bit": true, "bnb_4bit_use_double_quant": true}, "future": 1}"#
        let config = try AdapterConfig(json: try #require(try JSONValue.parse(Array(text.utf8), file: nil).objectValue), path: "adapter_config.json")
        #expect(config.unknownKeys(beside: []).map(\.text) == ["future"])
    }
}

import ByteAccess
import Containers
import Tensors

/// Whether the factors of GPT-2's Conv1D layers in a llama.cpp adapter are turned.
///
/// A Conv1D's weight is (in, out), and GGUF has (out, in): convert_hf_to_gguf.py transposes `c_attn`, `c_proj` and `c_fc`. The
/// adapters' converter sends PEFT's pair through the same lines, although B·A is (out, in) already, and transposes it as Aᵀ·Bᵀ: its
/// lora_a is Bᵀ (r, out), its lora_b Aᵀ (in, r). llama.cpp checks both against the model and loads no such file, but for layers that
/// are square, whose update it adds the wrong way round.
///
/// The layers that are not square tell: attn_qkv and ffn_up have more outputs than inputs, ffn_down fewer, and one converter wrote
/// all of them. A file of this project that says in its metadata how the base holds square matrices is never turned.
///
/// Source: `GPT2Model.modify_tensors` in convert_hf_to_gguf.py, `LoraTorchTensor.transpose` in convert_lora_to_gguf.py,
/// `llama_adapter_lora_init_impl` in src/llama-adapter.cpp of ggml-org/llama.cpp.
struct ConvertedConv1D {
    private(set) var isTurned = false
    /// Why it cannot be told.
    private(set) var problem: PeftfileError?

    private static let layers = ["attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight"]

    /// Whether a tensor of the model is a Conv1D.
    static func concerns(_ name: String) -> Bool { layers.contains { name.hasSuffix("." + $0) } }

    /// Whether how the factors lie is a question of the file, which `--square-orientation` then answers, and not how the base's matrices do.
    static func mayConcern(_ file: DialectFile) -> Bool {
        file.gguf?.value("general.architecture")?.stringValue == "gpt2" && file.gguf?.value(SquareOrientation.key) == nil
    }

    init(_ file: DialectFile, options: BindingOptions) {
        guard ConvertedConv1D.mayConcern(file) else { return }
        var inputs: [String: Int] = [:]
        var outputs: [String: Int] = [:]
        var first: ExactString?
        for info in file.tensors where info.shape.count == 2 {
            for (leaf, isA) in [(".lora_a", true), (".lora_b", false)] where info.name.text.hasSuffix(leaf) {
                let name = String(info.name.text.dropLast(leaf.count))
                guard ConvertedConv1D.concerns(name) else { continue }
                if isA { inputs[name] = info.shape[1] } else { outputs[name] = info.shape[0] }
                if first == nil { first = info.name }
            }
        }
        guard let first else { return }
        var votes: Set<Bool> = []
        for (name, input) in inputs {
            guard let output = outputs[name], input != output else { continue }
            votes.insert(name.hasSuffix("ffn_down.weight") ? output > input : input > output)
        }
        if votes.count == 1, let vote = votes.first {
            isTurned = vote
            if let told = options.squareOrientation, (told == .inOut) != vote {
                problem = file.refusal(
                    "--square-orientation says \(told.rawValue), and the factors of its layers that are not square are \(vote ? "" : "not ")turned", first,
                    rule: "SquareOrientation", help: "leave the option out")
            }
        } else if votes.count == 2 {
            problem = file.refusal(
                "its lora_a and lora_b are turned in some of GPT-2's Conv1D layers and not in others", first, rule: "FactorShape",
                help: "convert the adapter again from its PEFT directory: peftfile convert ADAPTER -o OUT --to gguf")
        } else if let told = options.squareOrientation {
            isTurned = told == .inOut
        } else {
            problem = file.refusal(
                "adapts square Conv1D layers alone, whose factors llama.cpp's converter turns and llama.cpp does not, and nothing tells which this is",
                first, rule: "SquareOrientation",
                help: "say how the factors take the matrices: --square-orientation in-out for a file of llama.cpp's converter, out-in for what llama.cpp adds")
        }
    }
}

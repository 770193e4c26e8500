import ByteAccess
import Containers

/// Weights stored as a Python pickle.
struct PickleWeights: CheckRule {
    let id = "pickle"
    let family = RuleFamily.security
    let severity = Severity.error
    let summary = "The weights are a Python pickle, by content whatever the name."
    let protectsFrom = """
        Code in the file: unpickling calls what the file names. torch.load(weights_only=True) is the default only since torch \
        2.6, and vLLM, llama.cpp and mlx-lm read no pickled adapters at all. PEFT loads adapter_model.bin where no safetensors \
        file is (load_peft_weights in peft/utils/save_and_load.py).
        """

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let file = subject.weights.file, let reader = try? FileReader(path: file),
            try !ContainerKind.hasSafetensorsOutline(reader), let kind = try ForeignFile.identify(reader)
        else { return [] }
        switch kind {
        case .torch, .pickle: break
        default: return []
        }
        return [
            finding(
                "the weights are a Python pickle, which can run code when it is loaded"
                    + (subject.weights.error.map { "; this one cannot be read: \($0.message)" } ?? ""), file: file,
                help: "where you trust its origin, load it with PEFT and save it with "
                    + "save_pretrained(..., safe_serialization=True)")
        ]
    }
}

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
        2.6; PEFT, vLLM and llama.cpp's converter load adapter_model.bin where no safetensors file is (load_peft_weights in \
        peft/utils/save_and_load.py, from_local_checkpoint in vllm/lora/lora_model.py), and mlx-lm reads none.
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
                help: subject.weights.error == nil
                    ? "write it as safetensors; nothing of it is run: peftfile convert \(subject.path.shellQuoted) -o converted --to peft"
                    : advice(subject.weights.error))
        ]
    }

    /// What the reader of the pickle knows to do beside what the finding says already; else to save it again.
    private func advice(_ error: PeftfileError?) -> String {
        let said = ["it may be made to run code", "nothing of it was run"]
        let known = error?.rule == "PickleGlobal" ? error?.help?.split(separator: "; ").map(String.init).filter { !said.contains($0) } ?? [] : []
        return known.isEmpty ? "fetch or save it again, with save_pretrained(..., safe_serialization=True)" : known.joined(separator: "; ")
    }
}

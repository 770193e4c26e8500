import ByteAccess

/// What a trainer left behind.
struct TrainingLeftovers: CheckRule {
    let id = "training-leftovers"
    let family = RuleFamily.directory
    let severity = Severity.warning
    let summary = "Files of the training run lie beside the adapter."
    let protectsFrom = """
        optimizer.pt is twice the adapter's size, training_args.bin is a pickle that holds paths, names and tokens of the \
        training machine; no loader of adapters reads any of them (written by Trainer._save_checkpoint in transformers/trainer.py).
        """

    private static let names: Set<String> = [
        "optimizer.pt", "optimizer.bin", "optimizer.safetensors", "scheduler.pt", "scaler.pt", "training_args.bin",
        "trainer_state.json", "latest", "zero_to_fp32.py", "pytorch_model_fsdp.bin",
    ]

    /// Whether a file of this name is one of a training run's.
    static func isFile(_ name: String) -> Bool {
        names.contains(name) || name.hasPrefix("rng_state") && name.hasSuffix(".pth") || name.hasPrefix("events.out.tfevents")
    }

    func findings(in subject: CheckSubject) throws -> [Finding] {
        let found = try subject.entries().filter { entry in
            let name = entry.fileName
            if entry.kind == .directory { return name.hasPrefix("global_step") || name.hasPrefix("optimizer_") }
            return TrainingLeftovers.isFile(name)
        }
        return found.map { entry in
            finding(
                "belongs to the training run, and no loader reads it", file: entry.path,
                help: "remove it before publishing: rm -r \(entry.path.shellQuoted)")
        }
    }
}

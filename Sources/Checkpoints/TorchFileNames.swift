/// The names of weights that are not safetensors, torch's before all, and what a rewrite calls the safetensors file that it
/// writes for one.
///
/// `pytorch_model.bin` becomes `model.safetensors` as in transformers (`WEIGHTS_NAME` and `SAFE_WEIGHTS_NAME` in
/// transformers/utils/__init__.py), and its shards and index likewise; other files keep their names and get another
/// ending.
public enum TorchFileNames {
    /// The endings that torch files have.
    public static let endings = [".bin", ".pt", ".pth", ".ckpt"]

    /// Whether a name has one of the endings.
    public static func hasEnding(_ name: String) -> Bool { endings.contains(where: name.hasSuffix) }

    /// The ending of NumPy's archives, in which MLX kept weights before it took up safetensors.
    public static let npzEnding = ".npz"

    /// Whether a file may hold weights by its name: safetensors, a torch file that is no state of a trainer, or NPZ.
    public static func mayBeWeights(_ name: String) -> Bool {
        name.hasSuffix(".safetensors") || name.hasSuffix(npzEnding) || hasEnding(name) && !isTrainingState(name)
    }

    /// Files beside a checkpoint that are torch files and no weights, by the names that trainers give them.
    public static func isTrainingState(_ name: String) -> Bool {
        let stems = ["training_args.", "optimizer.", "optimizer_", "scheduler.", "rng_state", "scaler.", "random_states", "sampler"]
        return stems.contains(where: name.hasPrefix)
    }

    /// The name of the safetensors file with the tensors of the file `name`.
    public static func safetensorsName(_ name: String) -> String {
        guard let ending = (endings + [npzEnding, ".gguf"]).first(where: name.hasSuffix) else { return name }
        return renamed(String(name.dropLast(ending.count))) + ".safetensors"
    }

    /// The name of the index over those files: `pytorch_model.bin.index.json`, with or without a variant, becomes
    /// `model.safetensors.index.json`.
    public static func safetensorsIndexName(_ name: String) -> String {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard let place = parts.lastIndex(of: "bin"), parts.dropFirst(place + 1).first == "index" else { return name }
        parts[place] = "safetensors"
        return renamed(parts.joined(separator: "."))
    }

    private static func renamed(_ name: String) -> String {
        let old = "pytorch_model"
        guard name.hasPrefix(old), [nil, "-", "."].contains(name.dropFirst(old.count).first) else { return name }
        return "model" + name.dropFirst(old.count)
    }
}

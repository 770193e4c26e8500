import Adapters
import ByteAccess
import Containers

/// The files of weights in a directory that no loader finds by their names: `my_style.safetensors`, `adapter.gguf`.
struct WeightFiles {
    /// What holds an adapter, and what cannot be read and so may: each is to be judged.
    private(set) var adapters: [String] = []
    /// What holds none: models, heads, values of other kinds.
    private(set) var others: [String] = []

    private static let containers = [".safetensors", ".gguf", ".npz"]
    private static let pickles = [".pt", ".pth", ".ckpt"]
    /// How the files of a model's own weights begin, as transformers and diffusers write them beside `config.json`.
    private static let modelNames = ["model", "pytorch_model", "diffusion_pytorch_model"]

    /// - Parameter isInside: whether the directory holds an adapter or lies below one: pickles there are that adapter's, and
    ///   `pickle-file` finds them.
    init(in directory: String, names: [String], isInside: Bool) {
        let own = AdapterDirectory.isAdapter(directory) ? AdapterDirectory.weights(in: directory).file : nil
        let isModel = own == nil && names.contains("config.json")
        for name in names {
            let path = FileSystem.join(directory, name)
            guard path != own, !(own != nil && name.hasPrefix("adapter_model")),
                WeightFiles.mayHoldWeights(path, name: name, isInside: isInside)
            else { continue }
            if isModel && WeightFiles.modelNames.contains(where: name.hasPrefix) || !WeightFiles.isToBeJudged(path) {
                others.append(path)
            } else {
                adapters.append(path)
            }
        }
    }

    /// By the name; by the content too where the name, as `.bin`, says little.
    private static func mayHoldWeights(_ path: String, name: String, isInside: Bool) -> Bool {
        // A link that leads nowhere stands for weights that are not there.
        guard [.regularFile, nil].contains(FileSystem.kind(of: path)) else { return false }
        let lower = name.lowercased()
        if TrainingLeftovers.isFile(name) { return false }
        if containers.contains(where: lower.hasSuffix) { return true }
        if isInside { return false }
        if pickles.contains(where: lower.hasSuffix) { return true }
        guard lower.hasSuffix(".bin"), let reader = try? FileReader(path: path), let kind = try? ForeignFile.identify(reader)
        else { return false }
        switch kind {
        case .torch, .pickle, .gitLFSPointer: return true
        default: return false
        }
    }

    private static func isToBeJudged(_ path: String) -> Bool {
        let subject = CheckSubject(path: path)
        return subject.weights.checkpoint == nil || Adapter.isAdapter(path) || !subject.holdsNoAdapter
    }
}

/// The names of GGUF files, whole and split, and what a rewrite calls the safetensors file that it writes for one.
///
/// A split model is `NAME-00001-of-00003.gguf` and so on (`llama_split_path` in src/llama.cpp of ggml-org/llama.cpp).
public enum GGUFFileNames {
    /// The usual ending of their names.
    public static let ending = ".gguf"

    /// The parts of a split file's name; nil for other names.
    static func split(_ name: String) -> (stem: String, number: Int, count: Int)? {
        guard name.hasSuffix(ending) else { return nil }
        let parts = name.dropLast(ending.count).split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[parts.count - 2] == "of", parts[parts.count - 1].utf8.count == 5,
            parts[parts.count - 3].utf8.count == 5, let number = Int(parts[parts.count - 3]), let count = Int(parts[parts.count - 1]),
            number > 0, number <= count
        else { return nil }
        return (parts.dropLast(3).joined(separator: "-"), number, count)
    }

    /// Whether a name is of a whole model, or of the first of a split model's files.
    static func isWhole(_ name: String) -> Bool { name.hasSuffix(ending) && split(name)?.number ?? 1 == 1 }

    /// The names of all files of the split model that a file belongs to.
    static func all(of name: String) -> [String] {
        guard let (stem, _, count) = split(name) else { return [name] }
        return (1...count).map { "\(stem)-\(padded($0))-of-\(padded(count))\(ending)" }
    }

    /// The name of the safetensors file with the tensors of the file `name` in a directory: the one that transformers looks for.
    static func safetensorsName(_ name: String) -> String {
        guard let (_, number, count) = split(name) else { return "model.safetensors" }
        return "model-\(padded(number))-of-\(padded(count)).safetensors"
    }

    private static func padded(_ number: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, 5 - text.count)) + text
    }
}

import ByteAccess

/// Finds the one checkpoint in a directory, by the names that transformers, diffusers and MLX give.
///
/// The names are looked at in this order, and the first group with a candidate decides:
///  1. `model.safetensors`, `model.safetensors.index.json`;
///  2. `diffusion_pytorch_model.safetensors` and its index;
///  3. variants of these: `model.fp16.safetensors`, `model.safetensors.index.fp16.json`;
///  4. every other `*.safetensors` and `*.safetensors.index.json`;
///  5. to 8. the same for torch files: `pytorch_model.bin` and `pytorch_model.bin.index.json`,
///     `diffusion_pytorch_model.bin`, variants, every other `*.bin`, `*.pt`, `*.pth`, `*.ckpt` that is no state of a
///     trainer. Loaders take these only where there is no safetensors file;
///  9. every `*.npz`;
///  10. every `*.gguf`; of a model that is split, the first part stands for all.
/// Files that an index of the same directory names as shards are no candidates of their own, and with several
/// candidates in the deciding group the directory is refused: a loader's silent choice is what we do not make.
package struct CheckpointDirectory {
    enum Choice: Hashable {
        case file(String)
        case index(String)

        var name: String {
            switch self {
            case .file(let name), .index(let name): name
            }
        }
    }

    private let path: String
    private let names: [String]

    init(_ path: String) throws {
        self.path = path
        names = try FileSystem.list(path)
    }

    func choice() throws -> Choice {
        let indexes = names.filter(Self.isIndex)
        let files = names.filter { name in
            !name.hasPrefix(".") && (TorchFileNames.mayBeWeights(name) || GGUFFileNames.isWhole(name))
        }
        for group in 1...10 {
            let groupIndexes = indexes.filter { Self.group(of: $0) == group }
            let candidates =
                groupIndexes.map(Choice.index)
                + files.filter { Self.group(of: $0) == group && Self.shardNumbers($0) == nil }.map(Choice.file)
            if candidates.isEmpty { continue }
            if candidates.count == 1 { return candidates[0] }
            // An index beside its own single shard, as MLX writes them: one checkpoint, not two.
            var shards: Set<ExactString> = []
            for index in groupIndexes {
                shards.formUnion(try ShardIndex.open(FileSystem.join(path, index)).shardNames.map { ExactString($0) })
            }
            let left = candidates.filter { !shards.contains(ExactString($0.name)) }
            guard left.count == 1 else { throw ambiguous(left) }
            return left[0]
        }
        throw nothingFound(files)
    }

    private func ambiguous(_ candidates: [Choice]) -> PeftfileError {
        IndexRule.ambiguousCheckpoint.broken(
            "holds more than one checkpoint: \(candidates.map(\.name).joined(separator: ", "))", file: path,
            help: "name the one that is meant, for example \(FileSystem.join(path, candidates[0].name).shellQuoted)")
    }

    private func nothingFound(_ files: [String]) -> PeftfileError {
        if let shard = files.first(where: { Self.shardNumbers($0) != nil }) {
            return IndexRule.missingIndex.broken(
                "holds \(shard) and no index", file: path,
                help: "fetch the index as well, or name one file")
        }
        if let parts = DistributedCheckpoint(at: path) { return parts.refusal(of: path) }
        let others = names.filter { name in
            (TorchFileNames.endings + [".h5", ".msgpack"]).contains(where: name.hasSuffix)
        }
        guard others.isEmpty else {
            return PeftfileError(
                .unsupported, "holds no safetensors file, only \(others.joined(separator: ", "))", file: path,
                help: "save it as safetensors, for example with save_pretrained(..., safe_serialization=True)")
        }
        return PeftfileError(
            .notFound, "holds no checkpoint", file: path,
            help: "a checkpoint is model.safetensors, or model.safetensors.index.json and its shards")
    }

    // MARK: Names

    private static let stems = ["model", "diffusion_pytorch_model"]
    private static let torchStems = ["pytorch_model", "diffusion_pytorch_model"]

    /// `STEM.safetensors.index.json`, or with a variant `STEM.safetensors.index.VARIANT.json`; `bin` for torch files.
    static func isIndex(_ name: String) -> Bool {
        guard name.hasSuffix(".json"), !name.hasPrefix(".") else { return false }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return ["safetensors", "bin"].contains { kind in
            parts.suffix(3).dropLast().elementsEqual([kind, "index"])
                || parts.suffix(4).dropLast().prefix(2).elementsEqual([kind, "index"])
        }
    }

    /// The group that decides about a name.
    private static func group(of name: String) -> Int {
        if name.hasSuffix(TorchFileNames.npzEnding) { return 9 }
        if name.hasSuffix(GGUFFileNames.ending) { return 10 }
        let isTorch = !name.hasSuffix(".safetensors") && !name.contains(".safetensors.index.")
        let (stems, ending) = isTorch ? (torchStems, "bin") : (stems, "safetensors")
        let first = isTorch ? 4 : 0
        for (number, stem) in stems.enumerated() where name == "\(stem).\(ending)" || name == "\(stem).\(ending).index.json" {
            return first + number + 1
        }
        return first + (stems.contains { name.hasPrefix("\($0).") } ? 3 : 4)
    }

    /// Whether a name is that of one of several shards, `...-00001-of-00004.safetensors` or a torch file named so.
    package static func isShard(_ name: String) -> Bool { shardNumbers(name).map { $0.count > 1 } ?? false }

    /// `NAME.safetensors` of `NAME-00001-of-00004.safetensors`, with how many shards there are; nil for other names.
    package static func whole(ofShard name: String) -> (name: String, count: Int)? {
        guard name.hasSuffix(".safetensors"), let count = shardNumbers(name)?.count, count > 1 else { return nil }
        let parts = name.dropLast(".safetensors".count).split(separator: "-", omittingEmptySubsequences: false)
        return (parts.dropLast(3).joined(separator: "-") + ".safetensors", count)
    }

    /// The numbers of `...-00001-of-00004.safetensors`, or of a torch file named so; nil for other names.
    static func shardNumbers(_ name: String) -> (number: Int, count: Int)? {
        guard let ending = ([".safetensors"] + TorchFileNames.endings).first(where: name.hasSuffix) else { return nil }
        let parts = name.dropLast(ending.count).split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[parts.count - 2] == "of", let number = Int(parts[parts.count - 3]),
            let count = Int(parts[parts.count - 1]), parts[parts.count - 1].utf8.count == 5
        else { return nil }
        return (number, count)
    }
}

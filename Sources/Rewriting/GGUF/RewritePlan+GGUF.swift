import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// The plan of a merge whose output is a GGUF file: the base's tensors in their order, under their names.
///
/// A tensor that no update reaches is copied, whatever its type. A tensor that one reaches keeps F32, F16, BF16 and Q8_0; for another
/// type the merge is refused unless `--dtype` says what to write. With `--dtype` every matrix is written in it, and with Q8_0 those that
/// an update reaches; vectors keep their type, since ggml computes with norms and biases in F32.
struct GGUFOutput {
    let binding: Binding
    let dtype: DType?
    let blocks: GGUFType?
    private let model: GGUFModel
    private let base: GGUFFile
    private var outputs: [ExactString: Binding.Output] = [:]

    init(_ binding: Binding, dtype: DType?, blocks: GGUFType?) throws {
        guard let model = binding.base.gguf, let file = binding.base.shards.first?.file as? GGUFFile else {
            throw PeftfileError(
                .refused, "is no GGUF model, and a merge writes GGUF from GGUF alone", file: binding.base.path, rule: "OutputForm",
                help: "merge into a directory, then convert that with convert_hf_to_gguf.py of llama.cpp")
        }
        self.binding = binding
        self.dtype = dtype
        self.blocks = blocks
        self.model = model
        base = file
        for output in binding.outputs { outputs[output.recipe.name] = output }
    }

    /// A tensor of the file: its parts, one for each matrix of a stack; or the stored one, to be copied.
    private struct Entry {
        var tensor: GGUFLayout.Tensor
        var copied: StoredTensor?
        /// Where each part's bytes are in the tensor's; the one part of a tensor may have all of them.
        var parts: [(output: Binding.Output, encoding: GGUFEncoding, range: Range<UInt64>?)] = []
    }

    func file() throws -> RewritePlan.File {
        var left = Set(outputs.keys)
        var entries: [Entry] = []
        for tensor in model.tensors {
            left.subtract(tensor.names)
            entries.append(try entry(tensor))
        }
        left.subtract(try unwritten())
        for name in left.sorted() { entries.append(try added(name)) }
        let layout = try GGUFLayout(metadata: try metadata(), tensors: entries.map(\.tensor), alignment: base.alignment)
        var tensors: [RewritePlan.Tensor] = []
        for (number, entry) in entries.enumerated() {
            let info = layout.tensors[number]
            let padding = layout.padding[number]
            if let copied = entry.copied {
                let recipe = TensorRecipe(
                    name: info.name, source: .base(info.name), sourceDType: info.dtype, dtype: info.dtype, shape: info.shape)
                tensors.append(.init(recipe: recipe, info: info, isAdded: false, gguf: .init(copied: copied, padding: padding)))
                continue
            }
            for (place, part) in entry.parts.enumerated() {
                var own = info
                if let range = part.range { (own.begin, own.end) = (info.begin + range.lowerBound, info.begin + range.upperBound) }
                var recipe = part.output.recipe
                recipe.dtype = .f64
                // The matrices of a stack lie below each other, whether an update reaches them or not.
                if part.encoding.cut != nil, recipe.shape.count == 3 { recipe.isExpertStack = true }
                tensors.append(
                    .init(
                        recipe: recipe, info: own, isAdded: part.output.isAdded,
                        gguf: .init(encoding: part.encoding, padding: place == entry.parts.count - 1 ? padding : 0)))
            }
        }
        return RewritePlan.File(name: "", header: layout.headerBytes, tensors: tensors, byteCount: layout.totalBytes)
    }

    /// What the file has among its metadata, which stay the base's.
    private func unwritten() throws -> [ExactString] {
        for number in model.numbers {
            guard let recipe = outputs[number.name]?.recipe, recipe.changesValues || recipe.isFromAdapter else { continue }
            throw PeftfileError(
                .refused, "is changed, and a GGUF file has it among the metadata, which stay the base's", file: binding.base.path,
                tensor: number.name, rule: "OutputForm", help: "merge into a directory")
        }
        return model.numbers.map(\.name)
    }

    private func entry(_ tensor: GGUFTensor) throws -> Entry {
        let parts = tensor.pieces.compactMap { piece in outputs[piece.name].map { (output: $0, piece: piece) } }
        for (part, piece) in parts where part.recipe.shape != piece.shape {
            throw PeftfileError(
                .refused, "has shape \(part.recipe.shape) after the merge, and \(piece.shape) in the GGUF file, whose vocabulary stays as it is",
                tensor: part.recipe.name, rule: "VocabularySize", help: "merge into a directory")
        }
        let isChanged = parts.contains { $0.output.recipe.changesValues || $0.output.recipe.isFromAdapter }
        let type = tensor.type(isChanged: isChanged, dtype: dtype, blocks: blocks)
        guard isChanged || type != tensor.type, !parts.isEmpty else {
            return Entry(tensor: .init(name: tensor.stored.name, type: tensor.type, shape: tensor.shape), copied: tensor.stored)
        }
        let written = GGUFLayout.Tensor(name: tensor.stored.name, type: type, shape: tensor.shape)
        if tensor.form == .lengthened {
            throw PeftfileError(
                .refused, "is changed, and a GGUF file has it with rows of zeros behind its own, which is not written", file: binding.base.path,
                tensor: tensor.pieces.first?.name, rule: "OutputForm", help: "merge into a directory")
        }
        if tensor.form?.isExponential == true {
            throw PeftfileError(
                .refused, "is changed, and a GGUF file has -exp(A_log) in its place, which is not written", file: binding.base.path,
                tensor: tensor.pieces.first?.name, rule: "OutputForm", help: "merge into a directory")
        }
        guard GGUFEncoding.types.contains(type) else {
            throw PeftfileError(
                .refused, "is stored in \(tensor.type.name), in which a changed tensor is not written", file: binding.base.path,
                tensor: tensor.stored.name, rule: "GGUFOutputType",
                help: "give --dtype q8_0; or --dtype f16 or bf16, then quantise the result with llama-quantize; or write a directory")
        }
        return Entry(
            tensor: written,
            parts: parts.map {
                (
                    $0.output,
                    GGUFEncoding(
                        type: type, order: $0.piece.order, cut: tensor.cut, isVector: tensor.shape.count < 2,
                        shift: tensor.shift),
                    parts.count > 1 ? tensor.bytes(of: $0.piece, as: type) : nil
                )
            })
    }

    /// A tensor that the base has not: an output head that was the embedding's. One without an update has the embedding's own bytes.
    private func added(_ name: ExactString) throws -> Entry {
        guard let output = outputs[name], let own = GGUFModel.name(ofHub: name, in: model.architecture), output.recipe.shape.count <= 4 else {
            throw PeftfileError(
                .refused, "has no place that is known in a GGUF file of the architecture \"\(model.architecture.name)\"", tensor: name,
                rule: "OutputForm", help: "merge into a directory; a head that is tied to the embedding moves with it under --tie keep")
        }
        if let source = output.recipe.copiedName, let tensor = model.tensorAlone(source), tensor.type(isChanged: false, dtype: dtype, blocks: blocks) == tensor.type {
            return Entry(tensor: .init(name: own, type: tensor.type, shape: tensor.shape), copied: tensor.stored)
        }
        let columns = output.recipe.shape.last ?? 1
        let usual = model.tensors.first { $0.shape.count > 1 && GGUFEncoding.types.contains($0.type) && columns % $0.type.blockElements == 0 }
        let type = output.recipe.shape.count < 2 ? .f32 : dtype.flatMap(GGUFType.init) ?? usual?.type ?? .f16
        return Entry(
            tensor: .init(name: own, type: type, shape: output.recipe.shape),
            parts: [
                (
                    output,
                    GGUFEncoding(
                        type: type, isVector: output.recipe.shape.count < 2, shift: GGUFModel.shift(of: own, in: model.architecture)),
                    nil
                )
            ])
    }

    /// The base's metadata, of which only the file's type follows the tensors'. What spoke of parts of a split file is left out.
    private func metadata() throws -> [(key: ExactString, value: [UInt8])] {
        try base.values.compactMap { key, value in
            if key.text.hasPrefix("split.") { return nil }
            if key == "general.file_type", let dtype, let encoded = GGUFOutput.fileType(dtype) { return (key, encoded) }
            return (key, try base.encodedValue(key) ?? [])
        }
    }

    /// `LlamaFileType` in gguf-py/gguf/constants.py.
    private static func fileType(_ dtype: DType) -> [UInt8]? {
        let number: UInt32
        switch dtype {
        case .f32: number = 0
        case .f16: number = 1
        case .bf16: number = 32
        default: return nil
        }
        return GGUFValue.uint32(number).encoded
    }
}

import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// The plan of a merge whose output is a GGUF file: the base's tensors in their order, under their names.
///
/// A tensor that no update reaches is copied, whatever its type. A tensor that one reaches keeps F32, F16, BF16 and Q8_0; for another
/// type the merge is refused unless `--dtype` says what to write. With `--dtype` every matrix is written in it; vectors keep their
/// type, since ggml computes with norms and biases in F32.
struct GGUFOutput {
    let binding: Binding
    let dtype: DType?
    private let model: GGUFModel
    private let base: GGUFFile
    private var outputs: [ExactString: Binding.Output] = [:]

    init(_ binding: Binding, dtype: DType?) throws {
        guard let model = binding.base.gguf, let file = binding.base.shards.first?.file as? GGUFFile else {
            throw PeftfileError(
                .refused, "is no GGUF model, and a merge writes GGUF from GGUF alone", file: binding.base.path, rule: "OutputForm",
                help: "merge into a directory, then convert that with convert_hf_to_gguf.py of llama.cpp")
        }
        self.binding = binding
        self.dtype = dtype
        self.model = model
        base = file
        for output in binding.outputs { outputs[output.recipe.name] = output }
    }

    /// A tensor of the file: its parts, one for each matrix of a stack; or the stored one, to be copied.
    private struct Entry {
        var tensor: GGUFLayout.Tensor
        var copied: StoredTensor?
        var parts: [(output: Binding.Output, encoding: GGUFEncoding)] = []
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
            let size = info.byteCount / UInt64(entry.parts.count)
            for (place, part) in entry.parts.enumerated() {
                var own = info
                own.begin += size * UInt64(place)
                own.end = own.begin + size
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
        let parts = tensor.names.compactMap { outputs[$0] }
        let shape = tensor.modelShape
        for part in parts where part.recipe.shape != shape {
            throw PeftfileError(
                .refused, "has shape \(part.recipe.shape) after the merge, and \(shape) in the GGUF file, whose vocabulary stays as it is",
                tensor: part.recipe.name, rule: "VocabularySize", help: "merge into a directory")
        }
        let type = dtype.flatMap { tensor.keepsType ? nil : GGUFType($0) } ?? tensor.type
        let written = GGUFLayout.Tensor(name: tensor.stored.name, type: type, shape: tensor.shape)
        let isChanged = parts.contains { $0.recipe.changesValues || $0.recipe.isFromAdapter }
        guard isChanged || type != tensor.type, !parts.isEmpty else {
            return Entry(tensor: .init(name: written.name, type: tensor.type, shape: tensor.shape), copied: tensor.stored)
        }
        if case .exponential = tensor.form {
            throw PeftfileError(
                .refused, "is changed, and a GGUF file has -exp(A_log) in its place, which is not written", file: binding.base.path,
                tensor: tensor.names.first, rule: "OutputForm", help: "merge into a directory")
        }
        guard GGUFEncoding.types.contains(type) else {
            throw PeftfileError(
                .refused, "is stored in \(tensor.type.name), in which a changed tensor is not written", file: binding.base.path,
                tensor: tensor.stored.name, rule: "GGUFOutputType",
                help: "give --dtype f16 or bf16, then quantise the result with llama-quantize; or write a directory")
        }
        return Entry(
            tensor: written,
            parts: parts.map {
                (
                    $0,
                    GGUFEncoding(
                        type: type, order: tensor.order, cut: tensor.cut, isVector: tensor.shape.count < 2,
                        shift: tensor.shift)
                )
            })
    }

    /// A tensor that the base has not: an output head that was the embedding's.
    private func added(_ name: ExactString) throws -> Entry {
        guard let output = outputs[name], let own = GGUFModel.name(ofHub: name, in: model.architecture), output.recipe.shape.count <= 4 else {
            throw PeftfileError(
                .refused, "has no place that is known in a GGUF file of the architecture \"\(model.architecture.name)\"", tensor: name,
                rule: "OutputForm", help: "merge into a directory")
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
                        type: type, isVector: output.recipe.shape.count < 2, shift: GGUFModel.shift(of: own, in: model.architecture))
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

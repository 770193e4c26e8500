public import ByteAccess
public import Containers
public import Tensors

/// The tensors of a model, in one file or several, with the index and the config beside them.
///
/// Only headers, index and config are read until a tensor is asked for. Every tensor is accounted for: where there is
/// an index, it and the shards agree in both directions.
public struct Checkpoint: Sendable {
    /// The path that was opened: a directory, a file or an index.
    public let path: String
    /// The directory that holds the checkpoint; nil where a bare file was given.
    public let directory: String?
    /// The files, sorted by their names.
    public let shards: [Shard]
    /// The index; nil where there is none.
    public let index: ShardIndex?
    /// The index's file name.
    public let indexFileName: String?
    /// All tensors, by shard and in a shard in the order of its directory; in safetensors, by offset.
    public private(set) var tensors: StoredTensors
    /// `config.json` beside the files; nil where there is none.
    public let config: JSONObject?
    /// What was left out on opening, in words: the parts of training checkpoints that are not the model.
    public let notes: [String]
    /// How the weights are quantised; nil where they are numbers. The quantised ones are among `tensors` under their plain names.
    public let quantisation: Quantisation?
    /// The model that the tensors are read as, where they come from a GGUF file and have the Hub's names.
    public internal(set) var gguf: GGUFModel?
    private var names: NameIndex

    /// The key under which a training checkpoint keeps its model; nil where the tensors are a model, or in several files.
    public var modelKey: ExactString? { shards.count == 1 ? shards[0].file.modelPart?.key : nil }

    /// Whether all tensors are in one file.
    public var isSingleFile: Bool { shards.count == 1 }

    /// The tensor called `name`.
    public subscript(name: ExactString) -> StoredTensor? { position(of: name).map { tensors[$0] } }

    /// The position in `tensors` of the tensor called `name`.
    public func position(of name: ExactString) -> Int? { names.find(name) { tensors[$0].info.name } }

    /// What was read of the files is of one piece only where nobody wrote to them since they were opened.
    ///
    /// - Throws: `.io` with rule `InputChanged` where somebody did.
    public func requireUnchanged() throws {
        for shard in shards { try shard.file.reader.requireUnchanged() }
    }

    /// The same as if these tensors had their first two dimensions the other way round; the bytes stay as they are.
    public func turning(_ names: Set<ExactString>) -> Checkpoint {
        var copy = self
        copy.tensors = StoredTensors(
            tensors.map { tensor in
                var turned = tensor
                if names.contains(tensor.name), tensor.shape.count > 1 { turned.info.shape.swapAt(0, 1) }
                return turned
            })
        return copy
    }

    /// The same files without some of their tensors.
    public func without(_ names: Set<ExactString>) -> Checkpoint {
        var copy = self
        copy.tensors = StoredTensors(tensors.filter { !names.contains($0.name) })
        copy.names = NameIndex(count: copy.tensors.count)
        for position in copy.tensors.indices { _ = copy.names.insert(position, name: { copy.tensors[$0].info.name }) }
        return copy
    }

    /// Elements of all tensors.
    public var parameterCount: UInt64 { tensors.reduce(0) { $0 + UInt64($1.info.elementCount) } }
    /// Bytes of all tensors as they are stored, without the headers.
    public var tensorBytes: UInt64 { shards.reduce(0) { $0 + $1.file.tensors.reduce(0) { $0 + $1.byteCount } } }
    /// All tensors as they are stored, codes and companions of quantised weights among them.
    public var storedTensors: some Collection<StoredTensor> {
        shards.indices.lazy.flatMap { number in shards[number].file.tensors.lazy.map { StoredTensor(info: $0, shard: number) } }
    }
    /// How many tensors are stored.
    public var storedTensorCount: Int { shards.reduce(0) { $0 + $1.file.tensors.count } }
    /// Bytes of all tensors of a plain checkpoint, every quantised weight in its plain dtype, and of GGUF every other number too.
    public var plainBytes: UInt64 {
        tensors.reduce(0) { sum, tensor in
            var dtype = tensor.quantised == nil ? nil : plainDType(of: tensor)
            if isGGUF, tensor.dtype.isMergeable, let quantisation { dtype = quantisation.dtype }
            return sum + (dtype.map { UInt64(tensor.info.elementCount) * UInt64($0.bits / 8) } ?? tensor.byteCount)
        }
    }
    /// The dtype that a tensor has in a plain checkpoint: its own, or for a quantised weight that of the config.
    public func plainDType(of tensor: StoredTensor) -> DType {
        guard let weight = tensor.quantised, let quantisation else { return tensor.dtype }
        if quantisation.isSimulated { return quantisation.weights[weight].codes.dtype }
        return quantisation.weights[weight].plainDType ?? quantisation.dtype
    }

    /// Rows of a tensor's matrix that cost as much to read as one of them (`QuantisedWeight.rowsReadTogether`).
    public func rowsReadTogether(_ tensor: StoredTensor) -> Int {
        guard let weight = tensor.quantised, let quantisation else { return 1 }
        return quantisation.weights[weight].rowsReadTogether
    }

    /// Puts a checkpoint together from files that are open.
    ///
    /// Throws `DuplicateTensor` where two shards hold a tensor of one name, and `MissingTensor` or `UnlistedTensor`
    /// where index and shards disagree.
    init(
        path: String, directory: String?, shards: [Shard], index: ShardIndex?, indexFileName: String?,
        config: JSONObject?, notes: [String] = []
    ) throws {
        let tensors = StoredTensors(of: shards)
        var names = NameIndex(count: tensors.count)
        for position in tensors.indices {
            guard let first = names.insert(position, name: { tensors[$0].info.name }) else { continue }
            throw IndexRule.duplicateTensor.broken(
                "is in \(shards[tensors[first].shard].fileName) as well",
                file: shards[tensors[position].shard].file.path,
                tensor: tensors[position].name)
        }
        self.path = path
        self.directory = directory
        self.shards = shards
        self.index = index
        self.indexFileName = indexFileName
        self.tensors = tensors
        self.config = config
        self.notes = notes
        self.names = names
        quantisation = nil
        if let index { try check(index) }
    }

    /// The same files with other tensors: quantised weights in the place of their codes.
    init(stored: Checkpoint, tensors: StoredTensors, quantisation: Quantisation) {
        path = stored.path
        directory = stored.directory
        shards = stored.shards
        index = stored.index
        indexFileName = stored.indexFileName
        config = stored.config
        notes = stored.notes
        self.tensors = tensors
        self.quantisation = quantisation
        var names = NameIndex(count: tensors.count)
        for position in tensors.indices { _ = names.insert(position, name: { tensors[$0].info.name }) }
        self.names = names
    }

    /// Holds the index against the shards, both ways.
    private func check(_ index: ShardIndex) throws {
        let file = indexFileName.map { FileSystem.join(directory ?? ".", $0) } ?? path
        var listed = [Bool](repeating: false, count: tensors.count)
        for entry in index.weightMap {
            let shard = index.shardNames[entry.shard]
            guard let position = position(of: entry.tensor) else {
                throw IndexRule.missingTensor.broken(
                    "weight_map says it is in \(shard), which does not hold it", file: file, tensor: entry.tensor)
            }
            guard tensors[position].shard == entry.shard else {
                throw IndexRule.missingTensor.broken(
                    "weight_map says it is in \(shard), and it is in \(shards[tensors[position].shard].fileName)",
                    file: file, tensor: entry.tensor)
            }
            listed[position] = true
        }
        if let position = listed.firstIndex(of: false) {
            throw IndexRule.unlistedTensor.broken(
                "is in \(shards[tensors[position].shard].fileName) and not in weight_map", file: file,
                tensor: tensors[position].name)
        }
    }
}

/// The bytes of tensors.
extension Checkpoint {
    /// All bytes of a tensor.
    ///
    /// - Throws: as `read(_:bytes:)`.
    public func read(_ tensor: StoredTensor) throws -> [UInt8] { try read(tensor, bytes: 0..<tensor.byteCount) }

    /// Some bytes of a tensor; `bytes` counts from the tensor's first.
    ///
    /// - Throws: `.io` where the range ends behind the tensor or the file cannot be read; what `TensorFile.validate` throws, `ZipCRC`
    ///   and `TorchExpanded` among it; `.refused` with `ZipInflated`; for a quantised weight what ``QuantisedWeight`` throws on reading, with the scheme before the
    ///   message of a refusal.
    public func read(_ tensor: StoredTensor, bytes: Range<UInt64>) throws -> [UInt8] {
        guard bytes.upperBound <= tensor.byteCount else {
            throw PeftfileError(
                .io, "cannot read up to byte \(bytes.upperBound) of a tensor of \(tensor.byteCount) bytes",
                file: file(of: tensor).path, tensor: tensor.name)
        }
        // Before anything is allocated: a view that repeats few bytes can be of any size, and so can deflated zeros.
        if tensor.quantised == nil {
            try file(of: tensor).validate(tensor.info)
            try file(of: tensor).requireRoom(for: bytes.count, of: tensor.info)
        }
        return try [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, initialized in
            try read(
                tensor, at: bytes.lowerBound,
                into: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: buffer[..<bytes.count])))
            initialized = bytes.count
        }
    }

    /// Fills `buffer` with a tensor's bytes from `offset` on, counted from the tensor's first.
    ///
    /// - Throws: `.io` where the bytes do not lie in a plain tensor or the file cannot be read; else as `read(_:bytes:)`.
    public func read(_ tensor: StoredTensor, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        if let weight = tensor.quantised, let quantisation { return try quantisation.read(weight, at: offset, into: buffer) }
        try file(of: tensor).read(tensor.info, at: offset, into: buffer)
    }

    /// The file that holds a tensor.
    public func file(of tensor: StoredTensor) -> any TensorFile { shards[tensor.shard].file }
}

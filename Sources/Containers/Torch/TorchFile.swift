public import ByteAccess
public import Tensors

/// A torch checkpoint, opened: its pickle is read without executing anything, its tensors are not read.
///
/// Names are the keys on the way through dicts, lists and tuples, joined by `.`. Tensors may share storages, overlap,
/// be transposed or expanded; `read` gives each as if it stood alone.
public struct TorchFile: TensorFile {
    public var kind: ContainerKind { .torch }
    public let reader: FileReader
    /// A pickle has no metadata of text.
    public var metadata: [(key: ExactString, value: String)]? { nil }
    public let tensors: [TensorInfo]
    private let topLevelKeys: [ExactString]
    let views: [StridedView]
    /// The parts of the file that say which tensors there are.
    let directory: [Range<UInt64>]
    private let names: NameIndex

    /// The most bytes that the tensors of a file may have when they are written out: 256 TiB.
    private static let totalLimit = 1 << 48

    /// Opens a file in torch's zip form or the one before version 1.6.
    ///
    /// Throws a `PeftfileError` whose `rule` is a `ZipRule` or a `TorchRule`.
    public static func open(_ path: String) throws -> TorchFile { try open(FileReader(path: path)) }

    /// The same for a file that is open already.
    ///
    /// - Throws: `.unsupported` with rule `TorchScript` or `TorchDType`; `.refused` with `PickleGlobal`; `.malformed` with any other
    ///   `TorchRule` or a `ZipRule`; `.io` where the file cannot be read; `.interrupted` where a signal came while a deflated record
    ///   was checked.
    public static func open(_ reader: FileReader) throws -> TorchFile {
        let isZip = reader.size >= 4 ? try reader.bytes(at: 0, count: 4).starts(with: [0x50, 0x4B]) : false
        let content = isZip ? try TorchContent(zip: reader) : try TorchContent(legacy: reader)
        return try TorchFile(content, reader)
    }

    private init(_ content: TorchContent, _ reader: FileReader) throws {
        let names = try TorchNames(content.root, in: content.machine)
        var infos: [TensorInfo] = []
        var views: [StridedView] = []
        let blocks = ViewBlocks()
        infos.reserveCapacity(names.tensors.count)
        views.reserveCapacity(names.tensors.count)
        var total = 0
        for (name, place) in names.tensors {
            let tensor = content.machine.tensors[place]
            let storage = content.storages[tensor.storage]
            let width = tensor.unit.bits / 8
            let view = StridedView(
                storage: storage, dtype: tensor.unit, begin: tensor.offset * UInt64(width), shape: tensor.shape,
                strides: tensor.strides, isLittleEndian: content.isLittleEndian, signs: tensor.signs, blocks: blocks)
            // The pickle machine checked the product.
            let byteCount = (tensor.shape.elementCount ?? 0) * width
            let sum = total.addingReportingOverflow(byteCount)
            guard !sum.overflow, sum.partialValue <= TorchFile.totalLimit else {
                throw TorchRule.geometry.broken(
                    "the tensors would have more than \(TorchFile.totalLimit) bytes when written out", file: reader.path,
                    tensor: name)
            }
            total = sum.partialValue
            let begin = storage.isStored ? storage.begin + view.begin : storage.begin
            infos.append(
                TensorInfo(
                    name: name, dtype: tensor.dtype, shape: tensor.writtenShape, begin: begin, end: begin + UInt64(byteCount),
                    isContiguous: view.isVerbatim))
            views.append(view)
        }
        self.init(
            reader, tensors: infos, views: views, topLevelKeys: names.topLevelKeys, directory: content.directory)
    }

    private init(
        _ reader: FileReader, tensors: [TensorInfo], views: [StridedView], topLevelKeys: [ExactString],
        directory: [Range<UInt64>]
    ) {
        var index = NameIndex(count: tensors.count)
        for position in tensors.indices { _ = index.insert(position, name: { tensors[$0].name }) }
        self.reader = reader
        self.tensors = tensors
        self.views = views
        self.topLevelKeys = topLevelKeys
        self.names = index
        self.directory = directory
    }

    /// The keys under which training checkpoints keep the model beside the optimizer, and everything else: Lightning's
    /// and most others', `torch.save` recipes', DeepSpeed's.
    private static let modelKeys: [ExactString] = ["state_dict", "model_state_dict", "model", "module"]

    /// The part under the first of the usual keys that holds tensors.
    public var modelPart: (key: ExactString, file: any TensorFile)? {
        for key in TorchFile.modelKeys where topLevelKeys.contains(key) {
            let prefix = Array((key.text + ".").utf8)
            let positions = tensors.indices.filter { tensors[$0].name.text.utf8.starts(with: prefix) }
            guard !positions.isEmpty else { continue }
            let infos = positions.map { position in
                var info = tensors[position]
                info.name = ExactString(String(decoding: info.name.text.utf8.dropFirst(prefix.count), as: UTF8.self))
                return info
            }
            return (
                key,
                TorchFile(
                    reader, tensors: infos, views: positions.map { views[$0] }, topLevelKeys: [], directory: directory)
            )
        }
        return nil
    }

    private func view(of tensor: TensorInfo) throws -> StridedView {
        guard let position = names.find(tensor.name, name: { tensors[$0].name }) else {
            throw PeftfileError(.io, "is not in the file", file: path, tensor: tensor.name)
        }
        return views[position]
    }

    /// Refuses a view that gives much more than the file has, and checks the CRC of the record, once.
    ///
    /// - Throws: `.refused` with rule `TorchExpanded` where the tensor has more than 64 MiB and more than 16 times its storage's bytes;
    ///   `.malformed` with `ZipCRC`; `.io` where the file has no such tensor or cannot be read; `.interrupted` where a signal came.
    public func validate(_ tensor: TensorInfo) throws {
        let view = try view(of: tensor)
        guard tensor.byteCount <= max(1 << 26, view.storage.byteCount * 16) else {
            throw TorchRule.expanded.broken(
                "\(view.storage.byteCount) bytes of the file are repeated to \(tensor.byteCount)", file: path,
                tensor: tensor.name, help: "peftfile inspect shows it; save the tensor before it is expanded")
        }
        do { try view.storage.validate() } catch var error as PeftfileError {
            error.tensor = tensor.name
            throw error
        }
    }

    public func storedByteCount(of tensor: TensorInfo) -> UInt64 {
        (try? view(of: tensor))?.storage.storedByteCount ?? tensor.byteCount
    }

    public func isUnchecked(_ tensor: TensorInfo) -> Bool { (try? view(of: tensor))?.storage.isPending ?? false }

    public func deferChecks() { for view in views { view.storage.deferCheck() } }

    /// Checks the CRC of each record that `read` gave bytes of since `deferChecks`; what nobody read of it is read now.
    ///
    /// - Throws: `.malformed` with rule `ZipCRC` where one is another, for the first tensor in order; `.io` where the file cannot be
    ///   read; `.interrupted` where a signal came.
    public func finishChecks() throws {
        for (tensor, view) in zip(tensors, views) {
            do { try view.storage.finishCheck() } catch var error as PeftfileError {
                error.tensor = tensor.name
                throw error
            }
        }
    }

    /// A tensor's elements in C order and little-endian, as if it had a storage of its own.
    ///
    /// - Throws: `.io` where `offset` and the buffer's length do not lie in the tensor; what `validate` throws; `.malformed` with rule
    ///   `ZipData` where a deflated record is no longer what it was when the file was opened.
    public func read(_ tensor: TensorInfo, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        try check(tensor, at: offset, count: buffer.count)
        guard buffer.count > 0 else { return }
        try validate(tensor)
        try view(of: tensor).read(at: offset, into: buffer)
    }

    /// The SHA-256 of the pickle and of the zip's directory, which has the CRC of every record.
    ///
    /// - Throws: `.io` where the file cannot be read.
    public func headerSHA256() throws -> [UInt8] {
        var hash = SHA256()
        for range in directory { try reader.update(&hash, with: range) }
        return hash.finalize()
    }
}

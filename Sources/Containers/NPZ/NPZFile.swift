public import ByteAccess
public import Tensors

/// An NPZ archive, opened: a zip archive with one `.npy` for each tensor, whose headers are read and whose elements are not.
///
/// A tensor's name is its entry's without `.npy`. Arrays in Fortran order, of big-endian elements, or deflated, are read as
/// if they were none of these.
public struct NPZFile: TensorFile {
    public var kind: ContainerKind { .npz }
    public let reader: FileReader
    /// NumPy has none.
    public var metadata: [(key: ExactString, value: String)]? { nil }
    public let tensors: [TensorInfo]
    private let views: [StridedView]
    private let directory: Range<UInt64>
    private let names: NameIndex

    /// Opens an archive.
    ///
    /// Throws a `PeftfileError` whose `rule` is a `ZipRule` or an `NPZRule`.
    public static func open(_ path: String) throws -> NPZFile { try open(FileReader(path: path)) }

    /// The same for a file that is open already.
    ///
    /// - Throws: `.unsupported` with rule `NPYDType`; `.refused` with `NPYObject`; `.malformed` with any other `NPZRule` or a
    ///   `ZipRule`; `.io` where the file cannot be read; `.interrupted` where a signal came while a deflated entry was checked.
    public static func open(_ reader: FileReader) throws -> NPZFile { try NPZFile(reader) }

    private init(_ reader: FileReader) throws {
        let archive = try ZipArchive(reader)
        var tensors: [TensorInfo] = []
        var views: [StridedView] = []
        let blocks = ViewBlocks()
        tensors.reserveCapacity(archive.entries.count)
        for entry in archive.entries {
            var (tensor, view) = try NPZFile.array(entry, in: reader)
            view.blocks = blocks
            tensors.append(tensor)
            views.append(view)
        }
        // Entries have each name once, and so have tensors.
        var names = NameIndex(count: tensors.count)
        for position in tensors.indices { _ = names.insert(position, name: { tensors[$0].name }) }
        self.reader = reader
        self.tensors = tensors
        self.views = views
        self.names = names
        directory = archive.directory
    }

    /// The tensor of an entry.
    private static func array(_ entry: ZipArchive.Entry, in reader: FileReader) throws -> (TensorInfo, StridedView) {
        guard entry.name.text.utf8.count > 4, entry.name.text.utf8.suffix(4).elementsEqual(".npy".utf8) else {
            throw NPZRule.entry.broken(
                "the entry \"\(entry.name.text.printable)\" is no .npy, and every entry of an NPZ archive is one",
                file: reader.path, offset: entry.header)
        }
        let name = ExactString(String(decoding: entry.name.text.utf8.dropLast(4), as: UTF8.self))
        func broken(_ rule: NPZRule, _ message: String) -> PeftfileError {
            rule.broken(message, file: reader.path, tensor: name, offset: entry.begin)
        }
        let storage = try Storage(entry, in: reader)
        var prefix = [UInt8](repeating: 0, count: Int(min(entry.size, UInt64(NPYHeader.limit + 12))))
        try prefix.withUnsafeMutableBytes { try storage.read(at: 0, into: $0) }
        let header = try NPYHeader(prefix, broken: broken)
        let rest = entry.size - UInt64(header.end)
        guard let count = header.shape.elementCount, let bytes = header.dtype.byteCount(elements: count), UInt64(bytes) == rest
        else {
            throw broken(
                .size, "has \(rest) bytes of elements, which are not those of \(header.dtype.rawValue) \(header.shape)")
        }
        let view = StridedView(
            storage: storage, dtype: header.dtype, begin: UInt64(header.end), shape: header.shape,
            strides: strides(header.shape, isFortran: header.isFortran), isLittleEndian: header.isLittleEndian)
        let begin = storage.begin + (storage.isStored ? view.begin : 0)
        return (
            TensorInfo(
                name: name, dtype: header.dtype, shape: header.shape, begin: begin, end: begin + UInt64(bytes),
                isContiguous: view.isVerbatim), view
        )
    }

    /// Elements from one index to the next, in each dimension. The product of the shape fits, or is 0 and nothing is read.
    private static func strides(_ shape: Shape, isFortran: Bool) -> [Int] {
        var strides = [Int](repeating: 1, count: shape.count)
        guard !shape.contains(0) else { return strides }
        let axes = isFortran ? Array(shape.indices) : shape.indices.reversed()
        for (inner, outer) in zip(axes, axes.dropFirst()) { strides[outer] = strides[inner] * shape[inner] }
        return strides
    }

    private func view(of tensor: TensorInfo) throws -> StridedView {
        guard let position = names.find(tensor.name, name: { tensors[$0].name }) else {
            throw PeftfileError(.io, "is not in the file", file: path, tensor: tensor.name)
        }
        return views[position]
    }

    /// Checks the CRC of the entry, once.
    ///
    /// - Throws: `.malformed` with rule `ZipCRC` where it is another; `.io` where the file has no such tensor or cannot be read;
    ///   `.interrupted` where a signal came.
    public func validate(_ tensor: TensorInfo) throws {
        do { try view(of: tensor).storage.validate() } catch var error as PeftfileError {
            error.tensor = tensor.name
            throw error
        }
    }

    public func storedByteCount(of tensor: TensorInfo) -> UInt64 {
        (try? view(of: tensor))?.storage.storedByteCount ?? tensor.byteCount
    }

    public func isUnchecked(_ tensor: TensorInfo) -> Bool { (try? view(of: tensor))?.storage.isPending ?? false }

    public func deferChecks() { for view in views { view.storage.deferCheck() } }

    /// Checks the CRC of each entry that `read` gave bytes of since `deferChecks`; what nobody read of it is read now.
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

    /// A tensor's elements in C order and little-endian, whatever order and form the array has.
    ///
    /// - Throws: `.io` where `offset` and the buffer's length do not lie in the tensor; what `validate` throws; `.malformed` with rule
    ///   `ZipData` where a deflated entry is no longer what it was when the file was opened.
    public func read(_ tensor: TensorInfo, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        try check(tensor, at: offset, count: buffer.count)
        guard buffer.count > 0 else { return }
        try validate(tensor)
        try view(of: tensor).read(at: offset, into: buffer)
    }

    /// The SHA-256 of the zip's directory, which has the CRC of every array with its header.
    ///
    /// - Throws: `.io` where the file cannot be read.
    public func headerSHA256() throws -> [UInt8] {
        try reader.sha256(of: directory)
    }
}

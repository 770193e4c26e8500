public import ByteAccess
public import Tensors

/// A container of tensors that is open: its directory is read and checked, its tensors are not.
///
/// All that is above this floor reads tensors through these members and knows no container by name. Where a tensor's
/// bytes lie in one piece in the file (`TensorInfo.isContiguous`) they may also be copied by the kernel,
/// straight from `reader` at `begin..<end`; everywhere else only `read` gives them.
public protocol TensorFile: Sendable {
    /// What the file is, told by its content.
    var kind: ContainerKind { get }
    /// The file itself.
    var reader: FileReader { get }
    /// What the file says of itself, in file order; nil where it says nothing.
    var metadata: [(key: ExactString, value: String)]? { get }
    /// The tensors in the order of the file's directory; each name once.
    var tensors: [TensorInfo] { get }

    /// The model in a training checkpoint: the part that is one, under the names that the model has there, and the key
    /// that it stands under. Nil where the whole file is one model.
    var modelPart: (key: ExactString, file: any TensorFile)? { get }

    /// Tensors that lie in the same bytes of the file.
    var shared: [SharedTensors] { get }

    /// Fills `buffer` with a tensor's elements from byte `offset` of the tensor on, in C order and little-endian,
    /// whatever form they have in the file.
    ///
    /// Calls from several threads do not disturb each other. Throws where `offset` and the buffer's length do not lie
    /// in the tensor, and what reading throws.
    func read(_ tensor: TensorInfo, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws

    /// Checks what the container can say of a tensor's bytes beside their place, such as a CRC; `read` does so itself,
    /// once. Whoever takes a contiguous tensor's bytes from `reader` calls it first.
    ///
    /// - Throws: `.malformed` where the bytes are not the ones that the container tells of; what reading throws.
    func validate(_ tensor: TensorInfo) throws

    /// The bytes that the file has for a tensor's storage, deflated where they are: what the tensor's own bytes are held against before
    /// they are taken into memory as a whole.
    func storedByteCount(of tensor: TensorInfo) -> UInt64

    /// Whether `validate` has something to check of a tensor that was not checked yet.
    func isUnchecked(_ tensor: TensorInfo) -> Bool

    /// From here on `read` gives bytes out before it has checked them, and takes their checksums on the way, so that they are
    /// read once. For who can throw away what came of them: `finishChecks` says whether they were right.
    func deferChecks()

    /// Checks all that `read` gave out since `deferChecks`, and throws what `validate` throws.
    func finishChecks() throws

    /// The blocks that a tensor's elements are packed in; nil where they are numbers of its dtype. `read` gives the blocks'
    /// bytes, and only who knows their type can tell the elements.
    func blocks(of tensor: TensorInfo) -> TensorBlocks?

    /// The SHA-256 of the file's directory: of the bytes that say which tensors there are and where. With the file's
    /// size it names the inputs of a receipt where the whole file is not hashed.
    ///
    /// - Throws: what reading throws.
    func headerSHA256() throws -> [UInt8]
}

/// Elements that are packed in blocks: of what type, and of what shape they are.
public struct TensorBlocks: Sendable, Hashable {
    /// The type of the blocks.
    public let type: GGUFType
    /// The shape of the elements, outermost dimension first.
    public let shape: Shape
}

extension TensorFile {
    /// The path that was opened.
    public var path: String { reader.path }

    public var modelPart: (key: ExactString, file: any TensorFile)? { nil }

    public var shared: [SharedTensors] { [] }

    /// Checks nothing: for containers that say nothing of a tensor's bytes beside their place.
    ///
    /// - Throws: nothing.
    public func validate(_ tensor: TensorInfo) throws {}

    public func storedByteCount(of tensor: TensorInfo) -> UInt64 { tensor.byteCount }

    /// Refuses to take so many bytes of a tensor into memory at once where the file has few for it: a megabyte of deflated zeros may be a
    /// gigabyte, which is read in pieces without harm.
    ///
    /// - Throws: `.refused` with rule `ZipInflated` where that is more than 64 MiB and more than 16 times what the file has.
    public func requireRoom(for count: Int, of tensor: TensorInfo) throws {
        guard count > 1 << 26 else { return }
        let stored = storedByteCount(of: tensor)
        guard stored.multipliedReportingOverflow(by: 16).overflow || UInt64(count) <= stored * 16 else {
            throw ZipRule.inflated.broken(
                "\(stored) bytes of the archive inflate to \(count), which would be held in memory at once", file: path, tensor: tensor.name,
                help: "see what it holds: peftfile inspect --stats; where it is meant, store it without compression")
        }
    }

    public func isUnchecked(_ tensor: TensorInfo) -> Bool { false }

    public func deferChecks() {}

    /// Checks nothing: for containers whose `deferChecks` puts nothing off.
    ///
    /// - Throws: nothing.
    public func finishChecks() throws {}

    public func blocks(of tensor: TensorInfo) -> TensorBlocks? { nil }

    /// Holds a read against its tensor.
    func check(_ tensor: TensorInfo, at offset: UInt64, count: Int) throws {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(count))
        guard !overflow, end <= tensor.byteCount else {
            throw PeftfileError(
                .io, "cannot read up to byte \(overflow ? .max : end) of a tensor of \(tensor.byteCount) bytes",
                file: path, tensor: tensor.name)
        }
    }
}

extension ContainerKind {
    /// Opens a file as the container that its content says it is.
    ///
    /// Throws what the container's own rules say, or the refusal of a `ForeignFile` for a file that is known to be
    /// something else: a Git LFS pointer, an HTML page and so on.
    public static func open(_ path: String) throws -> any TensorFile { try open(FileReader(path: path)) }

    /// The same for a file that is open already. A file that nothing is known of is held against safetensors' rules,
    /// which say best what is wrong with it.
    ///
    /// - Throws: what the container's own `open` throws, or the refusal of a `ForeignFile`; for a file that nothing is known of
    ///   `.malformed` with a `SafetensorsRule`; `.io` where it cannot be read.
    public static func open(_ reader: FileReader) throws -> any TensorFile {
        if try hasSafetensorsOutline(reader) { return try SafetensorsFile.open(reader) }
        switch try ForeignFile.identify(reader) {
        case .torch: return try TorchFile.open(reader)
        case .gguf: return try GGUFFile.open(reader)
        case .npz: return try NPZFile.open(reader)
        case let other?: throw other.refusal(file: reader.path)
        case nil: return try SafetensorsFile.open(reader)
        }
    }
}

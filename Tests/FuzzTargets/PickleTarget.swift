public import ByteAccess
import Containers
import Tensors
import TestSupport

/// The pickle machine: the operations of `data.pkl` are changed, and the archive around them is made anew so that its CRC is right.
public struct PickleTarget: FuzzTarget {
    public let name = "pickle"
    public init() {}

    private static let words: [[UInt8]] = [
        [0x28], [0x29], [0x2E], [0x30], [0x31], [0x32], [0x4E], [0x51], [0x52], [0x55, 0], [0x5D], [0x61], [0x62], [0x65], [0x71, 0], [0x73],
        [0x74], [0x75], [0x7D], [0x81], [0x85], [0x86], [0x87], [0x88], [0x89], [0x8F], [0x90], [0x91], [0x92], [0x93], [0x94], [0x96], [0x97],
        [0x80, 4], [0x68, 0], [0x6A, 0xFF, 0xFF, 0xFF, 0x7F], [0x72, 0xFF, 0xFF, 0xFF, 0xFF], [0x4B, 0], [0x4A, 0xFF, 0xFF, 0xFF, 0xFF],
        [0x8A, 8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], [0x8A, 8, 0, 0, 0, 0, 0, 0, 0, 0x80], [0x8A, 0], [0x8B, 0, 0, 0, 0x80],
        [0x8A, 8, 0, 0, 0, 0, 0, 1, 0, 0], [0x58, 0xFF, 0xFF, 0xFF, 0x7F], [0x8D, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        [0x95, 0xFF, 0, 0, 0, 0, 0, 0, 0], [0x47, 0x7F, 0xF0, 0, 0, 0, 0, 0, 0], [0x43, 3, 1, 2, 3], [0x8C, 1, 0x61], [0x58, 1, 0, 0, 0, 0x30],
        TorchBuilder.text("storage"), TorchBuilder.text("cpu"), TorchBuilder.text("0\0"), TorchBuilder.text("\u{1B}[2J"),
        TorchBuilder.tuple([2, 3]), TorchBuilder.tuple([-1]), TorchBuilder.tuple([1 << 62, 4]), TorchBuilder.tuple([0, 1]),
        TorchBuilder.int(6), TorchBuilder.int(1 << 40),
    ] + [
        ("torch", "FloatStorage"), ("torch", "BFloat16Storage"), ("torch.storage", "UntypedStorage"), ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_parameter"), ("collections", "OrderedDict"), ("torch", "Size"), ("torch", "float32"), ("_codecs", "encode"),
        ("builtins", "bytearray"), ("numpy", "dtype"), ("torch._tensor", "_rebuild_from_type_v2"), ("os", "system"), ("builtins", "eval"),
        ("torch.serialization", "load"),
    ].map { TorchBuilder.global($0.0, $0.1) }

    public func seeds() throws -> [[UInt8]] {
        let views = (0..<3).map {
            TorchBuilder.View(name: "t\($0)", key: "\($0 % 2)", count: 6, shape: [2, 3], strides: [3, 1])
        }
        let storages = (0..<2).map { (key: "\($0)", bytes: [UInt8](repeating: 7, count: 24)) }
        let made = [
            TorchBuilder.pickle(Array(views[..<1])), TorchBuilder.pickle(views), TorchBuilder.pickle(views, under: "state_dict", beside: views[0]),
        ]
        return try made.map { try TorchBuilder.file(pickle: $0, storages: Array(storages[..<($0.count < 300 ? 1 : 2)])) }
            + Seeds.files(in: "containers/torch/files", endingIn: ".bin", below: 2600)
    }

    /// The first piece is the archive with an empty `data.pkl` as its last entry, the others are the pickle's operations.
    public func pieces(of file: [UInt8]) -> Pieces {
        guard let frame = Frame(file) else {
            // The form before torch 1.6 is nothing but pickles.
            return Pieces([[]] + PicklePieces.of(file[...]), dictionary: Self.words)
        }
        return Pieces([frame.encoded] + PicklePieces.of(file[frame.pickle]), dictionary: Self.words)
    }

    public func file(from pieces: Pieces) -> [UInt8] {
        var pickle: [UInt8] = []
        for item in pieces.items.dropFirst() { pickle.append(contentsOf: item) }
        guard let first = pieces.items.first, let frame = Frame(encoded: first) else { return pickle }
        return frame.archive(around: pickle)
    }

    public func read(_ reader: FileReader) throws { try Self.readTensors(try ContainerKind.open(reader)) }

    /// Reads the beginning of every tensor, and the end of every one that is small.
    static func readTensors(_ file: any TensorFile) throws {
        for tensor in file.tensors {
            guard tensor.end >= tensor.begin else { throw FuzzFailure("a tensor that ends before it begins") }
            var bytes = [UInt8](repeating: 0, count: Int(min(tensor.byteCount, 4096)))
            try bytes.withUnsafeMutableBytes { try file.read(tensor, at: tensor.byteCount - UInt64($0.count), into: $0) }
        }
        if let part = file.modelPart, part.file.tensors.isEmpty { throw FuzzFailure("a model without tensors") }
    }
}

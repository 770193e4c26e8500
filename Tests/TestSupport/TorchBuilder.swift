/// Writes torch checkpoints for tests: a pickle of protocol 2 as `torch.save` makes it, without the memo.
public struct TorchBuilder {
    public struct View: Sendable {
        public var name: String
        public var key: String
        public var type = "FloatStorage"
        public var count: Int
        public var offset = 0
        public var shape: [Int]
        public var strides: [Int]

        public init(
            name: String, key: String, type: String = "FloatStorage", count: Int, offset: Int = 0, shape: [Int],
            strides: [Int]
        ) {
            (self.name, self.key, self.type, self.count) = (name, key, type, count)
            (self.offset, self.shape, self.strides) = (offset, shape, strides)
        }
    }

    public static func text(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        return [0x58] + (0..<4).map { UInt8(truncatingIfNeeded: bytes.count >> (8 * $0)) } + bytes
    }

    public static func int(_ number: Int) -> [UInt8] {
        [0x8A, 8] + (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    public static func tuple(_ values: [Int]) -> [UInt8] { [0x28] + values.flatMap(int) + [0x74] }

    public static func global(_ module: String, _ name: String) -> [UInt8] { [0x63] + Array("\(module)\n\(name)\n".utf8) }

    /// The operations that push a tensor.
    public static func tensor(_ view: View) -> [UInt8] {
        global("torch._utils", "_rebuild_tensor_v2") + [0x28]
            + [0x28] + text("storage") + global("torch", view.type) + text(view.key) + text("cpu") + int(view.count)
            + [0x74, 0x51] + int(view.offset) + tuple(view.shape) + tuple(view.strides)
            + [0x89] + global("collections", "OrderedDict") + [0x29, 0x52, 0x74, 0x52]
    }

    /// A dict of tensors.
    public static func pickle(_ views: [View]) -> [UInt8] {
        [0x80, 2, 0x7D, 0x28] + views.flatMap { text($0.name) + tensor($0) } + [0x75, 0x2E]
    }

    /// A training checkpoint: the tensors under `key`, beside a number and another tensor.
    public static func pickle(_ views: [View], under key: String, beside other: View) -> [UInt8] {
        [0x80, 2, 0x7D, 0x28] + text(key) + [0x7D, 0x28] + views.flatMap { text($0.name) + tensor($0) } + [0x75]
            + text("epoch") + [0x4B, 3] + text("optimizer") + [0x7D, 0x28] + text(other.name) + tensor(other) + [0x75]
            + [0x75, 0x2E]
    }

    /// A whole file.
    public static func file(
        pickle: [UInt8], storages: [(key: String, bytes: [UInt8])], isDeflated: Bool = false, byteOrder: String = "little"
    ) throws -> [UInt8] {
        try ZipFile.archive(
            [.init("a/data.pkl", pickle, isDeflated: isDeflated), .init("a/byteorder", Array(byteOrder.utf8))]
                + storages.map { .init("a/data/\($0.key)", $0.bytes, isDeflated: isDeflated) }
                + [.init("a/version", [0x33, 0x0A])])
    }
}

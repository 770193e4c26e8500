import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Pickles written operation by operation, and torch files around them whose storage `0` has six float32.
enum Pickles {
    /// The bytes of the storage `0`.
    static let storage = (0..<24).map { UInt8($0 * 7) }
    /// All of the storage, as two rows.
    static let view = TorchBuilder.View(name: "w", key: "0", count: 6, shape: [2, 3], strides: [3, 1])
    static let tensor = TorchBuilder.tensor(view)
    static let orderedDict = call("collections", "OrderedDict", [])

    static let none: [UInt8] = [0x4E], `true`: [UInt8] = [0x88], `false`: [UInt8] = [0x89]
    static let emptyDict: [UInt8] = [0x7D]

    static func text(_ text: String) -> [UInt8] { TorchBuilder.text(text) }
    static func int(_ number: Int) -> [UInt8] { TorchBuilder.int(number) }
    static func global(_ module: String, _ name: String) -> [UInt8] { TorchBuilder.global(module, name) }
    static func tuple(_ values: [[UInt8]]) -> [UInt8] { [0x28] + values.joined() + [0x74] }
    static func list(_ values: [[UInt8]]) -> [UInt8] { [0x5D, 0x28] + values.joined() + [0x65] }
    static func dict(_ items: [([UInt8], [UInt8])]) -> [UInt8] { [0x7D, 0x28] + items.flatMap { $0.0 + $0.1 } + [0x75] }
    /// SHORT_BINBYTES.
    static func bytes(_ bytes: [UInt8]) -> [UInt8] { [0x43, UInt8(bytes.count)] + bytes }

    /// GLOBAL, the arguments, REDUCE.
    static func call(_ module: String, _ name: String, _ arguments: [[UInt8]]) -> [UInt8] {
        global(module, name) + tuple(arguments) + [0x52]
    }

    /// BINPERSID of a storage.
    static func storage(_ type: [UInt8], key: String = "0", count: Int = 6) -> [UInt8] {
        tuple([text("storage"), type, text(key), text("cpu"), int(count)]) + [0x51]
    }

    /// The arguments of `_rebuild_tensor_v2` for a view of the storage `0`.
    static func arguments(
        storage: [UInt8] = storage(global("torch", "FloatStorage")), offset: [UInt8] = int(0),
        size: [UInt8] = TorchBuilder.tuple([2, 3]), stride: [UInt8] = TorchBuilder.tuple([3, 1])
    ) -> [[UInt8]] { [storage, offset, size, stride, `false`, orderedDict] }

    static func rebuilt(_ arguments: [[UInt8]]) -> [UInt8] { call("torch._utils", "_rebuild_tensor_v2", arguments) }

    /// A whole pickle of protocol 2.
    static func whole(_ value: [UInt8]) -> [UInt8] { [0x80, 2] + value + [0x2E] }

    static func open(_ value: [UInt8], in directory: TemporaryDirectory) throws -> TorchFile {
        try TorchFile.open(directory.write(TorchBuilder.file(pickle: whole(value), storages: [("0", storage)]), to: "f"))
    }

    static func bytes(of tensor: TensorInfo, in file: any TensorFile) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(tensor.byteCount))
        try bytes.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
        return bytes
    }

    /// A value that is refused: under which rule, and in which words.
    struct Bad: Sendable, CustomStringConvertible {
        let description: String
        let rule: TorchRule
        let code: PeftfileError.Code
        let value: [UInt8]

        init(_ words: String, _ rule: TorchRule, _ value: [UInt8], code: PeftfileError.Code = .malformed) {
            (description, self.rule, self.code, self.value) = (words, rule, code, value)
        }

        func check() throws {
            let directory = try TemporaryDirectory()
            let error = #expect(throws: PeftfileError.self) { try Pickles.open(value, in: directory) }
            #expect(error?.rule == rule.rawValue && error?.code == code, "\(error as Any)")
            #expect(error?.message.contains(description) == true, "\(error as Any)")
            #expect(error?.file == directory.path("f"))
        }
    }
}

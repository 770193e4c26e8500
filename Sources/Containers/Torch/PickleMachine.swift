import ByteAccess
import Tensors

/// Reads one pickle of a torch checkpoint without executing anything.
///
/// A pickle is a program for a stack machine, and a full unpickler calls what the program names. This machine knows the
/// operations that a state dict is made of and gives them a meaning on its own values; a name outside `TorchGlobal`, an
/// operation outside the list, or an argument of a kind that is not expected ends it. Nothing is skipped.
///
/// Time and memory are bounded by the pickle's bytes: at most 10⁶ operations, 10⁵ values on the stack, texts of 64 MiB;
/// lengths are held against the bytes left before anything is made; the memo is sparse; no function calls itself.
///
/// Source: the operations as documented in CPython's Lib/pickletools.py, protocols 2 to 5; what torch means by them in
/// torch/_weights_only_unpickler.py.
struct PickleMachine {
    static let operationLimit = 1_000_000
    static let stackLimit = 100_000
    static let textLimit = 64 << 20
    /// The longest pickle; the machine counts places with 32 bits.
    static let sizeLimit: UInt64 = 100_000_000

    let bytes: [UInt8]
    /// The file and the place of the pickle in it, for errors.
    let file: String
    let base: UInt64
    var position: Int
    var stack: [PickleValue] = []
    /// Heights of the stack at each MARK.
    var marks: [Int] = []
    var memo: [UInt32: PickleValue] = [:]
    var nodes: [[PickleValue]] = []
    var storages: [PickleStorage] = []
    var tensors: [PickleTensor] = []
    /// Storages by key, each described once.
    var storageOf: [ExactString: Int32] = [:]
    private var operations = 0

    /// - Parameters:
    ///   - start: where in `bytes` the pickle begins.
    ///   - base: where in the file `bytes` begins.
    init(_ bytes: [UInt8], from start: Int = 0, file: String, base: UInt64) {
        self.bytes = bytes
        position = start
        self.file = file
        self.base = base
    }

    /// The machine went over the end of its bytes: where more of the file can be read, that is no error yet.
    struct EndOfBytes: Error {}

    /// Runs to STOP and gives the value; `position` is then behind it.
    mutating func run() throws -> PickleValue {
        guard try byte() == 0x80 else { throw broken(.pickleProtocol, "a pickle begins with its protocol, 2 to 5") }
        let version = try byte()
        guard (2...5).contains(version) else {
            throw broken(.pickleProtocol, "the pickle has protocol \(version); 2 to 5 are read")
        }
        while true {
            operations += 1
            guard operations <= Self.operationLimit else {
                throw broken(.pickleLimit, "the pickle has more than \(Self.operationLimit) operations")
            }
            let operation = try byte()
            if operation == 0x2E {
                guard stack.count == 1, marks.isEmpty, let value = stack.popLast() else {
                    throw broken(.pickleStack, "the pickle ends with \(stack.count) values on its stack instead of one")
                }
                return value
            }
            try perform(operation)
            guard stack.count <= Self.stackLimit, marks.count <= Self.stackLimit else {
                throw broken(.pickleLimit, "the pickle puts more than \(Self.stackLimit) values on its stack")
            }
        }
    }

    func broken(_ rule: TorchRule, _ message: String, help: String? = nil) -> PeftfileError {
        rule.broken(message, file: file, offset: base + UInt64(position), help: help)
    }

    // MARK: Arguments

    mutating func byte() throws -> UInt8 {
        guard position < bytes.count else { throw EndOfBytes() }
        position += 1
        return bytes[position - 1]
    }

    mutating func number<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type) throws -> Number {
        guard let value = bytes.number(type, at: position) else { throw EndOfBytes() }
        position += MemoryLayout<Number>.size
        return value
    }

    /// The place of the next `count` bytes.
    mutating func piece(_ count: UInt64) throws -> PickleValue.Piece {
        guard count <= UInt64(Self.textLimit) else {
            throw broken(.pickleLimit, "a text of \(count) bytes; at most \(Self.textLimit) are read")
        }
        guard count <= UInt64(bytes.count - position) else { throw EndOfBytes() }
        defer { position += Int(count) }
        return PickleValue.Piece(start: Int32(position), count: Int32(count))
    }

    mutating func text(_ count: UInt64) throws -> PickleValue {
        let piece = try piece(count)
        let isValid = bytes.withUnsafeBytes {
            UTF8Validation.firstInvalidByte(in: UnsafeRawBufferPointer(rebasing: $0[piece.range])) == nil
        }
        guard isValid else { throw broken(.pickleValue, "a text is not UTF-8") }
        return .text(piece)
    }

    /// The text of a value; nil for other values.
    func string(_ value: PickleValue) -> String? {
        guard case .text(let piece) = value else { return nil }
        return String(decoding: bytes[piece.range], as: UTF8.self)
    }

    // MARK: Stack

    mutating func pop() throws -> PickleValue {
        guard stack.count > marks.last ?? 0, let value = stack.popLast() else {
            throw broken(.pickleStack, "an operation takes more from the stack than there is")
        }
        return value
    }

    /// The topmost value, which stays.
    func top() throws -> PickleValue {
        guard stack.count > marks.last ?? 0, let value = stack.last else {
            throw broken(.pickleStack, "an operation takes more from the stack than there is")
        }
        return value
    }

    /// The values above the last MARK, which goes with them.
    mutating func popMark() throws -> [PickleValue] {
        guard let mark = marks.popLast() else { throw broken(.pickleStack, "there is no MARK for an operation") }
        defer { stack.removeSubrange(mark...) }
        return Array(stack[mark...])
    }

    /// A new container.
    mutating func node(_ values: [PickleValue] = []) -> Int32 {
        nodes.append(values)
        return Int32(nodes.count - 1)
    }
}

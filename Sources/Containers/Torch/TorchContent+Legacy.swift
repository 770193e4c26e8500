import ByteAccess

extension TorchContent {
    /// `torch.serialization.PROTOCOL_VERSION`.
    private static let protocolVersion: Int64 = 1001
    /// `torch.serialization.MAGIC_NUMBER`, 0x1950a86a20f9469cfc6c: LONG1 and STOP.
    private static let magic: [UInt8] = [0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E]
    /// FRAME with the length of that, which protocols 4 and 5 put before it.
    private static let frame: [UInt8] = [0x95, 0x0D, 0, 0, 0, 0, 0, 0, 0]

    /// How many bytes the pickle of the magic number has that a file begins with; nil for any other beginning.
    static func magicLength(_ prefix: some Collection<UInt8>) -> Int? {
        guard prefix.first == 0x80, let version = prefix.dropFirst().first, (2...5).contains(version) else { return nil }
        var rest = prefix.dropFirst(2)
        if rest.starts(with: frame) { rest = rest.dropFirst(frame.count) }
        guard rest.starts(with: magic) else { return nil }
        return prefix.count - rest.count + magic.count
    }

    /// The form before torch 1.6: five pickles (magic number, protocol, system, object, keys of the storages), then for
    /// each key a count of elements in 8 bytes and the elements.
    ///
    /// Source: `_legacy_save` and `_legacy_load` in torch/serialization.py.
    init(legacy reader: FileReader) throws {
        func broken(_ message: String, at offset: UInt64? = nil) -> PeftfileError {
            TorchRule.legacy.broken(message, file: reader.path, offset: offset)
        }
        var pickles = LegacyPickles(reader)
        guard let length = Self.magicLength(try reader.bytes(at: 0, count: min(Int(clamping: reader.size), 64))) else {
            throw broken("the magic number is not torch's", at: 0)
        }
        pickles.position = length
        guard try pickles.next().value == .int(Self.protocolVersion) else {
            throw broken("the protocol is not \(Self.protocolVersion)")
        }
        // What it says of sizes and byte order is of the machine that wrote; storages are little-endian always
        // (`THPStorage_writeFileRaw` in torch/csrc/serialization.cpp).
        guard case .dict = try pickles.next().value else { throw broken("the description of the system is no dict") }
        let (machine, root) = try pickles.next()
        let (keys, list) = try pickles.next()
        guard case .list(let place) = list else { throw broken("the storages' keys are no list") }

        var found = [Storage?](repeating: nil, count: machine.storages.count)
        var offset = UInt64(pickles.position)
        for key in keys.nodes[Int(place)] {
            guard let text = keys.string(key), let number = machine.storageOf[ExactString(text)],
                found[Int(number)] == nil
            else { throw broken("the list of storages names one that no tensor has, or one twice", at: offset) }
            let storage = machine.storages[Int(number)]
            guard reader.size - offset >= 8 else { throw broken("the file ends before its storages do", at: offset) }
            let count = try reader.bytes(at: offset, count: 8).number(UInt64.self, at: 0)
            guard count == storage.count else {
                throw broken("a storage has another number of elements than the object says", at: offset)
            }
            offset += 8
            guard storage.byteCount <= reader.size - offset else {
                throw broken("the file ends before its storages do", at: offset)
            }
            found[Int(number)] = Storage(offset..<(offset + storage.byteCount), in: reader)
            offset += storage.byteCount
        }
        guard offset == reader.size else { throw broken("bytes follow the last storage", at: offset) }
        storages = found.compactMap(\.self)
        guard storages.count == found.count else { throw broken("the bytes of a storage are missing", at: offset) }
        self.machine = machine
        self.root = root
        isLittleEndian = true
        directory = [0..<UInt64(pickles.position)]
    }
}

/// Pickles one after the other at the start of a file. How long they are is only known once they are read: so much of
/// the file is read as they turn out to need, the double each time.
private struct LegacyPickles {
    private let reader: FileReader
    private var bytes: [UInt8] = []
    var position = 0

    init(_ reader: FileReader) { self.reader = reader }

    mutating func next() throws -> (machine: PickleMachine, value: PickleValue) {
        while true {
            var machine = PickleMachine(bytes, from: position, file: reader.path, base: 0)
            do {
                let value = try machine.run()
                position = machine.position
                return (machine, value)
            } catch is PickleMachine.EndOfBytes {
                let limit = min(reader.size, PickleMachine.sizeLimit)
                guard UInt64(bytes.count) < limit else {
                    throw reader.size <= PickleMachine.sizeLimit
                        ? machine.broken(.pickleEnd, "the pickle ends inside an operation")
                        : machine.broken(.pickleLimit, "the pickles have more than \(PickleMachine.sizeLimit) bytes")
                }
                bytes = try reader.bytes(at: 0, count: Int(min(limit, max(1 << 20, 2 * UInt64(bytes.count)))))
            }
        }
    }
}

import ByteAccess

extension PickleMachine {
    /// Carries out one operation. Those that are not here are refused: text forms of protocol 0, INST, OBJ, EXT1 to
    /// EXT4, PERSID, POP, DUP, out-of-band buffers. No pickler writes them for a state dict.
    mutating func perform(_ operation: UInt8) throws {
        switch operation {
        // MARK
        case 0x28: marks.append(stack.count)
        // NONE, NEWTRUE, NEWFALSE
        case 0x4E: stack.append(.none)
        case 0x88: stack.append(.bool(true))
        case 0x89: stack.append(.bool(false))
        // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
        case 0x4A: stack.append(.int(Int64(try number(Int32.self))))
        case 0x4B: stack.append(.int(Int64(try byte())))
        case 0x4D: stack.append(.int(Int64(try number(UInt16.self))))
        case 0x8A: stack.append(long(try piece(UInt64(try byte()))))
        case 0x8B: stack.append(long(try piece(try length(Int32.self))))
        case 0x47:
            _ = try number(UInt64.self)
            stack.append(.number)
        // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
        case 0x58: stack.append(try text(UInt64(try number(UInt32.self))))
        case 0x8C: stack.append(try text(UInt64(try byte())))
        case 0x8D: stack.append(try text(try number(UInt64.self)))
        // BINSTRING, SHORT_BINSTRING: Python 2's text, which may be bytes. Text where it is UTF-8.
        case 0x54: stack.append(try oldText(try length(Int32.self)))
        case 0x55: stack.append(try oldText(UInt64(try byte())))
        // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
        case 0x42: stack.append(.bytes(try piece(UInt64(try number(UInt32.self)))))
        case 0x43: stack.append(.bytes(try piece(UInt64(try byte()))))
        case 0x8E, 0x96: stack.append(.bytes(try piece(try number(UInt64.self))))
        // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
        case 0x29: stack.append(.tuple(node()))
        case 0x85, 0x86, 0x87:
            var values: [PickleValue] = []
            for _ in 0..<(operation - 0x84) { values.insert(try pop(), at: 0) }
            stack.append(.tuple(node(values)))
        case 0x74:
            let values = try popMark()
            stack.append(.tuple(node(values)))
        // EMPTY_LIST, EMPTY_DICT
        case 0x5D: stack.append(.list(node()))
        case 0x7D: stack.append(.dict(node()))
        // APPEND, APPENDS
        case 0x61: try append([try pop()])
        case 0x65: try append(try popMark())
        // SETITEM, SETITEMS
        case 0x73:
            let value = try pop()
            try set([try pop(), value])
        case 0x75: try set(try popMark())
        // EMPTY_SET, ADDITEMS, FROZENSET: no tensor can stand in a set, for none is found there.
        case 0x8F: stack.append(.plain)
        case 0x90:
            _ = try popMark()
            guard try top() == .plain else { throw broken(.pickleValue, "ADDITEMS on what is no set") }
        case 0x91:
            _ = try popMark()
            stack.append(.plain)
        // BINGET, LONG_BINGET
        case 0x68: try get(UInt32(try byte()))
        case 0x6A: try get(try number(UInt32.self))
        // BINPUT, LONG_BINPUT, MEMOIZE
        case 0x71: memo[UInt32(try byte())] = try top()
        case 0x72: memo[try number(UInt32.self)] = try top()
        case 0x94: memo[UInt32(memo.count)] = try top()
        // FRAME: its bytes must be there; then it means nothing.
        case 0x95:
            let count = try number(UInt64.self)
            guard count <= UInt64(bytes.count - position) else { throw EndOfBytes() }
        // GLOBAL, STACK_GLOBAL
        case 0x63:
            let module = try line()
            stack.append(try global(module: module, name: try line()))
        case 0x93:
            let name = string(try pop())
            guard let name, let module = string(try pop()) else {
                throw broken(.pickleGlobal, "STACK_GLOBAL with a module or name that is no text")
            }
            stack.append(try global(module: module, name: name))
        // BINPERSID
        case 0x51: stack.append(try storage(try pop()))
        // REDUCE, NEWOBJ, BUILD
        case 0x52:
            let arguments = try pop()
            stack.append(try call(try pop(), arguments))
        case 0x81:
            let arguments = try pop()
            let type = try pop()
            guard type == .global(.orderedDict) || type == .global(.plain) else {
                throw broken(.pickleCall, "NEWOBJ makes an object of a type that is not allowed")
            }
            stack.append(try call(type, arguments))
        case 0x62: try build(try pop())
        default:
            throw broken(
                .pickleOperation, "the pickle has the operation \(hex(operation)), which no state dict needs",
                help: "it may come from another program, or be made to do harm")
        }
    }

    private func hex(_ byte: UInt8) -> String { "0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true) }

    /// A length with a sign.
    private mutating func length<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type) throws -> UInt64 {
        guard let length = UInt64(exactly: try number(type)) else {
            throw broken(.pickleValue, "a length is negative")
        }
        return length
    }

    /// A two's complement integer, little-endian; beyond 64 bits only a number.
    private func long(_ piece: PickleValue.Piece) -> PickleValue {
        guard piece.count <= 8 else { return .number }
        var value: UInt64 = bytes[piece.range].last.map { $0 & 0x80 != 0 } == true ? .max : 0
        for byte in bytes[piece.range].reversed() { value = value << 8 | UInt64(byte) }
        return .int(Int64(bitPattern: value))
    }

    private mutating func oldText(_ count: UInt64) throws -> PickleValue {
        let piece = try piece(count)
        let isText = bytes.withUnsafeBytes {
            UTF8Validation.firstInvalidByte(in: UnsafeRawBufferPointer(rebasing: $0[piece.range])) == nil
        }
        return isText ? .text(piece) : .bytes(piece)
    }

    /// A line of GLOBAL, without its end. No allowed name has more than 255 bytes.
    private mutating func line() throws -> String {
        let window = bytes[position...].prefix(256)
        guard let end = window.firstIndex(of: 0x0A) else {
            if window.count < 256 { throw EndOfBytes() }
            throw broken(.pickleGlobal, "a module or name has more than 255 bytes")
        }
        let line = bytes[position..<end]
        position = end + 1
        guard line.withUnsafeBytes({ UTF8Validation.firstInvalidByte(in: $0) }) == nil else {
            throw broken(.pickleGlobal, "a module or name is not UTF-8")
        }
        return String(decoding: line, as: UTF8.self)
    }

    private func global(module: String, name: String) throws -> PickleValue {
        guard let global = TorchGlobal.named(module: module, name: name) else {
            func short(_ text: String) -> String { text.utf8.count > 80 ? String(text.prefix(80)) + "..." : text }
            throw broken(
                .pickleGlobal,
                "the pickle names \(short(module)).\(short(name)), which is not on the list of what a checkpoint may name",
                help: UnreadGlobal.help(module: module, name: name, isWhole: stack.isEmpty))
        }
        return .global(global)
    }

    private mutating func get(_ index: UInt32) throws {
        guard let value = memo[index] else { throw broken(.pickleStack, "nothing was put into the memo at \(index)") }
        stack.append(value)
    }

    private mutating func append(_ values: [PickleValue]) throws {
        guard case .list(let list) = try top() else { throw broken(.pickleValue, "APPEND on \(try top().kind)") }
        nodes[Int(list)] += values
    }

    private mutating func set(_ items: [PickleValue]) throws {
        guard case .dict(let dict) = try top() else { throw broken(.pickleValue, "SETITEM on \(try top().kind)") }
        guard items.count % 2 == 0 else { throw broken(.pickleStack, "SETITEMS with a key and no value") }
        for index in stride(from: 0, to: items.count, by: 2) where !items[index].isHashable {
            throw broken(.pickleValue, "\(items[index].kind) as a key")
        }
        nodes[Int(dict)] += items
    }
}

/// Whether a file begins as a pickle of protocol 0 or 1, which have no mark of their own: their opcodes are followed, and nothing
/// is executed.
///
/// Python's pickler gives every container and long string a number in the memo, and a pickle leaves one object on the stack; a
/// file of which that holds from its first byte to its STOP, or to the end of what was read, is one. A bare number is none: no
/// checkpoint is that. Source: Lib/pickletools.py of CPython, the opcodes with `proto` 0 and 1.
struct PicklePrefix {
    /// STOP, with which the file ends.
    static let end: [UInt8] = [UInt8(ascii: ".")]

    private(set) var isPickle = false
    private let bytes: [UInt8]
    private var place = 0
    /// Objects on the stack, and how many there were at each open mark.
    private var depth = 0
    private var marks: [Int] = []
    private var hasMemo = false

    /// - Parameter isWhole: whether nothing follows `bytes`.
    init(_ bytes: [UInt8], isWhole: Bool) {
        self.bytes = bytes
        while place < bytes.count {
            let opcode = bytes[place]
            place += 1
            if opcode == UInt8(ascii: ".") {
                isPickle = isWhole && place == bytes.count && hasMemo && depth == 1 && marks.isEmpty
                return
            }
            guard applies(opcode) else { return }
            guard skipsArgument(of: opcode) else {
                isPickle = !isWhole && hasMemo
                return
            }
        }
        isPickle = !isWhole && hasMemo
    }

    /// Moves the stack as the opcode does; false where it cannot.
    private mutating func applies(_ opcode: UInt8) -> Bool {
        switch Character(UnicodeScalar(opcode)) {
        case "(": marks.append(depth)
        case "1", "t", "l", "d", "o", "i", "u", "e": return closesMark(Character(UnicodeScalar(opcode)))
        case "N", "I", "F", "L", "S", "V", "P", "c", "g", "h", "j", "K", "M", "J", "G", "U", "T", "X", "}", "]", ")": depth += 1
        case "p", "q", "r":
            hasMemo = true
            return depth > (marks.last ?? 0)
        case "2": return moves(takes: 1, leaves: 2)
        case "0": return moves(takes: 1, leaves: 0)
        case "Q": return moves(takes: 1, leaves: 1)
        case "R", "b", "a": return moves(takes: 2, leaves: 1)
        case "s": return moves(takes: 3, leaves: 1)
        default: return false
        }
        return true
    }

    private mutating func moves(takes: Int, leaves: Int) -> Bool {
        guard depth - takes >= (marks.last ?? 0) else { return false }
        depth += leaves - takes
        return true
    }

    private mutating func closesMark(_ opcode: Character) -> Bool {
        guard let mark = marks.popLast() else { return false }
        let count = depth - mark
        depth = mark
        switch opcode {
        case "1": return true
        // SETITEMS and APPENDS change the object below the mark.
        case "u", "e": return depth > (marks.last ?? 0) && (opcode == "e" || count.isMultiple(of: 2))
        case "d" where !count.isMultiple(of: 2), "o" where count == 0: return false
        default:
            depth += 1
            return true
        }
    }

    /// Goes behind the argument; false where it goes on after the last byte.
    private mutating func skipsArgument(of opcode: UInt8) -> Bool {
        switch Character(UnicodeScalar(opcode)) {
        case "I", "F", "L", "S", "V", "P", "g", "p": return skipsLine()
        case "c", "i": return skipsLine() && skipsLine()
        case "K", "h", "q": return skips(1)
        case "M": return skips(2)
        case "J", "j", "r": return skips(4)
        case "G": return skips(8)
        case "U": return skipsString(lengthBytes: 1)
        case "T", "X": return skipsString(lengthBytes: 4)
        default: return true
        }
    }

    private mutating func skips(_ count: Int) -> Bool {
        place += count
        return place <= bytes.count
    }

    private mutating func skipsLine() -> Bool {
        guard let end = bytes[place...].firstIndex(of: 0x0A) else { return false }
        place = end + 1
        return true
    }

    private mutating func skipsString(lengthBytes: Int) -> Bool {
        guard place + lengthBytes <= bytes.count else { return false }
        let length = bytes[place..<(place + lengthBytes)].reversed().reduce(0) { $0 << 8 | Int($1) }
        place += lengthBytes
        return skips(length)
    }
}

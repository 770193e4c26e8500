import ByteAccess

/// Finds the tensors of an unpickled object and names them: the keys and positions on the way, joined by `.`.
///
/// Every tensor that the pickle made must be found, under one name or several; one that lies where nothing is found (in
/// a set, an attribute, beside the object) is refused, as nothing may be left out.
struct TorchNames {
    /// The names with the tensor of each, in the order of the pickle.
    private(set) var tensors: [(name: ExactString, tensor: Int)] = []
    /// The keys of the object itself, where it is a dict.
    private(set) var topLevelKeys: [ExactString] = []

    /// What all names together may have, in bytes: the most that a safetensors header has.
    private static let nameLimit = 100_000_000

    private struct Level {
        let node: Int
        var next = 0
        let isDict: Bool
        let nameCount: Int
    }

    init(_ root: PickleValue, in machine: PickleMachine) throws {
        func broken(_ message: String, _ name: [UInt8]) -> PeftfileError {
            TorchRule.name.broken(
                message, file: machine.file, tensor: name.isEmpty ? nil : ExactString(String(decoding: name, as: UTF8.self)))
        }
        var name: [UInt8] = []
        var isOpen = [Bool](repeating: false, count: machine.nodes.count)
        var levels: [Level] = []
        var visits = 0
        var nameBytes = 0
        var seen: Set<ExactString> = []
        var isFound = [Bool](repeating: false, count: machine.tensors.count)

        /// Objects that are shared appear often: the way through all appearances must be short too.
        func count() throws {
            visits += 1
            guard visits <= PickleMachine.operationLimit else {
                throw TorchRule.pickleLimit.broken(
                    "the checkpoint's objects, each counted where it appears, are more than \(visits - 1)",
                    file: machine.file)
            }
        }

        /// Takes a value under the name that is spelt now.
        func visit(_ value: PickleValue) throws {
            try count()
            switch value {
            case .tensor(let place):
                nameBytes += name.count
                guard nameBytes <= TorchNames.nameLimit else {
                    throw broken("the tensors' names have more than \(TorchNames.nameLimit) bytes", [])
                }
                let spelt = ExactString(String(decoding: name, as: UTF8.self))
                guard seen.insert(spelt).inserted else { throw broken("two tensors have this name", name) }
                isFound[Int(place)] = true
                tensors.append((spelt, Int(place)))
            case .dict(let place), .list(let place), .tuple(let place):
                guard !isOpen[Int(place)] else { throw broken("an object holds itself", Array(name.prefix(200))) }
                isOpen[Int(place)] = true
                var isDict = false
                if case .dict = value {
                    isDict = true
                    // A dict has each key once; of two, Python keeps the last one silently.
                    var texts: Set<ArraySlice<UInt8>> = []
                    var numbers: Set<Int64> = []
                    for index in stride(from: 0, to: machine.nodes[Int(place)].count, by: 2) {
                        let key = machine.nodes[Int(place)][index]
                        let isNew =
                            switch key {
                            case .text(let piece): texts.insert(machine.bytes[piece.range]).inserted
                            case .int(let number): numbers.insert(number).inserted
                            // True is 1 and False 0.
                            case .bool(let value): numbers.insert(value ? 1 : 0).inserted
                            // Under any other key no tensor is found.
                            default: true
                            }
                        guard isNew else {
                            let spelt = (TorchNames.spelling(key, machine) ?? []).prefix(200)
                            let dot = levels.isEmpty ? [] : [UInt8(ascii: ".")]
                            throw broken("a dict has one key twice", name + dot + spelt)
                        }
                    }
                }
                levels.append(Level(node: Int(place), isDict: isDict, nameCount: name.count))
            default: break
            }
        }

        try visit(root)
        while let level = levels.last {
            let values = machine.nodes[level.node]
            name.removeLast(name.count - level.nameCount)
            guard level.next < values.count else {
                isOpen[level.node] = false
                levels.removeLast()
                continue
            }
            levels[levels.count - 1].next += level.isDict ? 2 : 1
            let value = values[level.isDict ? level.next + 1 : level.next]
            switch value {
            case .tensor, .dict, .list, .tuple: break
            default:
                try count()
                continue
            }
            let key = level.isDict ? TorchNames.spelling(values[level.next], machine) : Array(String(level.next).utf8)
            guard let key else {
                // A container without tensors may have any key.
                guard case .tensor = value else { continue }
                throw broken("a tensor's key is \(values[level.next].kind)", name)
            }
            if levels.count == 1, level.isDict { topLevelKeys.append(ExactString(String(decoding: key, as: UTF8.self))) }
            if levels.count > 1 { name.append(UInt8(ascii: ".")) }
            name += key
            try visit(value)
        }
        // Where there is no name there is one tensor, the object itself.
        if let lost = isFound.firstIndex(of: false) {
            let storage = machine.storages[machine.tensors[lost].storage].key.text
            throw broken(
                "a tensor (of the storage \"\(storage.printable)\") is made and then kept under no key", [])
        }
    }

    /// How a key of a dict is spelt in a name; nil for what has no spelling.
    private static func spelling(_ key: PickleValue, _ machine: PickleMachine) -> [UInt8]? {
        switch key {
        case .text(let piece): Array(machine.bytes[piece.range])
        case .int(let number): Array(String(number).utf8)
        case .bool(let value): Array((value ? "True" : "False").utf8)
        default: nil
        }
    }
}

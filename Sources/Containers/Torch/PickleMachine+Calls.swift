import ByteAccess
import Tensors

/// What the allowed names mean when a pickle calls them.
extension PickleMachine {
    /// REDUCE: gives the value that the function would return.
    mutating func call(_ function: PickleValue, _ arguments: PickleValue) throws -> PickleValue {
        guard case .global(let global) = function else {
            throw broken(.pickleCall, "the pickle calls \(function.kind), which is no function")
        }
        guard case .tuple(let tuple) = arguments else {
            throw broken(.pickleCall, "the pickle calls a function with \(arguments.kind) instead of a tuple")
        }
        return try call(global, nodes[Int(tuple)])
    }

    private mutating func call(_ global: TorchGlobal, _ arguments: [PickleValue]) throws -> PickleValue {
        switch global {
        case .orderedDict: return try orderedDict(arguments)
        case .rebuildTensor(let version): return try tensor(arguments, version: version)
        case .rebuildParameter, .rebuildParameterWithState:
            // (data, requires_grad, backward_hooks[, state])
            guard arguments.count == (global == .rebuildParameter ? 3 : 4), case .tensor? = arguments.first else {
                throw broken(.pickleCall, "a parameter is rebuilt from something else than a tensor")
            }
            if arguments.count == 4 { try requireNoNumbers(arguments[3]) }
            return arguments[0]
        case .rebuildFromType:
            // (function, type, arguments, state)
            guard arguments.count == 4, case .global(let inner) = arguments[0], arguments[1] == .global(.tensorType),
                case .tuple(let tuple) = arguments[2]
            else { throw broken(.pickleCall, "a tensor is rebuilt by something else than a function of the list") }
            try requireNoNumbers(arguments[3])
            switch inner {
            case .rebuildTensor, .rebuildParameter: return try call(inner, nodes[Int(tuple)])
            default: throw broken(.pickleCall, "a tensor is rebuilt by something else than a rebuild function")
            }
        case .size:
            guard arguments.count == 1, case .tuple? = arguments.first else {
                throw broken(.pickleCall, "torch.Size is called without a tuple")
            }
            return arguments[0]
        case .encode:
            // Bytes in protocol 2: latin-1 text. Other codecs can compress.
            guard arguments.count == 2, case .text(let piece)? = arguments.first,
                let codec = string(arguments[1]), codec == "latin1" || codec == "latin-1"
            else { throw broken(.pickleCall, "_codecs.encode is called with something else than text and latin1") }
            return .bytes(piece)
        case .byteArray:
            // A number would be a size to allocate.
            guard arguments.count <= 1, arguments.first?.isBytes ?? true else {
                throw broken(.pickleCall, "bytearray is called with something else than bytes")
            }
            return .plain
        case .numpyDType:
            guard arguments.count == 3, case .text? = arguments.first else {
                throw broken(.pickleCall, "numpy.dtype is called with something else than its name")
            }
            return .numpyDType
        case .numpyScalar:
            guard arguments.count == 2, arguments[0] == .numpyDType, arguments[1].isBytes else {
                throw broken(.pickleCall, "a numpy scalar is made from something else than a dtype and bytes")
            }
            return .plain
        case .plain:
            return .plain
        case .tensorType, .storage, .untypedStorage, .dtype:
            throw broken(.pickleCall, "the pickle calls a type, which no checkpoint does")
        }
    }

    /// `OrderedDict()`, or with a list of pairs as Python 2 writes it.
    private mutating func orderedDict(_ arguments: [PickleValue]) throws -> PickleValue {
        guard let first = arguments.first else { return .dict(node()) }
        guard arguments.count == 1, case .list(let list) = first else {
            throw broken(.pickleCall, "OrderedDict is called with something else than a list of pairs")
        }
        var items: [PickleValue] = []
        for pair in nodes[Int(list)] {
            guard case .tuple(let place) = pair.asTuple, nodes[Int(place)].count == 2, nodes[Int(place)][0].isHashable
            else { throw broken(.pickleCall, "OrderedDict is called with something else than a list of pairs") }
            items += nodes[Int(place)]
        }
        return .dict(node(items))
    }

    /// BUILD: attributes of an object. Of a dict (`_metadata` of a state dict) and of a tensor they hold no weights.
    mutating func build(_ state: PickleValue) throws {
        let object = try top()
        switch (object, state) {
        case (.dict, .dict): break
        case (.tensor, .dict): try requireNoNumbers(state)
        // dtype.__setstate__: (version, byteorder, subdtype, names, fields, size, alignment, flags).
        case (.numpyDType, .tuple): break
        default: throw broken(.pickleCall, "BUILD sets \(object.kind) from \(state.kind)")
        }
    }

    /// Attributes that a tensor is given: a dict, or a pair of one and those of slots. Some names are the tensor's own numbers.
    ///
    /// Source: `_set_obj_state` in torch/_utils.py, which calls `setattr`.
    private func requireNoNumbers(_ state: PickleValue) throws {
        var dicts = [state]
        if case .tuple(let place) = state { dicts = nodes[Int(place)] }
        guard dicts.count <= 2 else { throw broken(.pickleCall, "a tensor has a state of \(dicts.count) values") }
        for value in dicts {
            if value == .none { continue }
            guard case .dict(let place) = value else { throw broken(.pickleCall, "a tensor has \(value.kind) for its state") }
            let items = nodes[Int(place)]
            for index in stride(from: 0, to: items.count, by: 2) {
                guard let name = string(items[index]), ["data", "real", "imag"].contains(name) else { continue }
                throw broken(.pickleCall, "a tensor's state sets its \(name), which would change its numbers")
            }
        }
    }

    /// BINPERSID: ("storage", class, key, location, count) and, in the old form, a view that must be None.
    mutating func storage(_ id: PickleValue) throws -> PickleValue {
        func fail(_ message: String) -> PeftfileError { broken(.storage, "a persistent id " + message) }
        guard case .tuple(let place) = id, nodes[Int(place)].count >= 5,
            string(nodes[Int(place)][0]) == "storage"
        else { throw fail("names no storage") }
        let fields = nodes[Int(place)]
        guard fields.count == 5 || fields.count == 6 && fields[5] == .none else {
            throw fail(fields.count == 6 ? "names a view of a storage, a form of before torch 0.4" : "has \(fields.count) values")
        }
        let dtype: DType?
        switch fields[1] {
        case .global(.storage(let known?)): dtype = known
        case .global(.storage(nil)):
            throw broken(.dtype, "a storage has quantised elements or complex numbers of 128 bits, which are not read")
        case .global(.untypedStorage): dtype = nil
        default: throw fail("has \(fields[1].kind) for the class of a storage")
        }
        guard let key = string(fields[2]).map({ ExactString($0) }), case .text = fields[3] else {
            throw fail("has a key or a location that is no text")
        }
        guard case .int(let number) = fields[4], let count = UInt64(exactly: number) else {
            throw fail("has no number of elements")
        }
        let (byteCount, overflow) = count.multipliedReportingOverflow(by: UInt64((dtype?.bits ?? 8) / 8))
        guard !overflow, byteCount <= UInt64(Int64.max) else { throw fail("has a size beyond 63 bits") }
        if let known = storageOf[key] {
            // Tensors share it; one record has one type and size.
            guard storages[Int(known)].dtype == dtype, storages[Int(known)].count == count else {
                throw fail("gives the storage \"\(key.text.printable)\" another type or size than before")
            }
            return .storage(known)
        }
        storages.append(PickleStorage(dtype: dtype, key: key, count: count, byteCount: byteCount))
        storageOf[key] = Int32(storages.count - 1)
        return .storage(Int32(storages.count - 1))
    }
}

extension PickleValue {
    fileprivate var isBytes: Bool {
        switch self {
        // SHORT_BINSTRING of Python 2 that happens to be UTF-8, and its bytes in latin-1.
        case .bytes, .text: true
        default: false
        }
    }

    /// A pair may be a tuple or a list.
    fileprivate var asTuple: PickleValue {
        if case .list(let place) = self { return .tuple(place) }
        return self
    }
}

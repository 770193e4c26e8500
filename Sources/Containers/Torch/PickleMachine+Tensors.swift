import ByteAccess
import Tensors

extension PickleMachine {
    /// `_rebuild_tensor(storage, offset, size, stride)`, `_v2(..., requires_grad, hooks[, metadata])`,
    /// `_v3(..., requires_grad, hooks, dtype[, metadata])`.
    ///
    /// An element i₀ … iₙ₋₁ stands in its storage at offset + Σ iₖ·strideₖ; the largest of these places must be in the
    /// storage. Everything is checked without overflow; negative strides are refused, as torch has none.
    ///
    /// The metadata is a dict of the bits that are set, `neg` and `conj` (``PendingSigns``); hooks and requires_grad hold no numbers.
    ///
    /// Source: torch/_utils.py, where `set_tensor_metadata` asks for the keys alone; `checkInBoundsForStorage` and `computeStorageNbytes` in ATen.
    mutating func tensor(_ arguments: [PickleValue], version: Int) throws -> PickleValue {
        let counts = version == 1 ? 4...4 : version == 2 ? 6...7 : 7...8
        guard counts.contains(arguments.count) else {
            throw broken(.pickleCall, "a tensor is rebuilt from \(arguments.count) values")
        }
        guard case .storage(let place) = arguments[0] else {
            throw broken(.pickleCall, "a tensor is rebuilt from \(arguments[0].kind) instead of a storage")
        }
        let storage = storages[Int(place)]
        let dtype: DType
        switch (version, storage.dtype) {
        case (3, let own):
            guard case .global(.dtype(let named)) = arguments[6] else {
                throw broken(.pickleCall, "a tensor has \(arguments[6].kind) for its dtype")
            }
            guard let named else { throw broken(.dtype, "a tensor has a dtype that safetensors does not have") }
            guard own == nil || own == named else { throw broken(.dtype, "a tensor and its storage have two dtypes") }
            dtype = named
        case (_, let own?): dtype = own
        default: throw broken(.dtype, "a tensor has no dtype")
        }
        guard case .int(let start) = arguments[1], let offset = UInt64(exactly: start) else {
            throw broken(.geometry, "a tensor's offset is no number or negative")
        }
        let shape = try dimensions(arguments[2], "size")
        let strides = try dimensions(arguments[3], "stride")
        guard shape.count == strides.count else {
            throw broken(.geometry, "a tensor has \(shape.count) sizes and \(strides.count) strides")
        }
        // From left to right, as safetensors counts too.
        let unit = PickleTensor.unit(of: dtype)
        guard let elements = shape.elementCount, elements <= Int.max / (unit.bits / 8), let written = PickleTensor.written(shape, dtype) else {
            throw broken(.geometry, "a tensor's number of bytes does not fit 63 bits")
        }
        guard unit == dtype || !shape.isEmpty else {
            throw broken(.dtype, "a tensor without dimensions is two elements of \(dtype.rawValue), for which safetensors has no shape")
        }
        try check(elements, offset, shape, strides, storage.byteCount / UInt64(unit.bits / 8))
        let signs = try arguments.count == counts.upperBound && version > 1 ? signs(arguments[arguments.count - 1], dtype) : PendingSigns()
        tensors.append(
            PickleTensor(
                storage: Int(place), dtype: dtype, offset: offset, shape: shape, strides: strides, signs: signs, writtenShape: written))
        return .tensor(Int32(tensors.count - 1))
    }

    /// The bits that a tensor's metadata sets; `True` is all that torch writes for one.
    private func signs(_ metadata: PickleValue, _ dtype: DType) throws -> PendingSigns {
        var signs = PendingSigns()
        guard metadata != .none else { return signs }
        guard case .dict(let place) = metadata else { throw broken(.pickleCall, "a tensor has \(metadata.kind) for its metadata") }
        let items = nodes[Int(place)]
        for index in stride(from: 0, to: items.count, by: 2) {
            let key = string(items[index])
            guard key == "neg" || key == "conj", items[index + 1] == .bool(true) else {
                throw broken(.pickleCall, "a tensor's metadata has \(key.map { "\"\($0.printable)\"" } ?? items[index].kind), and neg and conj are the bits that it may set")
            }
            if key == "neg" { signs.isNegated = true } else { signs.isConjugated = true }
        }
        guard signs.apply(to: dtype) else {
            throw broken(
                .dtype, "a tensor of \(dtype.rawValue) has the \(signs.isConjugated ? "conj" : "neg") bit, which torch cannot resolve either",
                help: "save it again with tensor.resolve_neg().resolve_conj()")
        }
        return signs
    }

    /// Holds a tensor's farthest element against the elements that its storage has.
    private func check(
        _ elements: Int, _ offset: UInt64, _ shape: Shape, _ strides: [Int], _ available: UInt64
    ) throws {
        func outside() -> PeftfileError {
            broken(.geometry, "a tensor reaches beyond its storage of \(available) elements")
        }
        guard elements > 0 else {
            guard offset <= available else { throw outside() }
            return
        }
        var last = offset
        for (size, stride) in zip(shape, strides) {
            let (reach, overflow) = UInt64(size - 1).multipliedReportingOverflow(by: UInt64(stride))
            let (sum, overflow2) = last.addingReportingOverflow(reach)
            guard !overflow, !overflow2 else { throw outside() }
            last = sum
        }
        guard last < available else { throw outside() }
    }

    /// A tuple of sizes or strides. At most 64, which is what torch's own indexing carries.
    private func dimensions(_ value: PickleValue, _ what: String) throws -> [Int] {
        guard case .tuple(let place) = value else { throw broken(.geometry, "a tensor's \(what) is \(value.kind)") }
        let values = nodes[Int(place)]
        guard values.count <= 64 else { throw broken(.geometry, "a tensor has \(values.count) dimensions; at most 64 are read") }
        return try values.map { value in
            guard case .int(let number) = value, let dimension = Int(exactly: number), dimension >= 0 else {
                throw broken(.geometry, "a tensor's \(what) holds \(value.kind) that is no size")
            }
            return dimension
        }
    }
}

import Adapters
import ByteAccess
import Checkpoints
import Tensors

extension CheckSubject {
    /// Whether all elements of a tensor of the file are this number.
    func isAll(_ name: ExactString, _ number: Double) throws -> Bool {
        guard let checkpoint = weights.checkpoint, let position = checkpoint.position(of: name),
            let statistics = try values().statistics[position]
        else { return false }
        let info = checkpoint.tensors[position].info
        return info.elementCount > 0 && statistics.count == info.elementCount && statistics.minimum == number
            && statistics.maximum == number
    }

    /// The formulas of the adapter's modules.
    func stated() throws -> AdapterEffects { try statedEffects.value { try adapter().effects() } }

    /// What the adapter does to its modules; nil where it cannot be read as one, which other rules report.
    func effects() throws -> EffectTable? {
        try effectTable.value {
            if let report = bottlenecks { return EffectTable(report) { (try? self.isAll($0, 0)) ?? false } }
            guard weights.checkpoint != nil, let effects = try? stated() else { return nil }
            _ = try values()
            return try EffectTable(effects) { (try? self.isAll($0, $1)) ?? false }
        }
    }

    /// The tensors that the adapter stores whole, and whether each is what the base has already; nil where no base tells.
    func storedWhole() throws -> [(tensor: ExactString, isBase: Bool?)] {
        let saved = try effects()?.saved ?? []
        guard !saved.isEmpty, let binding = binding.binding else { return saved.map { ($0, nil) } }
        var same: [ExactString: Bool] = [:]
        let numbers = AdapterNumbers(adapters: binding.adapters, base: binding.base)
        for update in binding.changes[0] {
            guard let name = update.wholeTensor else { continue }
            for stored in binding.adapters[0].storedTensors(of: name) {
                same[stored] = try (same[stored] ?? true) && update.isBase(numbers, base: binding.base)
            }
        }
        return saved.map { ($0, same[$0]) }
    }
}

extension ParameterUpdate {
    /// The tensor that takes the place of the parameter, or of rows of it.
    fileprivate var wholeTensor: ExactString? {
        switch change {
        case .replace(let tensor, _): tensor
        case .replaceRows(_, let values): values.tensor
        default: nil
        }
    }

    /// Whether what takes the parameter's place is the base's own, number by number; false where the parameter lies in several
    /// tensors, or in another layout.
    fileprivate func isBase(_ numbers: AdapterNumbers, base: Checkpoint) throws -> Bool {
        guard place.pieces.count == 1, let piece = place.pieces.first, !piece.transposed, let stored = base[piece.tensor],
            stored.dtype.isMergeable
        else { return false }
        switch change {
        case .replace(let tensor, _):
            return try numbers.isBase(tensor, adapter: 0, piece.tensor)
        case .replaceRows(let indices, let values):
            let own = try values.matrix(from: numbers)
            let width = values.columns
            return try indices.enumerated().allSatisfy { row, index in
                try numbers.baseRow(index, of: piece.tensor)[...] == own[(row * width)..<((row + 1) * width)]
            }
        default: return false
        }
    }
}

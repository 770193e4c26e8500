import ByteAccess
import Checkpoints
import Tensors

/// A quantised weight read by loops that say its formula and nothing else: one element at a time, one bit at a time where codes are
/// packed. The merge reads the same bytes by other code, so that neither can hide a mistake of the other.
final class PlainDequantisation: Sendable {
    let weight: any QuantisedWeight
    let components: ComponentReader
    private let nested = Mutex<[Double]?>(nil)

    init(_ weight: any QuantisedWeight, components: ComponentReader) {
        self.weight = weight
        self.components = components
    }

    /// The elements from `first` to `last` of the plain tensor, row-major.
    func values(_ elements: Range<Int>) throws -> [Double] {
        guard !elements.isEmpty else { return [] }
        switch weight {
        case let weight as CodebookWeight: return try values(weight, elements)
        case let weight as ScaledWeight: return try values(weight, elements)
        case let weight as RowPackedWeight: return try values(weight, elements)
        case let weight as ColumnPackedWeight: return try values(weight, elements)
        case let weight as MXFP4Weight: return try values(weight, elements)
        case let weight as MLXFloatWeight: return try values(weight, elements)
        case let weight as GGUFWeight: return try values(weight, elements)
        case let weight as NF4RoundTripWeight: return try values(weight, elements)
        default:
            throw PeftfileError(
                .unsupported, "is stored in a scheme that verify has no loops for", tensor: weight.name, rule: "UnknownScheme")
        }
    }

    /// Numbers of a whole tensor that every part needs, computed once.
    func once(_ make: () throws -> [Double]) throws -> [Double] {
        try nested.withLock { known in
            if let known { return known }
            let made = try make()
            known = made
            return made
        }
    }

    /// `count` bits from bit `start` on of little-endian 32-bit words, taken one by one.
    static func bits(_ bytes: ArraySlice<UInt8>, from start: Int, count: Int) -> Int {
        var value = 0
        for bit in 0..<count {
            let position = start + bit
            let byte = Int(bytes[bytes.startIndex + position / 8])
            value += (byte / (1 << (position % 8)) % 2) << bit
        }
        return value
    }
}

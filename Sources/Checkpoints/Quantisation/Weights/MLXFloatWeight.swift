public import ByteAccess
public import Tensors

/// A weight of MLX's floating-point modes: codes of 4 or 8 bits along the row, which are floats themselves, and a scale of one byte for
/// each group of columns.
///
///     W[r, c] = E2M1[q[r, c]] · 2^(s[r, c / 32] − 127)        mxfp4
///     W[r, c] = E4M3[q[r, c]] · 2^(s[r, c / 32] − 127)        mxfp8
///     W[r, c] = E2M1[q[r, c]] · E4M3[s[r, c / 16]]            nvfp4
///
/// A stack of matrices is read as one matrix of all their rows. Every product is exact in float64; codes and scales of E4M3 that are
/// NaN make NaN. Source: `fp_dequantize` in mlx/ops.cpp of ml-explore/mlx.
public struct MLXFloatWeight: QuantisedWeight {
    public let name: ExactString
    public let shape: Shape
    public let codes: StoredTensor
    /// The format of codes and scales.
    public let mode: Mode
    /// (rows, groups), one byte each; of a stack (matrices, rows, groups).
    public let scale: StoredTensor
    public var components: [StoredTensor] { [codes, scale] }

    /// The modes, under the names of the config.
    public enum Mode: String, Sendable, Hashable, CaseIterable {
        /// E2M1 with a power of two for 32 elements.
        case mxfp4
        /// E2M1 with an E4M3 for 16 elements.
        case nvfp4
        /// E4M3 with a power of two for 32 elements.
        case mxfp8

        /// Bits of a code.
        public var bits: Int { self == .mxfp8 ? 8 : 4 }
        /// Columns that share a scale.
        public var groupSize: Int { self == .nvfp4 ? 16 : 32 }
    }

    /// Columns of the plain weight.
    public var columns: Int { shape.last ?? 0 }
    /// Words of a row.
    public var rowWords: Int { codes.shape.last ?? 0 }
    /// Groups of a row.
    public var groups: Int { scale.shape.last ?? 1 }

    /// Fills `result` with elements of the plain tensor, in row-major order, by the formula of the type.
    ///
    /// - Throws: what ``Checkpoint/read(_:bytes:)`` throws for the codes and the scales.
    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        guard !elements.isEmpty, let base = result.baseAddress else { return }
        let first = elements.lowerBound / columns
        let last = (elements.upperBound - 1) / columns
        let scales = try components.bytes(scale, (first * groups)..<((last + 1) * groups))
        let floats = try MLXFloatWeight.floats.get()
        let values = mode == .mxfp8 ? floats : MXFP4Weight.values
        let factors = mode == .nvfp4 ? floats : MLXFloatWeight.powers
        try forEachUnpackedRow(of: elements, columns: columns, packed: codes, bits: mode.bits, from: components) { row, columnRange, place, codes in
            for (index, column) in columnRange.enumerated() {
                base[place + index] = values[Int(codes[column])] * factors[Int(scales[row * groups + column / mode.groupSize])]
            }
        }
    }

    /// E4M3 by code.
    private static let floats = Result { try Conversion.widened((0...255).map { UInt8($0) }, as: .f8E4M3, count: 256) }
    /// E8M0 by code.
    private static let powers = (0...255).map { Double(sign: .plus, exponent: $0 - 127, significand: 1) }
}

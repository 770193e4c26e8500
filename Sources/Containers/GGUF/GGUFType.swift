public import Tensors

/// The element types of ggml; the raw value is the number in the file.
///
/// Rows are cut into blocks of `blockElements` elements, each of `blockBytes` bytes; a plain number is a block of one.
/// Source: `enum ggml_type` in ggml/include/ggml.h and the block structures of ggml/src/ggml-common.h, of
/// ggml-org/llama.cpp. Numbers that are not here (4, 5, 31 to 33, 36 to 38) were taken back by ggml.
public enum GGUFType: UInt32, Sendable, Hashable, CaseIterable {
    /// A floating-point number.
    case f32 = 0, f16 = 1, f64 = 28, bf16 = 30
    /// Blocks of 32 codes of so many bits with a scale d, and where the last digit is 1 a minimum or sum.
    case q4_0 = 2, q4_1 = 3, q5_0 = 6, q5_1 = 7, q8_0 = 8, q8_1 = 9
    /// Superblocks of 256 codes, whose parts have scales of few bits.
    case q2_K = 10, q3_K = 11, q4_K = 12, q5_K = 13, q6_K = 14, q8_K = 15
    /// Codes that are indices into tables of vectors.
    case iq2_XXS = 16, iq2_XS = 17, iq3_XXS = 18, iq1_S = 19, iq4_NL = 20, iq3_S = 21, iq2_S = 22, iq4_XS = 23, iq1_M = 29
    /// A whole number.
    case i8 = 24, i16 = 25, i32 = 26, i64 = 27
    /// Three values an element.
    case tq1_0 = 34, tq2_0 = 35
    /// Four-bit floats with scales of eight bits; two values an element.
    case mxfp4 = 39, nvfp4 = 40, q1_0 = 41

    /// The name as llama.cpp writes it: `Q4_K`.
    public var name: String { "\(self)".uppercased() }

    /// The dtype of plain numbers; nil for blocks.
    public var dtype: DType? {
        switch self {
        case .f32: .f32
        case .f16: .f16
        case .bf16: .bf16
        case .f64: .f64
        case .i8: .i8
        case .i16: .i16
        case .i32: .i32
        case .i64: .i64
        default: nil
        }
    }

    /// The type of plain numbers of this dtype; nil where ggml has none.
    public init?(_ dtype: DType) {
        guard let type = GGUFType.allCases.first(where: { $0.dtype == dtype }) else { return nil }
        self = type
    }

    /// Elements of a block.
    public var blockElements: Int { block.elements }
    /// Bytes of a block.
    public var blockBytes: Int { block.bytes }

    private var block: (elements: Int, bytes: Int) {
        switch self {
        case .f32, .f16, .bf16, .f64, .i8, .i16, .i32, .i64: (1, (dtype?.bits ?? 8) / 8)
        case .q4_0, .iq4_NL: (32, 2 + 16)
        case .q4_1: (32, 4 + 16)
        case .q5_0: (32, 2 + 4 + 16)
        case .q5_1: (32, 4 + 4 + 16)
        case .q8_0: (32, 2 + 32)
        case .q8_1: (32, 4 + 32)
        case .q2_K: (256, 16 + 64 + 4)
        case .q3_K: (256, 32 + 64 + 12 + 2)
        case .q4_K: (256, 4 + 12 + 128)
        case .q5_K: (256, 4 + 12 + 32 + 128)
        case .q6_K: (256, 128 + 64 + 16 + 2)
        case .q8_K: (256, 4 + 256 + 32)
        case .iq2_XXS: (256, 2 + 64)
        case .iq2_XS: (256, 2 + 64 + 8)
        case .iq2_S: (256, 2 + 64 + 16)
        case .iq3_XXS: (256, 2 + 64 + 32)
        case .iq3_S: (256, 2 + 64 + 32 + 8 + 4)
        case .iq1_S: (256, 2 + 32 + 16)
        case .iq1_M: (256, 32 + 16 + 8)
        case .iq4_XS: (256, 2 + 2 + 4 + 128)
        case .tq1_0: (256, 2 + 52)
        case .tq2_0: (256, 2 + 64)
        case .mxfp4: (32, 1 + 16)
        case .nvfp4: (64, 4 + 32)
        case .q1_0: (128, 2 + 16)
        }
    }

    /// The shape of a tensor's bytes: that of plain numbers, or rows of blocks.
    func storedShape(_ shape: Shape) -> Shape {
        guard dtype == nil, let row = shape.last else { return shape }
        return shape.dropLast() + [row / blockElements * blockBytes]
    }

    /// The bytes of a tensor of this shape; nil where a row is no whole number of blocks, or the number does not fit.
    public func byteCount(_ shape: Shape) -> Int? {
        guard let count = shape.elementCount, (shape.last ?? 1) % blockElements == 0 else { return nil }
        let (bytes, overflow) = (count / blockElements).multipliedReportingOverflow(by: blockBytes)
        return overflow ? nil : bytes
    }
}

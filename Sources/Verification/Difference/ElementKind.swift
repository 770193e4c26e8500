import Tensors

/// How the elements of a tensor are compared: as which type, and how many of them there are.
struct ElementKind: Sendable, Hashable {
    /// The type that the bytes are read as. A complex number is read as two of F32, its real and its imaginary part.
    let dtype: DType
    let isComplex: Bool

    init(_ dtype: DType) {
        isComplex = dtype == .c64
        self.dtype = isComplex ? .f32 : dtype
    }

    /// How many compared elements there are for one of the tensor's.
    var parts: Int { isComplex ? 2 : 1 }

    /// Whether float64 cannot hold every element: 64-bit integers.
    var isWideInteger: Bool { dtype == .i64 || dtype == .u64 }

    /// The type whose steps count the distance between two tensors: their own, or of two the one with fewer digits,
    /// so that a tensor and its rounded copy are 0 apart. Nil where one of them has no steps.
    static func steps(_ a: ElementKind, _ b: ElementKind) -> DType? {
        guard let digitsA = a.digits, let digitsB = b.digits else { return nil }
        return digitsA <= digitsB ? a.dtype : b.dtype
    }

    /// Binary digits of a number's significand.
    private var digits: Int? {
        switch dtype {
        case .f64: 53
        case .f32: 24
        case .f16: 11
        case .bf16: 8
        default: nil
        }
    }
}

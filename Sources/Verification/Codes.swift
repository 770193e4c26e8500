import Tensors

/// The bit patterns of a floating-point dtype, in the order of the numbers.
///
/// Codes are sign and magnitude, so on each side of zero they are ordered as integers; −0 and +0 have one place.
struct CodeOrder<Code: FixedWidthInteger & UnsignedInteger & Sendable>: Sendable {
    /// The code of +∞; a greater magnitude is NaN.
    let infinity: Code

    private var sign: Code { 1 << (Code.bitWidth - 1) }

    func magnitude(_ code: Code) -> Code { code & ~sign }
    func isNaN(_ code: Code) -> Bool { magnitude(code) > infinity }
    func isZero(_ code: Code) -> Bool { magnitude(code) == 0 }

    /// The place of a number's code; neighbouring numbers differ by 1.
    func place(_ code: Code) -> Int64 {
        let size = Int64(magnitude(code))
        return code & sign == 0 ? size : -size
    }

    /// Whether `code` lies between two numbers or at most `steps` outside of them.
    func isWithin(_ steps: UInt64, of low: Code, _ high: Code, _ code: Code) -> Bool {
        if isNaN(code) || isNaN(low) || isNaN(high) { return false }
        let (a, b, c) = (place(low), place(high), place(code))
        // The difference of two places is below 2⁶⁴: wrapping subtraction gives it.
        if c < a { return UInt64(bitPattern: a &- c) <= steps }
        if c > b { return UInt64(bitPattern: c &- b) <= steps }
        return true
    }
}

/// A sum of float64 numbers without any error: numbers that do not overlap, smallest first (J. Shewchuk, Adaptive
/// Precision Floating-Point Arithmetic, 1997, theorem 10). Valid without overflow and underflow.
struct ExactSum {
    private(set) var parts: [Double] = []

    mutating func add(_ value: Double) {
        var carry = value
        var result: [Double] = []
        for part in parts {
            let sum = carry + part
            let virtual = sum - carry
            let error = (carry - (sum - virtual)) + (part - virtual)
            if error != 0 { result.append(error) }
            carry = sum
        }
        if carry != 0 { result.append(carry) }
        parts = result
    }

    /// Adds a·b, as the rounded product and its error.
    mutating func addProduct(_ a: Double, _ b: Double) {
        let product = a * b
        add((-product).addingProduct(a, b))
        add(product)
    }

    func times(_ factor: Double) -> ExactSum {
        var result = ExactSum()
        for part in parts { result.addProduct(part, factor) }
        return result
    }

    mutating func add(_ other: ExactSum) { for part in other.parts { add(part) } }

    /// The sum minus `value`, with one rounding in all but the last digits.
    func minus(_ value: Double) -> Double {
        var difference = self
        difference.add(-value)
        return difference.parts.reduce(0, +)
    }

    var value: Double { parts.reduce(0, +) }
}

/// Numbers in messages.
enum Figure {
    /// About three significant digits: `0.25`, `1.2e+20`.
    static func number(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value < 0 ? "-Inf" : "Inf" }
        let size = abs(value)
        guard size != 0, size < 1e-3 || size >= 1e6 else {
            let rounded = (value * 1000).rounded() / 1000
            return rounded == rounded.rounded() ? String(Int(rounded)) : "\(rounded)"
        }
        var exponent = 0
        var mantissa = value
        while abs(mantissa) >= 10 { mantissa /= 10; exponent += 1 }
        while abs(mantissa) < 1 { mantissa *= 10; exponent -= 1 }
        return "\((mantissa * 10).rounded() / 10)e\(exponent < 0 ? "-" : "+")\(abs(exponent))"
    }

    /// `12.3 %`.
    static func percent(_ share: Double) -> String { "\((share * 1000).rounded() / 10) %" }
}

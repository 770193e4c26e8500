import Peftfile

/// Numbers and tables as pages show them.
enum Text {
    /// `1,234,567`.
    static func count(_ value: some BinaryInteger) -> String {
        let digits = String(value)
        var result = ""
        for (position, digit) in digits.enumerated() {
            if position > 0, (digits.count - position) % 3 == 0, digits[digits.index(digits.startIndex, offsetBy: position - 1)] != "-" {
                result.append(",")
            }
            result.append(digit)
        }
        return result
    }

    /// `1 tensor`, `1,234 tensors`.
    static func counted(_ value: Int, _ noun: String) -> String { "\(count(value)) \(noun)\(value == 1 ? "" : "s")" }

    /// Decimal units, three digits: `2.20 GB`, `14.0 kB`, `812 bytes`.
    static func bytes(_ value: UInt64) -> String {
        let units: [(String, Double)] = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)]
        for (name, size) in units where Double(value) >= size { return "\(digits(Double(value) / size)) \(name)" }
        return "\(value) bytes"
    }

    /// `12,672 (12.7 kB)`, or the bare number where that says it all.
    static func exactBytes(_ value: UInt64) -> String {
        value < 1000 ? count(value) : "\(count(value)) (\(bytes(value)))"
    }

    /// Three significant digits without an exponent, for 1 to 999.
    private static func digits(_ value: Double) -> String {
        let decimals = value < 10 ? 2 : value < 100 ? 1 : 0
        return fixed(value, decimals)
    }

    /// `value` rounded to `decimals` places.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
        var power = 1.0
        for _ in 0..<decimals { power *= 10 }
        let scaled = Int64((abs(value) * power).rounded())
        let whole = scaled / Int64(power)
        var fraction = String(scaled % Int64(power))
        while fraction.utf8.count < decimals { fraction = "0" + fraction }
        let sign = value < 0 && scaled != 0 ? "-" : ""
        return decimals == 0 ? "\(sign)\(whole)" : "\(sign)\(whole).\(fraction)"
    }

    /// At most five significant digits: `2`, `0.3536`, `1.234e-07`.
    static func number(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value < 0 ? "-Inf" : "Inf" }
        if value == value.rounded(), abs(value) < 1e6 { return String(Int(value)) }
        let size = abs(value)
        if size >= 1e-3, size < 1e6 {
            let decimals = size >= 1000 ? 1 : size >= 100 ? 2 : size >= 10 ? 3 : size >= 1 ? 4 : size >= 0.1 ? 4 : size >= 0.01 ? 5 : 6
            var text = fixed(value, decimals)
            while text.hasSuffix("0") { text.removeLast() }
            return text.hasSuffix(".") ? String(text.dropLast()) : text
        }
        var exponent = 0
        var mantissa = value
        while abs(mantissa) >= 10 { mantissa /= 10; exponent += 1 }
        while abs(mantissa) < 1, mantissa != 0 { mantissa *= 10; exponent -= 1 }
        let sign = exponent < 0 ? "-" : "+"
        let digits = String(abs(exponent))
        return "\(fixed(mantissa, 3))e\(sign)\(digits.utf8.count < 2 ? "0" + digits : digits)"
    }

    /// A path as headings have it: of what lies in the Hub's cache the id and the commit, `org/name at 01234567`, and the path inside.
    static func place(_ path: String) -> String { HubOrigin(of: path)?.shown ?? path.printable }

    /// `12.3 %`.
    static func percent(_ share: Double) -> String { "\(fixed(share * 100, 1)) %" }

    /// `[32, 24]`.
    static func shape(_ shape: Shape) -> String { "[\(shape.unsignedDimensions.map(String.init).joined(separator: ", "))]" }

    /// A table with two spaces between columns; columns named in `right` are aligned to the right. The rows are gone through
    /// twice, so that those of a lazy collection are never held all at once.
    static func table(
        _ header: [String], _ rows: some Collection<[String]>, right: Set<Int> = [], indent: String = "  "
    ) -> String {
        var widths = header.map(\.count)
        for row in rows { for column in widths.indices { widths[column] = max(widths[column], row[column].count) } }
        var result = ""
        func add(_ row: [String]) {
            var line = indent
            for column in row.indices {
                let padding = String(repeating: " ", count: widths[column] - row[column].count)
                let isLast = column == row.count - 1
                line += right.contains(column) ? padding + row[column] : row[column] + (isLast ? "" : padding)
                if !isLast { line += "  " }
            }
            result += line + "\n"
        }
        add(header)
        for row in rows { add(row) }
        return result
    }

    /// Lines of at most `width` columns, broken at spaces; a longer word stands alone.
    static func wrapped(_ text: String, width: Int) -> String {
        var lines: [String] = []
        for word in text.split(separator: " ") {
            if let last = lines.last, last.count + 1 + word.count <= width {
                lines[lines.count - 1] = "\(last) \(word)"
            } else {
                lines.append(String(word))
            }
        }
        return lines.joined(separator: "\n")
    }
}

import Adapters
public import ByteAccess

extension SpectrumReport {
    /// The object `spectrum` of `inspect --json`; `Formats/spectrum.md` describes every key.
    public var json: JSONValue {
        .object([
            "reason": reason.map { .string($0) } ?? .null,
            "modules": .array(modules.map(\.json)),
            "skipped": .array(
                skipped.map { .object(["module": .string($0.module), "reason": .string($0.reason)]) }),
        ])
    }
}

extension SpectrumReport.Module {
    var json: JSONValue {
        .object([
            "module": .string(update.module.text),
            "parameter": .string(update.parameter),
            "expert": update.expert.map { .number(JSONNumber($0)) } ?? .null,
            "adapter": .number(JSONNumber(update.adapter)),
            "rows": .number(JSONNumber(update.rows)),
            "columns": .number(JSONNumber(update.columns)),
            "rank": update.rank.map { .number(JSONNumber($0)) } ?? .null,
            "scale": update.scale.map { Figure.json($0) } ?? .null,
            "note": update.note.isEmpty ? .null : .string(update.note),
            "singular_values": .array(spectrum.singularValues.map { Figure.json($0) }),
            "energy": .array(spectrum.energy.map { Figure.json($0) }),
            "frobenius_norm": Figure.json(spectrum.frobeniusNorm),
            "spectral_norm": Figure.json(spectrum.largest),
            "numerical_rank": .number(JSONNumber(spectrum.numericalRank)),
            "stable_rank": Figure.json(spectrum.stableRank),
            "effective_rank": Figure.json(spectrum.effectiveRank),
            "rank_90": .number(JSONNumber(spectrum.rank(holding: 0.9))),
            "rank_99": .number(JSONNumber(spectrum.rank(holding: 0.99))),
            "flag": flag.map { .string($0.rawValue) } ?? .null,
        ])
    }
}

/// Numbers of a document whose last digits say nothing.
enum Figure {
    /// `digits` significant decimal digits, by scaling with powers of ten that are exact or nearly so; NaN and infinities have
    /// no JSON and become null. The last digits of a library's results differ between processors.
    static func json(_ value: Double, digits: Int = 9) -> JSONValue {
        guard value.isFinite else { return .null }
        return .number(JSONNumber(rounded(value, digits: digits)))
    }

    static func rounded(_ value: Double, digits: Int) -> Double {
        guard value.isFinite, value != 0 else { return value }
        var exponent = Int(value.magnitude.exponent) * 1233 / 4096
        if power(exponent + 1) <= value.magnitude { exponent += 1 }
        if power(exponent) > value.magnitude { exponent -= 1 }
        let shift = digits - 1 - exponent
        guard abs(shift) < 290 else { return value }
        return shift >= 0 ? (value * power(shift)).rounded() / power(shift) : (value / power(-shift)).rounded() * power(-shift)
    }

    private static func power(_ exponent: Int) -> Double {
        var result = 1.0
        for _ in 0..<min(abs(exponent), 300) { result *= 10 }
        return exponent < 0 ? 1 / result : result
    }
}

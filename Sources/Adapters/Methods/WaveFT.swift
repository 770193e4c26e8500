import ByteAccess
import Tensors

/// WaveFT, sparse wavelet coefficients (arXiv:2505.12532).
///
///     W' = W + s·V         V: one step of the inverse wavelet transform of a sparse spectrum
///
/// `waveft_spectrum` (n): the coefficients. Their places are in no file: quotient and remainder by in of the first n
/// elements of `torch.randperm(out·in)`, seeded with `random_loc_seed`. The spectrum has `d` rows and columns more than the
/// weight, made even, with the places moved to its middle; d is the filter's length L less 2. Its quarters, of h rows and
/// w columns, are the coefficients of four pairs of filters (rows, columns): low and low at the top left, high and low to
/// the right of it, low and high below, high and high. A coefficient c at (i, j) of a quarter adds c·f[a]·g[b] at
/// (2i + a, 2j + b), of which L − 2 rows and columns are cut off on each side and the middle is kept.
///
/// With `use_idwt` false the coefficients are added at their places, as they are.
///
/// Order: f[a]·g[b], times c; at one place sums by k, then a, then b; the scale last.
/// Config: `scaling`, `random_loc_seed`, `wavelet_family`, `use_idwt`; `n_frequency`, `n_frequency_pattern` are told by the
/// tensor and held against it, `proportional_parameters` is told by it alone.
/// PEFT's padding for `coif5` makes an update smaller than the weight, and its merge fails; so it is refused.
/// Source: `WaveFTLayer.update_layer`, `get_delta_weight` in peft/tuners/waveft/layer.py, `waverec2d` in waverec2d.py.
struct WaveFT: ModuleMethod {
    let name = "WaveFT"
    let peftTypes = ["WAVEFT"]
    let defaultTargets = DefaultTargets.waveft
    let components: Set<String> = ["waveft_spectrum"]
    let configKeys: Set<String> = [
        "scaling", "random_loc_seed", "wavelet_family", "use_idwt", "n_frequency", "n_frequency_pattern",
        "proportional_parameters", "fan_in_fan_out", "bias", "init_weights",
    ]
    let requiredKeys: Set<String> = ["scaling", "wavelet_family", "use_idwt"]
    let stillPoints: [[String: Double]] = [["waveft_spectrum": 0]]

    func extent(of module: MethodModule) throws -> UpdateExtent { UpdateExtent(isLayer: true) }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (nil, nil, try scale(module))
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [
            .init("n_frequency", try module.side("waveft_spectrum", 0)),
            .init("wavelet_family", module.config["wavelet_family"]?.stringValue ?? "db1"),
        ]
    }

    private func scale(_ module: MethodModule) throws -> Double { try module.number("scaling") ?? 25 }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let places = try SpectrumPlaces("waveft_spectrum", of: module, weight)
        let values = try module.row("waveft_spectrum", count: places.rows.count)
        let update: MatrixExpression
        if module.config["use_idwt"] != nil, try !module.config.flag("use_idwt") {
            let positions = zip(places.rows, places.columns).map { $0 * weight.columns + $1 }
            update = .scattered(values, positions: IndexTable(positions), rows: weight.rows, columns: weight.columns)
        } else {
            update = try transformed(values, places, module, weight)
        }
        return ModuleChanges(weight: .add(update, scale: try scale(module)), warnings: [places.assumption])
    }

    private func transformed(
        _ values: MatrixExpression, _ places: SpectrumPlaces, _ module: MethodModule, _ weight: ModuleWeight
    ) throws -> MatrixExpression {
        let family = module.config["wavelet_family"]?.stringValue ?? "db1"
        guard let low = Wavelets.lowPass(family) else {
            throw module.refusal(
                "is transformed by the wavelet \"\(family.printable)\", with which PEFT merges nothing", rule: "WaveletFamily",
                help: "PEFT has no filter for it, or one that makes an update smaller than the weight")
        }
        let length = low.count
        let rows = Side(weight.rows, length), columns = Side(weight.columns, length)
        let high = Wavelets.highPass(low)
        // The four products of filters, rows by rows: left above, right above, left below, right below.
        let products = [(low, low), (high, low), (low, high), (high, high)].flatMap { f, g in
            f.flatMap { a in g.map { a * $0 } }
        }
        var quarters: [Int] = []
        var kept: [Int] = []
        var positions: [Int] = []
        for (index, (row, column)) in zip(places.rows, places.columns).enumerated() {
            let (i, isBelow) = rows.coefficient(row), (j, isRight) = columns.coefficient(column)
            quarters.append((isBelow ? 2 : 0) + (isRight ? 1 : 0))
            for a in 0..<length {
                for b in 0..<length {
                    let (y, x) = (2 * i + a - rows.cut, 2 * j + b - columns.cut)
                    guard (0..<weight.rows).contains(y), (0..<weight.columns).contains(x) else { continue }
                    kept.append((index * length + a) * length + b)
                    positions.append(y * weight.columns + x)
                }
            }
        }
        let table = MatrixExpression.constant(
            .table(NumberTable(products), rows: 4, columns: length * length))
        let parts = table.rows(at: quarters) * values.transpose
        return .scattered(
            parts.reshaped(columns: quarters.count * length * length).columns(at: kept), positions: IndexTable(positions),
            rows: weight.rows, columns: weight.columns)
    }

    /// One side of the spectrum.
    private struct Side {
        /// Where the weight's first place lies in the spectrum.
        private let offset: Int
        private let half: Int
        /// How much the reconstruction is longer than the weight.
        private let rest: Int
        /// How much of it is cut off in front.
        let cut: Int

        init(_ size: Int, _ length: Int) {
            var padded = size + length - 2
            if padded % 2 != 0 { padded += 1 }
            half = padded / 2
            offset = (padded - size) / 2
            rest = padded + 2 - length - size
            cut = length - 2 + rest / 2
        }

        /// The place in its half, and whether that is the second.
        func coefficient(_ place: Int) -> (Int, Bool) {
            let moved = place + offset
            return (moved % half, moved >= half)
        }
    }
}

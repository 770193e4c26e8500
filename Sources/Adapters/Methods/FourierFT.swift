import ByteAccess
import Tensors

/// FourierFT, a sparse spectrum (arXiv:2405.03003).
///
///     W'[p, q] = W[p, q] + s / (out·in) · Σ_k c_k·cos 2π(u_k·p / out + v_k·q / in)
///
/// `fourierft_spectrum` (n): the real numbers c_k of a spectrum of out × in, whose inverse transform is taken and its
/// imaginary part dropped. Their places are in no file: (u_k, v_k) is quotient and remainder of the k-th element of
/// `torch.randperm(out·in)`, seeded with `random_loc_seed`, by in.
///
/// Order: `(Σ_k (cos 2πu_k·p/out · c_k)·cos 2πv_k·q/in − Σ_k (sin · c_k)·sin) / (out·in)`, k ascending in both sums, by fused
/// multiply-add; then the scale. Cosines and sines are correctly rounded.
///
/// Config: `scaling`, `random_loc_seed`; `n_frequency` and `n_frequency_pattern` are told by the tensor and held against
/// it. Source: `FourierFTLayer.update_layer`, `get_delta_weight` in peft/tuners/fourierft/layer.py. (PEFT's unmerged
/// forward pass of a Conv1D forgets to transpose; its merge does it.)
struct FourierFT: ModuleMethod {
    let name = "FourierFT"
    let peftTypes = ["FOURIERFT"]
    let defaultTargets = DefaultTargets.spectral
    let components: Set<String> = ["fourierft_spectrum"]
    let configKeys: Set<String> = [
        "scaling", "random_loc_seed", "n_frequency", "n_frequency_pattern", "fan_in_fan_out", "bias", "init_weights",
    ]
    let requiredKeys: Set<String> = ["scaling"]
    let stillPoints: [[String: Double]] = [["fourierft_spectrum": 0]]

    func extent(of module: MethodModule) throws -> UpdateExtent { UpdateExtent(isLayer: true) }

    func summary(of module: MethodModule) throws -> (rank: Int?, alpha: Double?, scale: Double?) {
        (nil, nil, try module.number("scaling") ?? 150)
    }

    func details(of module: MethodModule) throws -> [TargetDetail] {
        [.init("n_frequency", try module.side("fourierft_spectrum", 0))]
    }

    func changes(of module: MethodModule, weight: ModuleWeight) throws -> ModuleChanges {
        let places = try SpectrumPlaces("fourierft_spectrum", of: module, weight)
        let values = try module.row("fourierft_spectrum", count: places.rows.count)
        func waves(_ period: (Int) -> [Double], _ count: Int, _ frequencies: [Int]) throws -> MatrixExpression {
            .constant(
                .waves(
                    period: NumberTable(period(count)), rows: .range(0..<count),
                    columns: .indices(IndexTable(frequencies))))
        }
        func part(_ period: (Int) -> [Double]) throws -> MatrixExpression {
            let left = try waves(period, weight.rows, places.rows) * values
            return left × (try waves(period, weight.columns, places.columns)).transpose
        }
        let sum = try part(CircleTable.cosines) - part(CircleTable.sines)
        let update = sum / .filled(Double(weight.rows) * Double(weight.columns), rows: 1, columns: 1)
        return ModuleChanges(
            weight: .add(update, scale: try module.number("scaling") ?? 150), warnings: [places.assumption])
    }
}

/// The places of a sparse spectrum, which follow from a seed.
struct SpectrumPlaces {
    let rows: [Int]
    let columns: [Int]
    let assumption: String

    /// - Throws: `.refused` where the config speaks of another number of coefficients, or there are more than places.
    init(_ name: String, of module: MethodModule, _ weight: ModuleWeight) throws {
        try module.requireLayer(weight)
        let info = try module.tensor(name)
        let isProportional = try module.config.flag("proportional_parameters")
        if !isProportional {
            try module.require("n_frequency", is: info.elementCount, of: name, pattern: "n_frequency_pattern")
        }
        let (size, overflow) = weight.rows.multipliedReportingOverflow(by: weight.columns)
        guard info.shape.count == 1, !overflow, info.elementCount <= size else {
            throw module.misfit(info, "one dimension, and no more coefficients than the weight has elements")
        }
        if isProportional, let count = try module.count("n_frequency"), let own = module.scope?.share(of: size, times: count) {
            try module.require(
                "n_frequency \(count) and proportional_parameters, which is \(own) here", own == info.elementCount,
                "there are \(info.elementCount) coefficients", of: name)
        }
        let seed = try ProjectionSeed(module.config, "random_loc_seed")
        let count = info.elementCount
        // Modules of one size and count have their coefficients at the same places.
        let places = module.scope?.once("places \(count) \(size)") {
            TorchPermutation.first(count, of: size, seed: seed.value)
        } ?? TorchPermutation.first(count, of: size, seed: seed.value)
        rows = places.map { $0 / max(1, weight.columns) }
        columns = places.map { $0 % max(1, weight.columns) }
        assumption = seed.assumption("the places of \(name) are")
    }
}

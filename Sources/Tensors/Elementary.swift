internal import CKernels

/// Transcendental functions that output bytes depend on, in float64 with the same bits on every processor.
///
/// The C library's own differ between builds and processors, so they are never used for a byte that is written. Errors
/// are at most 0.625 ulp of the real value; subnormal results of `exp`, `sigmoid` and `erf` are within 1 ulp. NaN gives the
/// canonical quiet NaN. `elementary.c` and `erf.c` in `Sources/CKernels` have the derivations.
public enum Elementary {
    /// eˣ; 0 below the smallest subnormal, Inf above the largest number.
    public static func exp(_ x: Double) -> Double { ck_exp(x) }

    /// tanh x = (e²ˣ − 1) / (e²ˣ + 1); −0 stays −0.
    public static func tanh(_ x: Double) -> Double { ck_tanh(x) }

    /// σ(x) = 1 / (1 + e⁻ˣ).
    public static func sigmoid(_ x: Double) -> Double { ck_sigmoid(x) }

    /// erf x = 2/√π ∫₀ˣ e^(−t²) dt; −0 stays −0.
    public static func erf(_ x: Double) -> Double { ck_erf(x) }
}

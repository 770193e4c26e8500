internal import ByteAccess
internal import COpenBLAS
internal import Tensors

/// Decompositions of row-major float64 matrices by LAPACK (in OpenBLAS), one thread a call.
///
/// Results are backward stable, and their last bits differ between processors and versions of the library.
public enum LAPACK {
    /// What every decomposition checks before it starts, with the sizes as the library's integers.
    ///
    /// - Throws: `PeftfileError` `.unsupported` for a size beyond 2^31 - 1; `.refused` where an element is NaN or Inf,
    ///   for LAPACK's iterations assume that none is.
    static func prepare(
        _ matrix: [Double], rows: Int, columns: Int, for purpose: String
    ) throws -> (rows: Int32, columns: Int32) {
        precondition(rows >= 0 && columns >= 0, "negative shape")
        let m = try OpenBLAS.integer(rows, "rows")
        let n = try OpenBLAS.integer(columns, "columns")
        let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
        precondition(!overflow && matrix.count == count, "the matrix does not have its shape")
        guard matrix.withUnsafeBufferPointer({ Kernels.allFinite($0) }) else {
            throw PeftfileError(
                .refused, "a matrix with NaN or Inf has no \(purpose)", rule: "NonFiniteMatrix",
                help: "find the element with: peftfile inspect --stats")
        }
        return (m, n)
    }

    /// Runs a routine twice, as LAPACK has it: with `lwork` -1 it only says how many doubles it works best with.
    ///
    /// - Throws: `PeftfileError` `.unsupported` where that number exceeds 2^31 - 1; `.refused` where the iteration
    ///   did not converge; `.library` where the routine rejects an argument, which the checks here rule out for a
    ///   sound library.
    static func run(
        _ purpose: String, _ routine: (_ work: UnsafeMutablePointer<Double>, _ lwork: Int32) -> Int32
    ) throws {
        var wanted = 0.0
        try check(routine(&wanted, -1), purpose)
        guard let best = Int(exactly: wanted.rounded(.up)), best < Int(Int32.max) else {
            throw PeftfileError(
                .unsupported, "the \(purpose) needs more working space than LAPACK's 32-bit integers can count",
                rule: "OpenBLASIntegers")
        }
        let size = max(best, 1)
        let work = UnsafeMutablePointer<Double>.allocate(capacity: size)
        defer { work.deallocate() }
        try check(routine(work, Int32(size)), purpose)
    }

    private static func check(_ info: Int32, _ purpose: String) throws {
        if info > 0 {
            throw PeftfileError(.refused, "the \(purpose) did not converge", rule: "NoConvergence")
        }
        if info < 0 {
            throw PeftfileError(
                .library, "LAPACK rejects argument \(-info) of the \(purpose)", rule: "OpenBLASArgument")
        }
    }
}

internal import ByteAccess
internal import COpenBLAS

/// Products of row-major float64 matrices by OpenBLAS, one thread a call.
///
/// The order of summation is the library's own and differs between processors and versions. So these results judge and
/// estimate; they are never the bytes of a merged file.
public enum BLAS {
    /// c = alpha * op(a) op(b) + beta * c, with op(x) = x or its transpose.
    ///
    /// The error of an element is at most gamma(k + 2) * (|alpha| * (|op(a)| |op(b)|) + |beta * c|) plus underflow,
    /// gamma(j) = j u / (1 - j u), u = 2^-53, whatever the order of summation (N. Higham, Accuracy and Stability of
    /// Numerical Algorithms, 2nd edition, section 3.5). With `beta` 0, `c` is written without being read.
    ///
    /// Source: `cblas_dgemm` of the BLAS.
    ///
    /// - Parameters:
    ///   - a: m x k, or k x m with `transposeA`; row i starts at `i * leadingA`.
    ///   - b: k x n, or n x k with `transposeB`; row i starts at `i * leadingB`.
    ///   - c: m x n, row i starting at `i * leadingC`; it overlaps neither factor.
    ///   - rows: m.
    ///   - columns: n.
    ///   - depth: k.
    ///   - leadingA, leadingB, leadingC: elements from one stored row to the next; nil where rows are dense.
    /// - Throws: `PeftfileError` `.library` without OpenBLAS; `.unsupported` for a size beyond 2^31 - 1. Buffers that
    ///   are too small for the shapes are a mistake of the caller and stop the program.
    public static func multiply(
        _ a: UnsafeBufferPointer<Double>, _ b: UnsafeBufferPointer<Double>,
        into c: UnsafeMutableBufferPointer<Double>, rows: Int, columns: Int, depth: Int, alpha: Double = 1,
        beta: Double = 0, transposeA: Bool = false, transposeB: Bool = false, leadingA: Int? = nil,
        leadingB: Int? = nil, leadingC: Int? = nil
    ) throws {
        let blas = try OpenBLAS.shared()
        let m = try OpenBLAS.integer(rows, "rows")
        let n = try OpenBLAS.integer(columns, "columns")
        let k = try OpenBLAS.integer(depth, "summands")
        let lda = try leading(leadingA, of: a.count, transposeA ? (depth, rows) : (rows, depth))
        let ldb = try leading(leadingB, of: b.count, transposeB ? (columns, depth) : (depth, columns))
        let ldc = try leading(leadingC, of: c.count, (rows, columns))
        guard m > 0, n > 0, let result = c.baseAddress else { return }
        // Without summands the factors may be empty buffers without an address; then nothing is read from them.
        cob_dgemm(
            blas.library, transposeA, transposeB, m, n, k, alpha, a.baseAddress ?? UnsafePointer(result), lda,
            b.baseAddress ?? UnsafePointer(result), ldb, beta, result, ldc)
    }

    /// `multiply` of dense arrays into a new array: op(a) op(b), m x n.
    ///
    /// - Throws: as the form with buffers.
    public static func product(
        _ a: [Double], _ b: [Double], rows: Int, columns: Int, depth: Int, transposeA: Bool = false,
        transposeB: Bool = false
    ) throws -> [Double] {
        let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
        precondition(rows >= 0 && columns >= 0 && !overflow, "no such shape")
        var c = [Double](repeating: 0, count: count)
        try a.withUnsafeBufferPointer { a in
            try b.withUnsafeBufferPointer { b in
                try c.withUnsafeMutableBufferPointer { c in
                    try multiply(
                        a, b, into: c, rows: rows, columns: columns, depth: depth, transposeA: transposeA,
                        transposeB: transposeB)
                }
            }
        }
        return c
    }

    /// The leading dimension of a stored matrix, after checking that the buffer holds all of it. BLAS wants at least 1.
    private static func leading(
        _ leading: Int?, of available: Int, _ stored: (rows: Int, columns: Int)
    ) throws -> Int32 {
        precondition(stored.rows >= 0 && stored.columns >= 0, "negative shape")
        let stride = leading ?? stored.columns
        precondition(stride >= stored.columns, "rows overlap")
        if stored.rows > 0 && stored.columns > 0 {
            let (start, overflow) = (stored.rows - 1).multipliedReportingOverflow(by: stride)
            precondition(!overflow && available >= stored.columns && start <= available - stored.columns,
                         "a matrix is smaller than its shape")
        }
        return try OpenBLAS.integer(max(stride, 1), "elements from row to row")
    }
}

internal import ByteAccess
internal import COpenBLAS

/// A matrix as u diag(s) vt: m x n = (m x p) (p x p) (p x n), p = min(m, n). Row-major.
public struct SingularValueDecomposition: Sendable {
    /// m x p; its columns are orthonormal.
    public var u: [Double]
    /// The p singular values, not negative, descending.
    public var s: [Double]
    /// p x n; its rows are orthonormal.
    public var vt: [Double]
    /// m.
    public var rows: Int
    /// n.
    public var columns: Int
    /// p.
    public var count: Int { s.count }
}

extension LAPACK {
    /// The thin singular value decomposition, by divide and conquer.
    ///
    /// The computed s are within c(m, n) * 2^-53 * s[0] of the true ones, c a modest polynomial (LAPACK Users' Guide,
    /// 3rd edition, section 4.9). A pair of singular vectors is unique only up to a common sign.
    ///
    /// Source: `dgesdd`, JOBZ = 'S'. A row-major m x n matrix is, to Fortran, the n x m matrix of its transpose
    /// V diag(s) U^T; so what Fortran calls U and V^T are, read as row-major, our vt and u, and nothing is transposed.
    ///
    /// - Parameter matrix: m x n, dense, m = `rows`, n = `columns`; other lengths are a mistake of the caller.
    /// - Throws: `PeftfileError` `.library` without OpenBLAS; `.unsupported` for sizes that its 32-bit integers cannot
    ///   work with; `.refused` for a matrix with NaN or Inf, or when the iteration does not converge.
    public static func svd(_ matrix: [Double], rows: Int, columns: Int) throws -> SingularValueDecomposition {
        let purpose = "singular value decomposition"
        let (m, n) = try prepare(matrix, rows: rows, columns: columns, for: purpose)
        let p = min(rows, columns)
        guard p > 0 else { return SingularValueDecomposition(u: [], s: [], vt: [], rows: rows, columns: columns) }

        // The routine computes its need of working space in 32-bit integers, and would go wrong in silence if that
        // overflowed. The need is at most 4 p^2 + 7 p, and a block of (m + n) times 128 where the matrix is nearly
        // square (the longer side below 11/6 of the shorter; others are first reduced to p x p), so less than 3 p
        // times 128.
        let (need, overflow) = p.multipliedReportingOverflow(by: 4 * p + 400)
        guard !overflow, need <= Int(Int32.max) else {
            throw PeftfileError(
                .unsupported, "the \(purpose) of \(rows) x \(columns) is beyond LAPACK's 32-bit integers",
                rule: "OpenBLASIntegers")
        }
        let blas = try OpenBLAS.shared()

        var a = matrix
        var s = [Double](repeating: 0, count: p)
        var u = [Double](repeating: 0, count: rows * p)
        var vt = [Double](repeating: 0, count: p * columns)
        var integers = [Int32](repeating: 0, count: 8 * p)
        try a.withUnsafeMutableBufferPointer { a in
            try s.withUnsafeMutableBufferPointer { s in
                try u.withUnsafeMutableBufferPointer { u in
                    try vt.withUnsafeMutableBufferPointer { vt in
                        try integers.withUnsafeMutableBufferPointer { integers in
                            try run(purpose) { work, lwork in
                                cob_dgesdd(
                                    blas.library, n, m, a.baseAddress, n, s.baseAddress, vt.baseAddress, n,
                                    u.baseAddress, Int32(p), work, lwork, integers.baseAddress)
                            }
                        }
                    }
                }
            }
        }
        return SingularValueDecomposition(u: u, s: s, vt: vt, rows: rows, columns: columns)
    }
}

internal import COpenBLAS
internal import Tensors

/// A matrix as q r: m x n = (m x p) (p x n), p = min(m, n). Row-major.
public struct QRDecomposition: Sendable {
    /// m x p; its columns are orthonormal.
    public var q: [Double]
    /// p x n, upper triangular: exactly 0 below the diagonal.
    public var r: [Double]
    /// m.
    public var rows: Int
    /// n.
    public var columns: Int
    /// p.
    public var count: Int { min(rows, columns) }
}

extension LAPACK {
    /// The thin QR decomposition by Householder reflections.
    ///
    /// The diagonal of r has the signs that the reflections give, mostly negative for a positive matrix, as in numpy
    /// and torch. |matrix - q r| is at most gamma(c m n) * the norm of the matrix, column by column (N. Higham,
    /// Accuracy and Stability of Numerical Algorithms, 2nd edition, theorem 19.4).
    ///
    /// Source: `dgeqrf`, `dorgqr`; both are column-major, so the matrix is transposed on the way in and out.
    ///
    /// - Parameter matrix: m x n, dense, m = `rows`, n = `columns`; other lengths are a mistake of the caller.
    /// - Throws: `PeftfileError` `.library` without OpenBLAS; `.unsupported` for sizes that its 32-bit integers cannot
    ///   count; `.refused` for a matrix with NaN or Inf.
    public static func qr(_ matrix: [Double], rows: Int, columns: Int) throws -> QRDecomposition {
        let purpose = "QR decomposition"
        let (m, n) = try prepare(matrix, rows: rows, columns: columns, for: purpose)
        let p = min(rows, columns)
        guard p > 0 else { return QRDecomposition(q: [], r: [], rows: rows, columns: columns) }
        let blas = try OpenBLAS.shared()

        var a = transposed(matrix, rows: rows, columns: columns)
        var tau = [Double](repeating: 0, count: p)
        let r = try a.withUnsafeMutableBufferPointer { a in
            try tau.withUnsafeMutableBufferPointer { tau in
                try run(purpose) { work, lwork in
                    cob_dgeqrf(blas.library, m, n, a.baseAddress, m, tau.baseAddress, work, lwork)
                }
                // The triangle must be taken now: the second routine writes q over it.
                var r = transposed(Array(a), rows: columns, columns: rows)
                r.removeLast(r.count - p * columns)
                for row in 1..<max(p, 1) {
                    r.replaceSubrange(row * columns..<row * columns + row, with: repeatElement(0, count: row))
                }
                try run(purpose) { work, lwork in
                    cob_dorgqr(
                        blas.library, m, Int32(p), Int32(p), a.baseAddress, m, tau.baseAddress, work, lwork)
                }
                return r
            }
        }
        // Fortran's first p columns are the first p rows here.
        a.removeLast(a.count - p * rows)
        return QRDecomposition(
            q: transposed(a, rows: p, columns: rows), r: r, rows: rows, columns: columns)
    }

    private static func transposed(_ matrix: [Double], rows: Int, columns: Int) -> [Double] {
        [Double](unsafeUninitializedCapacity: matrix.count) { buffer, count in
            let result = UnsafeMutableBufferPointer(rebasing: buffer[..<matrix.count])
            matrix.withUnsafeBufferPointer { Kernels.transpose($0, rows: rows, columns: columns, into: result) }
            count = matrix.count
        }
    }
}

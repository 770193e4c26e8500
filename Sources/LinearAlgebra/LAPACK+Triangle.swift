extension LAPACK {
    /// R of the QR decomposition of a tall matrix that is given by parts, without its Q and without the whole of it.
    ///
    /// With [R of the rows so far; next rows] = Q′R′, R′ is the R of all these rows up to signs: QR of QRs is as stable as one
    /// decomposition (J. Demmel, L. Grigori, M. Hoemmen, J. Langou, Communication-optimal parallel and sequential QR and LU
    /// factorizations, SIAM J. Sci. Comput. 34, 2012, section 3). Norms, inner products of columns and singular values of the
    /// matrix are those of R.
    ///
    /// - Parameters:
    ///   - rows: m.
    ///   - columns: n; with none the triangle is empty.
    ///   - step: rows that are decomposed at a time, beside the triangle so far.
    ///   - part: some rows of the matrix, dense and row-major.
    /// - Returns: p × n, p = min(m, n), upper triangular, row-major.
    /// - Throws: as ``qr(_:rows:columns:)``, and what `part` throws.
    public static func triangle(
        rows: Int, columns: Int, step: Int = 2048, part: (Range<Int>) throws -> [Double]
    ) throws -> [Double] {
        guard columns > 0 else { return [] }
        var triangle: [Double] = []
        for start in stride(from: 0, to: rows, by: step) {
            triangle += try part(start..<min(start + step, rows))
            triangle = try qr(triangle, rows: triangle.count / columns, columns: columns).r
        }
        return triangle
    }
}

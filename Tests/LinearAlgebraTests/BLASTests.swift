import ByteAccess
import LinearAlgebra
import Testing

@Suite struct BLASTests {
    /// gamma(j) = j u / (1 - j u), u = 2^-53.
    func gamma(_ j: Int) -> Double { Double(j) * 0x1p-53 / (1 - Double(j) * 0x1p-53) }

    /// Both the library and the loop are within gamma(k + 2) (|alpha| |a| |b| + |beta c|) of the true value, so they
    /// are within twice that of each other. The bound itself is computed with relative error below gamma(k + 4), for
    /// which one more gamma is far more than enough.
    @Test("products agree with a plain loop within the derived bound", arguments: [false, true], [false, true])
    func products(transposeA: Bool, transposeB: Bool) throws {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (16, 33, 2), (2, 50, 64), (37, 1, 130), (65, 66, 67)] {
            let a = PlainMatrix(rows: m, columns: k, seed: 1), b = PlainMatrix(rows: k, columns: n, seed: 2)
            let c = PlainMatrix(rows: m, columns: n, seed: 3)
            let storedA = transposeA ? a.transposed : a, storedB = transposeB ? b.transposed : b
            let alpha = 0.7, beta = -1.3

            // Rows further apart than they are long, with NaN between them.
            func spread(_ matrix: PlainMatrix, _ stride: Int) -> [Double] {
                (0..<matrix.rows).flatMap { i in
                    (0..<stride).map { $0 < matrix.columns ? matrix[i, $0] : .nan }
                }
            }
            let (lda, ldb, ldc) = (storedA.columns + 3, storedB.columns + 1, n + 2)
            var result = spread(c, ldc)
            try spread(storedA, lda).withUnsafeBufferPointer { a in
                try spread(storedB, ldb).withUnsafeBufferPointer { b in
                    try result.withUnsafeMutableBufferPointer {
                        try BLAS.multiply(
                            a, b, into: $0, rows: m, columns: n, depth: k, alpha: alpha, beta: beta,
                            transposeA: transposeA, transposeB: transposeB, leadingA: lda, leadingB: ldb,
                            leadingC: ldc)
                    }
                }
            }
            let product = a * b, size = a.magnitudes * b.magnitudes
            for i in 0..<m {
                for j in 0..<ldc {
                    let found = result[i * ldc + j]
                    guard j < n else {
                        #expect(found.isNaN, "written between the rows")
                        continue
                    }
                    let expected = alpha * product[i, j] + beta * c[i, j]
                    let bound = 3 * gamma(k + 2) * (alpha * size[i, j] + abs(beta * c[i, j]))
                    if !(abs(found - expected) <= bound) { Issue.record("\(m) \(n) \(k): \(found), not \(expected)") }
                }
            }
        }
    }

    @Test("with beta 0 the old values are not read, and empty shapes work")
    func edges() throws {
        var c = [Double](repeating: .nan, count: 6)
        try [1.0, 2].withUnsafeBufferPointer { a in
            try [3.0, 4, 5].withUnsafeBufferPointer { b in
                try c.withUnsafeMutableBufferPointer {
                    try BLAS.multiply(a, b, into: $0, rows: 2, columns: 3, depth: 1)
                }
            }
        }
        #expect(c == [3, 4, 5, 6, 8, 10])
        #expect(try BLAS.product([], [], rows: 2, columns: 2, depth: 0) == [0, 0, 0, 0])
        #expect(try BLAS.product([], [], rows: 0, columns: 0, depth: 0) == [])
        #expect(try BLAS.product([], [1, 2], rows: 0, columns: 2, depth: 1) == [])
        #expect(try BLAS.product([1, 2, 3], [1, 2, 3], rows: 3, columns: 3, depth: 1, transposeA: true)
            == [1, 2, 3, 2, 4, 6, 3, 6, 9])
    }

    @Test("sizes beyond 32 bits are an error, not a wrong number")
    func limits() {
        let none = UnsafeBufferPointer<Double>(start: nil, count: 0)
        let nothing = UnsafeMutableBufferPointer<Double>(start: nil, count: 0)
        #expect { try BLAS.multiply(none, none, into: nothing, rows: 1 << 31, columns: 0, depth: 0) } throws: {
            ($0 as? PeftfileError)?.code == .unsupported
        }
        #expect { try BLAS.multiply(none, none, into: nothing, rows: 0, columns: 0, depth: 1 << 40) } throws: {
            ($0 as? PeftfileError)?.code == .unsupported
        }
    }

    @Test("calls from many threads at once")
    func concurrent() async throws {
        let a = PlainMatrix(rows: 40, columns: 30, seed: 7), b = PlainMatrix(rows: 30, columns: 20, seed: 8)
        let (left, right) = (a.elements, b.elements)
        // Elements are at most 1, so a sum of 30 products has the bound gamma(32) * 30 on either side.
        let expected = a * b, bound = 3 * gamma(32) * 30
        try await withThrowingTaskGroup(of: [Double].self) { group in
            for _ in 0..<16 {
                group.addTask { try BLAS.product(left, right, rows: 40, columns: 20, depth: 30) }
            }
            for try await elements in group {
                #expect(PlainMatrix(rows: 40, columns: 20, elements: elements).distance(to: expected) <= bound)
            }
        }
    }
}

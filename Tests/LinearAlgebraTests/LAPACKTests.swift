import ByteAccess
import LinearAlgebra
import Testing

@Suite struct LAPACKTests {
    static let shapes = [
        (1, 1), (1, 6), (6, 1), (5, 5), (8, 3), (3, 8), (64, 40), (40, 64), (100, 7), (7, 100), (33, 33),
    ]

    /// What the tests allow for a backward-stable decomposition of an m x n matrix of norm `norm`: 10 max(m, n) u norm,
    /// u = 2^-53. The constants of the error analysis are larger and what LAPACK's own tests accept is 30 max(m, n) u;
    /// here, the largest seen is below a third of ours. A wrong sign, order or transposition is off by about `norm`.
    func tolerance(_ m: Int, _ n: Int, norm: Double) -> Double { 10 * Double(max(m, n)) * 0x1p-53 * norm }

    @Test("the singular value decomposition reconstructs, and its vectors are orthonormal", arguments: shapes)
    func svd(m: Int, n: Int) throws {
        let matrix = PlainMatrix(rows: m, columns: n, seed: UInt64(m * 1000 + n))
        let result = try LAPACK.svd(matrix.elements, rows: m, columns: n)
        let p = min(m, n)
        #expect(result.count == p && result.u.count == m * p && result.vt.count == p * n)
        #expect(zip(result.s, result.s.dropFirst()).allSatisfy { $0 >= $1 } && result.s.allSatisfy { $0 >= 0 })

        let u = PlainMatrix(rows: m, columns: p, elements: result.u)
        let vt = PlainMatrix(rows: p, columns: n, elements: result.vt)
        var scaled = vt
        for i in 0..<p { for j in 0..<n { scaled[i, j] *= result.s[i] } }
        #expect((u * scaled).distance(to: matrix) <= tolerance(m, n, norm: result.s[0]))
        #expect((u.transposed * u).distance(to: .identity(p)) <= tolerance(m, n, norm: 1))
        #expect((vt * vt.transposed).distance(to: .identity(p)) <= tolerance(m, n, norm: 1))
    }

    @Test("singular values that are known")
    func knownValues() throws {
        func close(_ found: [Double], _ expected: [Double]) -> Bool {
            let allowed = tolerance(expected.count, expected.count, norm: expected[0])
            return found.count == expected.count && zip(found, expected).allSatisfy { abs($0 - $1) <= allowed }
        }
        // A signed permutation of 3, 2, 1.
        #expect(close(try LAPACK.svd([0, -2, 0, 0, 0, 1, 3, 0, 0], rows: 3, columns: 3).s, [3, 2, 1]))
        // The shear (1 1; 0 1): the golden ratio and its inverse.
        let golden = (1 + 5.0.squareRoot()) / 2
        #expect(close(try LAPACK.svd([1, 1, 0, 1], rows: 2, columns: 2).s, [golden, 1 / golden]))
        // All ones: rank 1, the root of the number of elements.
        #expect(close(try LAPACK.svd(.init(repeating: 1, count: 16), rows: 4, columns: 4).s, [4, 0, 0, 0]))
        #expect(try LAPACK.svd(.init(repeating: 0, count: 12), rows: 3, columns: 4).s == [0, 0, 0])
        // Given values between two reflections, over a wide range: the error is relative to the largest.
        let s = (0..<12).map { Double(sign: .plus, exponent: -3 * $0, significand: 1) }
        let left = PlainMatrix.reflection((0..<20).map { Double($0 % 5) - 1.5 })
        let right = PlainMatrix.reflection((0..<12).map { 1 + Double($0) })
        var middle = PlainMatrix(rows: 20, columns: 12, elements: .init(repeating: 0, count: 240))
        for i in 0..<12 { middle[i, i] = s[i] }
        let matrix = left * middle * right
        let found = try LAPACK.svd(matrix.elements, rows: 20, columns: 12).s
        let allowed = tolerance(20, 12, norm: 1)
        for (one, other) in zip(found, s) { #expect(abs(one - other) <= allowed) }
    }

    @Test("the QR decomposition reconstructs, q is orthonormal, r triangular", arguments: shapes)
    func qr(m: Int, n: Int) throws {
        let matrix = PlainMatrix(rows: m, columns: n, seed: UInt64(m * 1000 + n + 1))
        let result = try LAPACK.qr(matrix.elements, rows: m, columns: n)
        let p = min(m, n)
        #expect(result.count == p && result.q.count == m * p && result.r.count == p * n)
        let q = PlainMatrix(rows: m, columns: p, elements: result.q)
        let r = PlainMatrix(rows: p, columns: n, elements: result.r)
        for i in 0..<p { for j in 0..<min(i, n) { #expect(r[i, j] == 0) } }
        // The 2-norm is at most the Frobenius norm.
        let norm = matrix.elements.reduce(0) { $0 + $1 * $1 }.squareRoot()
        #expect((q * r).distance(to: matrix) <= tolerance(m, n, norm: norm))
        #expect((q.transposed * q).distance(to: .identity(p)) <= tolerance(m, n, norm: 1))
    }

    @Test("a QR decomposition that is known, with LAPACK's signs")
    func knownQR() throws {
        // Columns (3, 4) and (1, 2): the reflection takes the first to -5 e1.
        let result = try LAPACK.qr([3, 1, 4, 2], rows: 2, columns: 2)
        let q = PlainMatrix(rows: 2, columns: 2, elements: result.q)
        let r = PlainMatrix(rows: 2, columns: 2, elements: result.r)
        #expect(q.distance(to: .init(rows: 2, columns: 2, elements: [-0.6, -0.8, -0.8, 0.6])) <= 0x1p-50)
        #expect(r.distance(to: .init(rows: 2, columns: 2, elements: [-5, -2.2, 0, 0.4])) <= 0x1p-50)
    }

    @Test("empty matrices have empty decompositions")
    func empty() throws {
        for (m, n) in [(0, 0), (0, 4), (4, 0)] {
            #expect(try LAPACK.svd([], rows: m, columns: n).s.isEmpty)
            #expect(try LAPACK.qr([], rows: m, columns: n).q.isEmpty)
        }
    }

    @Test("NaN and Inf are refused before the library sees them")
    func nonFinite() {
        for bad in [Double.nan, .infinity, -.infinity] {
            #expect { try LAPACK.svd([1, 2, bad, 3], rows: 2, columns: 2) } throws: { isRefusal($0) }
            #expect { try LAPACK.qr([1, 2, bad, 3], rows: 2, columns: 2) } throws: { isRefusal($0) }
        }
    }

    private func isRefusal(_ error: any Error) -> Bool { (error as? PeftfileError)?.code == .refused }

    @Test("sizes beyond 32 bits are an error")
    func limits() {
        #expect { try LAPACK.svd([], rows: 1 << 31, columns: 0) } throws: {
            ($0 as? PeftfileError)?.code == .unsupported
        }
        #expect { try LAPACK.qr([], rows: 0, columns: 1 << 31) } throws: {
            ($0 as? PeftfileError)?.code == .unsupported
        }
    }
}

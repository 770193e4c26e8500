import LinearAlgebra

/// The clusters of rows that AdaMSS takes from a base weight, repeated in float64, with a refusal where rounding might
/// decide otherwise.
///
/// 1. A = (W | b), turned where it has fewer rows than columns. R (columns, q) by torch's CPU generator from the seed.
///    Q of A·R; twice: Q of Aᵀ·Q, Q of A·Q. The singular vectors of Qᵀ·A (Halko, Martinsson, Tropp, SIAM Review 53
///    (2011) 2, algorithm 4.4).
/// 2. The rows of the left vectors U, less their mean. Centres: rows that numpy's legacy generator draws from the seed
///    123456789, without repetition. At most ten times: every row to its nearest centre, every centre to the mean of its
///    rows; it ends when no row moves, or the centres by less than 10⁻⁴ of the mean variance. (Lloyd.)
///
/// The library does this in float32. Its right vectors are stored, so they are held against those found here: a base, seed,
/// device or version other than the library's shows. They are apart by an angle, and so are the columns of U; a row of U is by
/// the share of it that a row has, √(q/rows). A row whose nearest two centres differ in distance by less than eight times
/// that is undecided.
///
/// Source: `slice_pca`, `clustering_Z` in peft/tuners/adamss/utils.py; `_svd_lowrank`, `get_approximate_basis` in
/// torch/_lowrank.py; `KMeans`, `_kmeans_single_lloyd` in sklearn/cluster/_kmeans.py; `RandomState.choice` in numpy.
struct SubspaceClusters {
    /// Why the rows cannot be told.
    struct Undecided: Error { let reason: String }

    /// (rows × columns), the bias as the last column where there is one.
    let weight: [Double]
    let rows: Int
    let columns: Int
    let rank: Int
    let count: Int
    let seed: UInt64
    /// The right vectors as the adapter holds them, (rank × columns).
    let stored: [Double]
    /// Whether they were rounded to 16 bits, in whatever type they lie.
    private var isNarrow: Bool { stored.allSatisfy { Float($0).bitPattern & 0x1FFF == 0 } }

    /// The rows of each cluster, ascending.
    func members() throws -> [[Int]] {
        guard weight.allSatisfy(\.isFinite), rank * min(rows, columns) >= 16 else {
            throw Undecided(reason: "has a base that is not finite, or one too small for the library's generator")
        }
        let vectors = try leftVectors()
        let labels = try cluster(
            vectors.left, tolerance: 8 * max(vectors.angle, 0x1p-22) * (Double(rank) / Double(rows)).squareRoot())
        return (0..<count).map { cluster in labels.indices.filter { labels[$0] == cluster } }
    }

    // MARK: Decomposition

    /// U (rows × rank), and the largest angle between a right vector found here and the stored one.
    private func leftVectors() throws -> (left: [Double], angle: Double) {
        let isTurned = rows < columns
        let (m, n) = isTurned ? (columns, rows) : (rows, columns)
        let turned = transpose(weight, rows, columns)
        let (a, at) = isTurned ? (turned, weight) : (weight, turned)
        var generator = SeededNumbers(seed: seed)
        let random = generator.normal(n * rank)
        var q = try basis(BLAS.product(a, random, rows: m, columns: rank, depth: n), m)
        for _ in 0..<2 {
            let other = try basis(BLAS.product(at, q, rows: n, columns: rank, depth: m), n)
            q = try basis(BLAS.product(a, other, rows: m, columns: rank, depth: n), m)
        }
        let small = try BLAS.product(transpose(q, m, rank), a, rows: rank, columns: n, depth: m)
        let svd = try LAPACK.svd(small, rows: rank, columns: n)
        let outer = try BLAS.product(q, svd.u, rows: m, columns: rank, depth: rank)
        let inner = transpose(svd.vt, rank, n)
        let (left, right) = isTurned ? (inner, outer) : (outer, inner)
        return (left, try angle(right))
    }

    private func basis(_ matrix: [Double], _ rows: Int) throws -> [Double] {
        try LAPACK.qr(matrix, rows: rows, columns: rank).q
    }

    /// The largest angle between column k of `right` and row k of what is stored, whichever way round they point.
    private func angle(_ right: [Double]) throws -> Double {
        var largest = 0.0
        for k in 0..<rank {
            var (product, size) = (0.0, 0.0)
            for column in 0..<columns {
                product += right[column * rank + k] * stored[k * columns + column]
                size += stored[k * columns + column] * stored[k * columns + column]
            }
            var distance = 0.0
            let sign: Double = product < 0 ? -1 : 1
            for column in 0..<columns {
                let difference = sign * right[column * rank + k] - stored[k * columns + column]
                distance += difference * difference
            }
            guard size > 0.9, size < 1.1 else { throw Undecided(reason: "has an adamss_newB whose rows are not of length 1") }
            largest = max(largest, distance.squareRoot())
        }
        // Rounding to 16 bits moves a vector by up to 2⁻⁸ of its length.
        guard largest < (isNarrow ? 0x1p-6 : 0x1p-10) else {
            throw Undecided(
                reason: "has an adamss_newB that is not what the seed gives for this base on the CPU: another base, or the "
                    + "decomposition of another device, and which rows a factor changes is in no file")
        }
        return largest
    }

    private func transpose(_ matrix: [Double], _ rows: Int, _ columns: Int) -> [Double] {
        (0..<(rows * columns)).map { matrix[$0 % rows * columns + $0 / rows] }
    }

    // MARK: Clusters

    private func cluster(_ left: [Double], tolerance: Double) throws -> [Int] {
        var points = (0..<rows).map { Array(left[($0 * rank)..<(($0 + 1) * rank)]) }
        let mean = (0..<rank).map { axis in points.reduce(0) { $0 + $1[axis] } / Double(rows) }
        points = points.map { zip($0, mean).map { $0 - $1 } }
        let variance = points.reduce(0) { $0 + $1.reduce(0) { $0 + $1 * $1 } } / Double(rows * rank)
        var centres = drawn().map { points[$0] }
        var labels: [Int] = []
        for _ in 0..<10 {
            let found = try assign(points, to: centres, tolerance)
            let moved = try means(points, found)
            let shift = zip(moved, centres).reduce(0) { $0 + SubspaceClusters.square($1.0, $1.1) }
            centres = moved
            if found == labels { return found }
            labels = found
            if shift <= 1e-4 * variance { break }
        }
        return try assign(points, to: centres, tolerance)
    }

    /// The nearest centre of each row.
    private func assign(_ points: [[Double]], to centres: [[Double]], _ tolerance: Double) throws -> [Int] {
        try points.map { point in
            let distances = centres.map { SubspaceClusters.square(point, $0).squareRoot() }
            var best = 0
            for index in distances.indices where distances[index] < distances[best] { best = index }
            let isClear = distances.indices.allSatisfy { $0 == best || distances[$0] - distances[best] > tolerance }
            guard isClear else {
                throw Undecided(
                    reason: "has a row that is as near to one cluster as to another, within the rounding of the library's "
                        + "float32, and which rows a factor changes is in no file")
            }
            return best
        }
    }

    private func means(_ points: [[Double]], _ labels: [Int]) throws -> [[Double]] {
        var sums = [[Double]](repeating: [Double](repeating: 0, count: rank), count: count)
        var members = [Int](repeating: 0, count: count)
        for (point, label) in zip(points, labels) {
            members[label] += 1
            for axis in 0..<rank { sums[label][axis] += point[axis] }
        }
        guard members.allSatisfy({ $0 > 0 }) else {
            throw Undecided(reason: "has a cluster that loses all of its rows on the way, which is not followed here")
        }
        return zip(sums, members).map { sum, members in sum.map { $0 / Double(members) } }
    }

    private static func square(_ a: [Double], _ b: [Double]) -> Double {
        zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    }

    /// numpy's choice of different rows, each as likely: numbers of 53 bits fall into the cumulated weights; what was
    /// drawn loses its weight, and what is missing is drawn again.
    private func drawn() -> [Int] {
        var generator = SeededNumbers(seed: 123_456_789)
        var weights = [Double](repeating: Double(1 / Float(rows)), count: rows)
        var found: [Int] = []
        while found.count < count {
            let numbers = (found.count..<count).map { _ -> Double in
                let high = Double(generator.bits() >> 5)
                return (high * 67_108_864 + Double(generator.bits() >> 6)) / 9_007_199_254_740_992
            }
            for row in found { weights[row] = 0 }
            var sum = 0.0
            let sums = weights.map { weight -> Double in
                sum += weight
                return sum
            }
            for number in numbers {
                // The first place whose cumulated weight is above the number.
                let row = min(sums.firstIndex { $0 / sum > number } ?? rows - 1, rows - 1)
                if !found.contains(row) { found.append(row) }
            }
        }
        return found
    }
}

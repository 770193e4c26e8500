import LinearAlgebra
import Tensors

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
/// The library does this in float32, whatever the base's type. Its right vectors are stored, so they are held against those found
/// here: a base, seed, device or version other than the library's shows. Each lies outside the space of those found here by an angle, and
/// so do the columns of U; a row of U is off by its share, √(Σ angle² / rows). (How the vectors lie within the space is no matter: distances
/// stay.) Vectors stored in 16 bits are held one by one against those found here in the same 16 bits: of n elements f fall on the
/// other side of a border, and numbers that are moved by a share a of their spacing do so for a of them, so the angle is taken as
/// (f + 3) / n of a spacing, with three more for the chance that fewer fell than should have.
///
/// A row whose nearest two centres differ in distance by less than eight times that may be of either. All choices are followed to their
/// end. Most come to the same clusters, and the stored factors, which have one row for each of a cluster's, tell most of the others
/// apart; where two endings have the stored sizes, the rows are undecided.
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
    /// How many rows each cluster has, as the stored factors say.
    let sizes: [Int]

    /// The 16-bit type to which the vectors were rounded, in whatever type they lie; nil where they were not.
    private var narrowType: DType? {
        if stored.allSatisfy({ Float($0).bitPattern & 0xFFFF == 0 }) { return .bf16 }
        return stored.allSatisfy { Float($0).bitPattern & 0x1FFF == 0 } ? .f16 : nil
    }

    /// The rows of each cluster, ascending. Where no ending has the stored sizes, those of the likeliest one.
    func members() throws -> [[Int]] {
        guard weight.allSatisfy(\.isFinite), rank * min(rows, columns) >= 16 else {
            throw Undecided(reason: "has a base that is not finite, or one too small for the library's generator")
        }
        let vectors = try leftVectors()
        let labels = try cluster(
            vectors.left, tolerance: 8 * max(vectors.angle, 0x1p-22 * Double(rank).squareRoot()) / Double(rows).squareRoot())
        return (0..<count).map { cluster in labels.indices.filter { labels[$0] == cluster } }
    }

    // MARK: Decomposition

    /// U (rows × rank), and the root of the sum of squared angles of the right vectors.
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

    /// √(Σ angle²) of the stored rows against the columns of `right`.
    private func angle(_ right: [Double]) throws -> Double {
        // The spacing of a type's numbers, as a share of the number: between 2⁻⁸ and 2⁻⁷ for bf16, 2⁻¹¹ and 2⁻¹⁰ for f16.
        let narrow = narrowType
        let spacing = narrow == .f16 ? 0x1p-10 : 0x1p-7
        let products = try BLAS.product(stored, right, rows: rank, columns: rank, depth: columns)
        var sum = 0.0
        for k in 0..<rank {
            let known = stored[(k * columns)..<((k + 1) * columns)]
            let size = known.reduce(0) { $0 + $1 * $1 }
            guard size > 0.9, size < 1.1 else { throw Undecided(reason: "has an adamss_newB whose rows are not of length 1") }
            let angle: Double
            if let narrow {
                // Either way round is the same vector.
                let sign: Double = products[k * rank + k] < 0 ? -1 : 1
                let found = try narrow.holding((0..<columns).map { sign * right[$0 * rank + k] })
                let fallen = zip(found, known).count { $0 != $1 }
                guard fallen * 4 < columns * 3 else { throw elsewhere }
                angle = spacing * Double(fallen + 3) / Double(columns)
            } else {
                var outside = 0.0
                for column in 0..<columns {
                    var element = known[k * columns + column]
                    for other in 0..<rank { element -= products[k * rank + other] * right[column * rank + other] }
                    outside += element * element
                }
                angle = outside.squareRoot()
            }
            guard angle < 0x1p-10 || columns < 64 && angle < 0x1p-9 else { throw elsewhere }
            sum += angle * angle
        }
        return sum.squareRoot()
    }

    private var elsewhere: Undecided {
        Undecided(
            reason: "has an adamss_newB that is not what the seed gives for this base on the CPU: another base, or the "
                + "decomposition of another device, and which rows a factor changes is in no file")
    }

    private func transpose(_ matrix: [Double], _ rows: Int, _ columns: Int) -> [Double] {
        (0..<(rows * columns)).map { matrix[$0 % rows * columns + $0 / rows] }
    }

    // MARK: Clusters

    /// What is followed to its end: the choices of one clustering.
    private struct Trail {
        let points: [[Double]]
        let tolerance: Double
        let variance: Double
        /// Labels at the start of each round that were followed already: most choices meet again.
        var seen: [Set<[Int]>] = Array(repeating: [], count: 10)
        /// The endings, the likeliest first.
        var endings: [[Int]] = []
        var steps = 0
    }

    private func cluster(_ left: [Double], tolerance: Double) throws -> [Int] {
        var points = (0..<rows).map { Array(left[($0 * rank)..<(($0 + 1) * rank)]) }
        let mean = (0..<rank).map { axis in points.reduce(0) { $0 + $1[axis] } / Double(rows) }
        points = points.map { zip($0, mean).map { $0 - $1 } }
        let variance = points.reduce(0) { $0 + $1.reduce(0) { $0 + $1 * $1 } } / Double(rows * rank)
        var trail = Trail(points: points, tolerance: tolerance, variance: variance)
        try follow(&trail, centres: drawn().map { points[$0] }, labels: [], round: 0)
        let fitting = trail.endings.filter { labels in
            (0..<count).allSatisfy { cluster in labels.count { $0 == cluster } == sizes[cluster] }
        }
        guard fitting.count < 2 else {
            throw Undecided(
                reason: "has rows that are as near to one cluster as to another, within the rounding of the library's float32, and which "
                    + "of them a factor changes is in no file")
        }
        return fitting.first ?? trail.endings.first ?? []
    }

    private func follow(_ trail: inout Trail, centres: [[Double]], labels: [Int], round: Int) throws {
        for found in try choices(&trail, centres) {
            let moved = try means(trail.points, found)
            if found == labels {
                if !trail.endings.contains(found) { trail.endings.append(found) }
                continue
            }
            let shift = zip(moved, centres).reduce(0) { $0 + SubspaceClusters.square($1.0, $1.1) }
            if shift <= 1e-4 * trail.variance || round == 9 {
                for last in try choices(&trail, moved) where !trail.endings.contains(last) { trail.endings.append(last) }
            } else if trail.seen[round].insert(found).inserted {
                try follow(&trail, centres: moved, labels: found, round: round + 1)
            }
        }
    }

    /// The nearest centre of each row, in every way that rounding leaves open; the nearest of all first.
    private func choices(_ trail: inout Trail, _ centres: [[Double]]) throws -> [[Int]] {
        var nearest: [Int] = []
        var open: [(row: Int, others: [Int])] = []
        for (row, point) in trail.points.enumerated() {
            let distances = centres.map { SubspaceClusters.square(point, $0).squareRoot() }
            var best = 0
            for index in distances.indices where distances[index] < distances[best] { best = index }
            nearest.append(best)
            let others = distances.indices.filter { $0 != best && distances[$0] - distances[best] <= trail.tolerance }
            if !others.isEmpty { open.append((row, others)) }
        }
        var result = [nearest]
        for (row, others) in open {
            result += others.flatMap { other in
                result.map { labels in
                    var changed = labels
                    changed[row] = other
                    return changed
                }
            }
            guard result.count <= 64 else { throw tooMany(open.count) }
        }
        trail.steps += result.count
        guard trail.steps <= 1024 else { throw tooMany(open.count) }
        return result
    }

    private func tooMany(_ rows: Int) -> Undecided {
        Undecided(
            reason: "has \(rows) row\(rows == 1 ? "" : "s") as near to one cluster as to another, within the rounding of the library's "
                + "float32: too many ways to go on, and which rows a factor changes is in no file")
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

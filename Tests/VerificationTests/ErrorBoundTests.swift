import Adapters
import ByteAccess
import Tensors
import TestSupport
import Testing

@testable import Verification

/// The bound E against exact arithmetic: both paths must stay within it, and it must not be so wide that it says
/// nothing.
@Suite struct ErrorBoundTests {
    /// How the numbers of a case are chosen.
    enum Kind: CaseIterable {
        /// Like a trained adapter on a trained layer.
        case typical
        /// Magnitudes over forty binades.
        case wild
        /// W is the negative of the update, rounded to float32: the sum is what rounding left.
        case cancelling
        /// The products of each element cancel among themselves.
        case cancellingProducts
    }

    private func scene(_ kind: Kind, rank: Int, terms: Int, dtype: DType, seed: UInt64) throws -> Scene {
        let scene = try Scene(seed: seed)
        let (rows, columns) = (24, 33)
        let index = try scene.tensor("w", .f64, [rows, columns], scene.normal(rows * columns, 0.02))
        scene.recipes[index].dtype = dtype
        for term in 0..<terms {
            func numbers(_ count: Int) -> [Double] {
                kind == .wild ? scene.random.doubles(count, exponents: -20...20) : scene.normal(count, 0.1)
            }
            var left = numbers(rows * rank)
            var right = numbers(rank * columns)
            if kind == .cancellingProducts {
                for k in stride(from: 0, to: rank - 1, by: 2) {
                    for i in 0..<rows { left[i * rank + k + 1] = -left[i * rank + k] * (1 + 0x1p-40) }
                    for j in 0..<columns { right[(k + 1) * columns + j] = right[k * columns + j] }
                }
            }
            let a = try scene.factor("B\(term)", .f64, [rows, rank], left)
            let b = try scene.factor("A\(term)", .f64, [rank, columns], right)
            scene.recipes[index].updates.append(
                .init(
                    region: Region(rows: 0..<rows, columns: 0..<columns),
                    update: .lowRank(left: a, right: b, scale: [2, -0.7, 1 / 3.0][term % 3])))
        }
        if kind == .cancelling {
            var plain = scene.recipes[index]
            plain.dtype = .f64
            let update = zip(try scene.merge.values(plain), try scene.base[index].values).map { $0 - $1 }
            scene.base[index] = try StoredValues("w", .f64, [rows, columns], update.map { -Double(Float($0)) })
        }
        return scene
    }

    private func exact(_ scene: Scene) throws -> [ExactSum] {
        let recipe = scene.recipes[0]
        let numbers = PlainMerge.Numbers(adapter: scene.adapter)
        let base = try scene.base[0].values
        var sums = base.map { value in
            var sum = ExactSum()
            sum.add(value)
            return sum
        }
        for placed in recipe.updates {
            guard case .lowRank(let left, let right, let scale) = placed.update else { continue }
            let (a, b) = (try left.matrix(from: numbers), try right.matrix(from: numbers))
            for i in 0..<recipe.rows {
                for j in 0..<recipe.columns {
                    var product = ExactSum()
                    for k in 0..<left.columns { product.addProduct(a[i * left.columns + k], b[k * recipe.columns + j]) }
                    sums[i * recipe.columns + j].add(product.times(scale))
                }
            }
        }
        return sums
    }

    /// Products and sums rounded one by one, k descending, the terms in order.
    private func backwards(_ scene: Scene) throws -> [Double] {
        let recipe = scene.recipes[0]
        let numbers = PlainMerge.Numbers(adapter: scene.adapter)
        var update = [Double](repeating: 0, count: recipe.rows * recipe.columns)
        for placed in recipe.updates {
            guard case .lowRank(let left, let right, let scale) = placed.update else { continue }
            let (a, b) = (try left.matrix(from: numbers), try right.matrix(from: numbers))
            for i in 0..<recipe.rows {
                for j in 0..<recipe.columns {
                    var sum = 0.0
                    for k in (0..<left.columns).reversed() {
                        sum += a[i * left.columns + k] * b[k * recipe.columns + j]
                    }
                    update[i * recipe.columns + j] += scale * sum
                }
            }
        }
        return zip(try scene.base[0].values, update).map { $0 + $1 }
    }

    @Test("both paths lie within E of the exact sum and of each other", arguments: Kind.allCases)
    func sums(kind: Kind) throws {
        var (largest, checked) = (0.0, 0)
        for (rank, terms) in [(1, 1), (2, 1), (8, 1), (16, 3), (64, 2)] {
            for seed in 1...3 as ClosedRange<UInt64> {
                let scene = try scene(kind, rank: rank, terms: terms, dtype: .f64, seed: seed)
                let recipe = scene.recipes[0]
                let kernel = try scene.merge.values(recipe)
                let recomputation = try scene.recomputation(0)
                let rows = 0..<recipe.rows
                let panel = try recomputation.panel(rows: rows)
                let (values, bounds) = (panel.values, panel.bounds)
                let columns = recipe.columns
                let defined = try rows.flatMap { row in
                    try DefinedOrder(recomputation: recomputation).sums(
                        row: row, start: panel.start[(row * columns)..<((row + 1) * columns)])
                }
                #expect(defined.map(\.bitPattern) == kernel.map(\.bitPattern), "the defined order has its own bits")
                let third = try backwards(scene)
                for (index, sum) in try exact(scene).enumerated() {
                    let bound = bounds[index]
                    // OpenBLAS may well sum in the defined order when the rank is small, so a third order takes part.
                    let differences = [
                        abs(sum.minus(values[index])), abs(sum.minus(kernel[index])),
                        abs(values[index] - kernel[index]),
                        abs(third[index] - values[index]), abs(third[index] - kernel[index]),
                    ]
                    for difference in differences where !(difference <= bound) {
                        Issue.record("\(kind) rank \(rank): \(difference) > \(bound)")
                    }
                    largest = max(largest, differences.reduce(0, max) / bound)
                    checked += 1
                }
            }
        }
        print("E, \(kind): largest difference / E over \(checked) elements is \(largest)")
        // A bound a thousand times wider than anything seen would say little.
        #expect(largest > 1e-3)
    }

    #if arch(x86_64)
        /// Float80 has 64 bits: its errors are 2⁻¹¹ of those that are bounded here.
        @Test(
            "DoRA: both paths lie within E of the exact result",
            arguments: [TensorRecipe.Magnitude.Axis.rows, .columns])
        func magnitudes(axis: TensorRecipe.Magnitude.Axis) throws {
            var largest = 0.0
            for kind in [Kind.typical, .cancellingProducts] {
                for seed in 1...4 as ClosedRange<UInt64> {
                    let scene = try scene(kind, rank: 8, terms: 1, dtype: .f64, seed: seed)
                    let recipe = scene.recipes[0]
                    let count = axis == .rows ? recipe.rows : recipe.columns
                    let numbers = scene.normal(count).map { 0.5 + abs($0) }
                    scene.recipes[0].magnitudes = [
                        .init(
                            region: Region(rows: 0..<recipe.rows, columns: 0..<recipe.columns), axis: axis,
                            values: try scene.factor("m", .f64, [count], numbers))
                    ]
                    var squares = [Float80](repeating: 0, count: count)
                    var values = try exact(scene).map { Float80($0.value) + Float80($0.minus($0.value)) }
                    func line(_ index: Int) -> Int { axis == .rows ? index / recipe.columns : index % recipe.columns }
                    for index in values.indices { squares[line(index)] += values[index] * values[index] }
                    for index in values.indices {
                        values[index] *= Float80(numbers[line(index)]) / squares[line(index)].squareRoot()
                    }
                    let kernel = try scene.merge.values(scene.recipes[0])
                    let recomputation = try scene.recomputation(0)
                    let rows = 0..<recipe.rows
                    let panel = try recomputation.panel(rows: rows)
                    let (found, bounds) = (panel.values, panel.bounds)
                    for index in values.indices {
                        let differences = [
                            abs(values[index] - Float80(found[index])), abs(values[index] - Float80(kernel[index])),
                            abs(Float80(found[index]) - Float80(kernel[index])),
                        ]
                        for difference in differences where !(difference <= Float80(bounds[index])) {
                            Issue.record("\(difference) > \(bounds[index])")
                        }
                        largest = max(largest, Double(differences.reduce(0, max)) / bounds[index])
                    }
                }
            }
            print("E, DoRA along \(axis): largest difference / E is \(largest)")
            #expect(largest > 1e-3)
        }
    #endif

    /// An update of typical size on 2^18 elements.
    private func large(_ dtype: DType, magnitude: Bool) throws -> Scene {
        let scene = try Scene(seed: 5)
        let index = try scene.tensor("w", dtype, [256, 1024])
        try scene.lowRank(index, rank: 16, scale: 2, size: 0.01)
        if magnitude {
            let values = try scene.factor("m", .f32, [256], scene.normal(256, 0.1).map { 0.6 + abs($0) })
            scene.recipes[index].magnitudes = [
                .init(region: Region(rows: 0..<256, columns: 0..<1024), axis: .rows, values: values)
            ]
        }
        return scene
    }

    @Test("the bound alone decides nearly every element", arguments: [DType.bf16, .f16, .f32], [false, true])
    func ambiguity(dtype: DType, magnitude: Bool) throws {
        let scene = try large(dtype, magnitude: magnitude)
        let recomputation = try scene.recomputation(0)
        var steps = 0.0
        for row in 0..<16 {
            let rows = (row * 16)..<(row * 16 + 16)
            let panel = try recomputation.panel(rows: rows)
            let (values, bounds) = (panel.values, panel.bounds)
            // An interval of width 2E meets a rounding boundary with probability 2E / step.
            for index in values.indices { steps += 2 * bounds[index] / Ulp.spacing(at: values[index], in: dtype) }
        }
        let report = try scene.verify(try scene.merged())
        let found = try #require(report["w"])
        #expect(report.isEquivalent)
        let fraction = Double(found.ambiguous) / Double(found.elements)
        print(
            "ambiguous, \(dtype.rawValue)\(magnitude ? " DoRA" : ""): \(found.ambiguous) of \(found.elements)",
            "expected fraction \(steps / Double(found.elements))")
        #expect(fraction <= (dtype == .f32 ? 1e-4 : 1e-5))
    }
}

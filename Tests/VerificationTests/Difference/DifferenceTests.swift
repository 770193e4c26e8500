import ByteAccess
import Checkpoints
import Tensors
import TestSupport
import Testing

@testable import Verification

/// Tensors compared element by element, against the definitions.
@Suite struct DifferenceTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func input(_ tensors: [StoredValues], _ name: String) throws -> DifferenceInput {
        try DifferenceInput(path: directory.write(try StoredValues.file(tensors), to: "\(name).safetensors"))
    }

    private func compare(
        _ a: [StoredValues], _ b: [StoredValues], tolerance: DifferenceTolerance = DifferenceTolerance(),
        selection: TensorSelection = TensorSelection(), jobs: Int = 2
    ) throws -> CheckpointDifference {
        try CheckpointComparison(
            input(a, "a"), input(b, "b"), tolerance: tolerance, selection: selection, jobs: jobs
        ).run()
    }

    private func expect(
        _ found: TensorDifference, _ plain: PlainDifference, _ place: SourceLocation = #_sourceLocation
    ) {
        #expect(found.unequal == plain.unequal, sourceLocation: place)
        #expect(found.differing == plain.differing, sourceLocation: place)
        #expect(found.first == plain.first, sourceLocation: place)
        #expect(found.nonfinite == plain.nonfinite, sourceLocation: place)
        #expect([found.nansInA, found.nansInB] == plain.nans, sourceLocation: place)
        #expect([found.infinitiesInA, found.infinitiesInB] == plain.infinities, sourceLocation: place)
        #expect(found.maxULP == plain.maxULP, sourceLocation: place)
        #expect(found.maxAbs == (plain.finite > 0 ? plain.maxAbs : nil), sourceLocation: place)
        // Two orders of at most a million positive summands: 1e-9 is far above their difference.
        func near(_ a: Double?, _ b: Double?, _ scale: Double) -> Bool {
            guard let a, let b else { return a == nil && b == nil }
            return abs(a - b) <= 1e-9 * scale
        }
        if plain.finite > 0 { #expect(near(found.meanAbs, plain.meanAbs, plain.meanAbs), sourceLocation: place) }
        #expect(near(found.relL2, plain.relL2, plain.relL2 ?? 0), sourceLocation: place)
        #expect(near(found.cos, plain.cos, 1), sourceLocation: place)
    }

    /// Random codes, a few of them changed in B. F64 keeps to numbers whose squares the plain sums can hold.
    private func random(_ dtype: DType, _ count: Int, _ random: inout SplitMix64) throws -> (StoredValues, StoredValues) {
        let size = count * dtype.bits / 8
        var bytes: [UInt8]
        if dtype == .f64 {
            bytes = random.doubles(count, exponents: -20...20).flatMap { value in
                withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
            }
        } else {
            bytes = (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        }
        let a = StoredValues("t", dtype, [count], bytes: bytes)
        for _ in 0..<max(1, count / 50) {
            let place = Int.random(in: 0..<size, using: &random)
            // Of an F64 the fraction alone.
            bytes[dtype == .f64 ? place / 8 * 8 + place % 6 : place] ^= UInt8(1 << (random.next() % 8))
        }
        return (a, StoredValues("t", dtype, [count], bytes: bytes))
    }

    @Test(arguments: DType.allCases) func figuresAreTheDefinitions(_ dtype: DType) throws {
        var random = SplitMix64(seed: 5)
        var changed = 0
        // Below a lane of sums, around a block, and over several blocks.
        for count in [8, 24, 8184, 8192, 8200, 24_000] {
            let (a, b) = try self.random(dtype, count, &random)
            let plain = try PlainDifference(a, b)
            let report = try compare([a], [b])
            #expect(report.isEqual == (plain.unequal == 0))
            if let found = (report.changed + report.tolerated).first { expect(found, plain) } else { #expect(a.bytes == b.bytes) }
            changed += report.changed.count + report.tolerated.count
        }
        #expect(changed >= 5)
    }

    /// Parts of equal bytes beside others, and no dependence on the number of threads.
    @Test func largeTensorsAreComparedInParts() throws {
        var random = SplitMix64(seed: 6)
        let count = 3 * TensorPair.partBytes / 2 / 2 + 1000
        let a = try StoredValues("t", .bf16, [count], random.doubles(count))
        var b = a
        for index in [0, 1, count - 1] { b.bytes[2 * index] ^= 4 }
        let alone = try compare([a], [b], jobs: 1)
        let found = try #require(alone.changed.first)
        expect(found, try PlainDifference(a, b))
        let together = try #require(try compare([a], [b], jobs: 5).changed.first)
        #expect(together.relL2 == found.relL2 && together.cos == found.cos && together.meanAbs == found.meanAbs)
        #expect(alone.comparedElements == count)
    }

    @Test func anotherDTypeIsComparedByValue() throws {
        var random = SplitMix64(seed: 7)
        let values = random.doubles(9000)
        let dtypes: [DType] = [.f64, .f32, .f16, .bf16]
        for left in dtypes {
            for right in dtypes where left != right {
                let (a, b) = (try StoredValues("t", left, [9000], values), try StoredValues("t", right, [9000], values))
                let report = try compare([a], [b])
                #expect(!report.isEqual)
                #expect(report.retyped.map(\.values) == [report.changed.isEmpty ? .equal : .different])
                let plain = try PlainDifference(a, b)
                if let found = report.changed.first { expect(found, plain) } else { #expect(plain.unequal == 0) }
            }
        }
        // A plain cast is no step away in the type with fewer digits.
        let cast = try compare([try StoredValues("t", .f32, [9000], values)], [try StoredValues("t", .bf16, [9000], values)])
        #expect(cast.changed.first?.maxULP == 0)
        #expect(cast.changed.first?.stepDType == .bf16)
        // And an upcast changes no number.
        let bf16 = try StoredValues("t", .bf16, [9000], values)
        let upcast = try compare([bf16], [try StoredValues("t", .f32, [9000], try bf16.values)])
        #expect(upcast.changed.isEmpty && upcast.tolerated.isEmpty && !upcast.isEqual)
    }

    // MARK: Equality

    private func f32(_ codes: [UInt32]) -> StoredValues {
        StoredValues("t", .f32, [codes.count], bytes: codes.flatMap { code in withUnsafeBytes(of: code.littleEndian) { Array($0) } })
    }

    @Test func otherBitsOfTheSameNumberAreEqual() throws {
        // −0 and 0, two payloads of NaN.
        let report = try compare([f32([0x8000_0000, 0x7FC0_0000, 0x3F80_0000])], [f32([0, 0xFFC0_1234, 0x3F80_0000])])
        #expect(report.isEqual)
        let tensor = try #require(report.tolerated.first)
        #expect(tensor.unequal == 0 && tensor.differing == 0 && tensor.first == nil)
        #expect(tensor.maxULP == 0 && tensor.maxAbs == 0)
        #expect(tensor.nansInA == 1 && tensor.nansInB == 1 && tensor.nonfinite == 0)
    }

    @Test func nonfiniteNumbersAreCountedApart() throws {
        let one: UInt32 = 0x3F80_0000
        // NaN for 1, Inf for −Inf, Inf for the largest number, Inf for Inf.
        let report = try compare(
            [f32([one, 0xFF80_0000, 0x7F7F_FFFF, 0x7F80_0000, one])], [f32([0x7FC0_0000, 0x7F80_0000, 0x7F80_0000, 0x7F80_0000, 0x4000_0000])],
            tolerance: .init(relative: 10, absolute: 10))
        let tensor = try #require(report.changed.first)
        #expect(tensor.nonfinite == 3 && tensor.differing == 3 && tensor.unequal == 4)
        #expect(tensor.maxAbs == 1 && tensor.relL2 == 1 && tensor.cos == 1)
        #expect(tensor.maxULP == nil)
        let json = report.json()["changed"]?.arrayValue?.first
        #expect(json?["max_abs"]?.isNull == true && json?["nonfinite"]?.intValue == 3)
        #expect(json?["finite"]?["max_abs"]?.doubleValue == 1)
    }

    @Test func integersAreComparedBeyondFloat64() throws {
        func integers(_ values: [Int64], _ dtype: DType = .i64) -> StoredValues {
            StoredValues("t", dtype, [values.count], bytes: values.flatMap { value in withUnsafeBytes(of: value.littleEndian) { Array($0) } })
        }
        let large = Int64(1) << 60
        let one = try #require(try compare([integers([large, 5])], [integers([large + 1, 5])]).changed.first)
        #expect(one.maxAbs == 1 && one.differing == 1 && one.maxULP == nil)
        let extremes = try compare([integers([.min])], [integers([.max])])
        #expect(extremes.changed.first?.maxAbs == 0x1p64)
        // The same bits as signed and unsigned, and as the nearest float64.
        #expect(try compare([integers([-1])], [integers([-1], .u64)]).changed.first?.maxAbs == 0x1p64)
        let rounded = try StoredValues("t", .f64, [1], [Double(large + 1)])
        #expect(try compare([integers([large + 1])], [rounded]).changed.first?.maxAbs == 1)
        #expect(try compare([integers([large])], [rounded]).retyped.first?.values == .equal)
        let fraction = try StoredValues("t", .f64, [1], [0.5])
        #expect(try compare([integers([0])], [fraction]).changed.first?.maxAbs == 0.5)
    }

    @Test func extremeNumbersHaveFigures() throws {
        func pair(_ a: [Double], _ b: [Double]) throws -> TensorDifference {
            let report = try compare([try StoredValues("t", .f64, [a.count], a)], [try StoredValues("t", .f64, [b.count], b)])
            return try #require(report.changed.first)
        }
        let huge = try pair([3e300, 4e300], [3e300, 4.5e300])
        #expect(abs((huge.relL2 ?? 0) - 0.1) < 1e-12)
        #expect(abs((huge.cos ?? 0) - 27 / (5 * 29.25.squareRoot())) < 1e-12)
        let tiny = try pair([3e-300, 4e-300], [3e-300, 4.5e-300])
        #expect(abs((tiny.relL2 ?? 0) - 0.1) < 1e-12)
        // The difference overflows, its ratio to A does not.
        let opposite = try pair([1.5e308, 0], [-1.5e308, 0])
        #expect(opposite.relL2.map { abs($0 - 2) < 1e-12 } == true && opposite.cos == -1)
        #expect(opposite.maxAbs == .infinity)
        // The smallest difference that there is, beside the largest number.
        let smallest = try pair([.leastNonzeroMagnitude, 1e308], [0, 1e308])
        #expect(smallest.differing == 1 && smallest.maxAbs == .leastNonzeroMagnitude && smallest.first == 0)
        #expect(try pair([0, 0], [0, 1]).relL2 == nil)
    }

    @Test func toleranceIsNumpys() throws {
        var random = SplitMix64(seed: 8)
        for (rtol, atol) in [(0.0, 0.01), (0.02, 0), (0.01, 0.001), (1e-300, 0)] {
            let values = random.doubles(10_000)
            let noisy = values.map { $0 * (1 + 0.03 * Double.random(in: -1...1, using: &random)) }
            let (a, b) = (try StoredValues("t", .f32, [10_000], values), try StoredValues("t", .f32, [10_000], noisy))
            let report = try compare([a], [b], tolerance: .init(relative: rtol, absolute: atol))
            let plain = try PlainDifference(a, b, rtol: rtol, atol: atol)
            expect(try #require(report.changed.first), plain)
            #expect(plain.differing > 0)
        }
        // At the limit itself, |b − a| = rtol·|a|; numpy.allclose(b, a) is not numpy.allclose(a, b).
        let (two, three) = (try StoredValues("t", .f32, [1], [2]), try StoredValues("t", .f32, [1], [3]))
        #expect(try compare([two], [three], tolerance: .init(relative: 0.5)).isEqual)
        #expect(try !compare([two], [three], tolerance: .init(relative: 0.4)).isEqual)
        #expect(try compare([three], [two], tolerance: .init(relative: 0.4)).isEqual)
        let within = try compare([two], [three], tolerance: .init(absolute: 1))
        #expect(within.isEqual && within.tolerated.first?.unequal == 1)
    }

    // MARK: Names

    private func row(_ name: ExactString, _ shape: Shape = [2, 3]) throws -> StoredValues {
        try StoredValues(name, .f32, shape, [Double](repeating: 1, count: shape.elementCount ?? 0))
    }

    @Test func namesAndShapesAreCompared() throws {
        let report = try compare(
            [try row("same"), try row("gone"), try row("turned", [2, 3]), try row("empty", [0, 3])],
            [try row("turned", [3, 2]), try row("same"), try row("empty", [0, 3]), try row("new")])
        #expect(report.removed.map(\.name) == ["gone"] && report.added.map(\.name) == ["new"])
        #expect(report.retyped.map(\.name) == ["turned"] && report.retyped.first?.values == .notCompared)
        #expect(report.compared == 2 && !report.isEqual && report.changed.isEmpty)
        // The order in the files is no difference.
        #expect(try compare([try row("x"), try row("y")], [try row("y"), try row("x")]).isEqual)
        // Names are bytes: é in two spellings is two names.
        #expect(try compare([try row("\u{E9}")], [try row("e\u{301}")]).added.count == 1)
        let complex = StoredValues("t", .c64, [1], bytes: [0, 0, 0, 0, 0, 0, 0, 0])
        #expect(try compare([complex], [try row("t", [1])]).retyped.first?.values == .notCompared)
    }

    @Test func shardsDoNotMatter() throws {
        let tensors = try ["a", "b", "c"].map { try row(ExactString($0)) }
        for (number, part) in [[tensors[2]], [tensors[0], tensors[1]]].enumerated() {
            try directory.write(try StoredValues.file(part), to: "shard\(number).safetensors")
        }
        let index = try directory.write(
            #"{"metadata": {}, "weight_map": {"a": "shard1.safetensors", "b": "shard1.safetensors", "c": "shard0.safetensors"}}"#,
            to: "x.safetensors.index.json")
        #expect(try CheckpointComparison(DifferenceInput(path: index), input(tensors, "whole")).run().isEqual)
        var other = tensors
        other[1].bytes[3] = 0x40
        let report = try CheckpointComparison(DifferenceInput(path: index), input(other, "whole")).run()
        #expect(report.changed.map(\.name) == ["b"])
    }

    @Test func patternsSelect() throws {
        let (a, b) = ([try row("x.a"), try row("y.a")], [try row("x.a"), try row("x.b")])
        func select(_ include: [String], _ exclude: [String]) -> TensorSelection {
            TensorSelection(include: include.map { GlobPattern($0) }, exclude: exclude.map { GlobPattern($0) })
        }
        #expect(try compare(a, b, selection: select(["x.*"], ["*.b"])).isEqual)
        let report = try compare(a, b, selection: select(["x.*", "z*"], []))
        #expect(report.added.map(\.name) == ["x.b"] && report.removed.isEmpty)
        #expect(report.warnings.count == 1 && report.warnings[0].contains("z*"))
        #expect(throws: PeftfileError.self) { try compare(a, b, selection: select(["nothing"], [])) }
        #expect(throws: PeftfileError.self) { try compare(a, b, selection: select([], ["*"])) }
    }

    @Test func worstFirst() throws {
        func tensor(_ name: ExactString, _ values: [Double]) throws -> StoredValues {
            try StoredValues(name, .f32, [values.count], values)
        }
        let report = try compare(
            [try tensor("a", [1, 100]), try tensor("b", [1, 1]), try tensor("c", [1, 1]), try tensor("d", [1, 1])],
            [try tensor("a", [1, 110]), try tensor("b", [3, 3]), try tensor("c", [1, .nan]), try tensor("d", [1, -1])])
        func names(_ order: DifferenceOrder) -> [ExactString] { report.changed.sorted(by: order.precedes).map(\.name) }
        #expect(names(.name) == ["a", "b", "c", "d"])
        #expect(names(.maxAbs) == ["c", "a", "b", "d"])
        #expect(names(.relL2) == ["c", "b", "d", "a"])
        #expect(names(.cos).prefix(2) == ["c", "d"])
        #expect(names(.share) == ["b", "a", "c", "d"])
    }
}

import Adapters
import ByteAccess
import Tensors
import Testing

@testable import Verification

@Suite struct AcceptanceTests {
    /// One tensor of every kind: low rank in each dtype, several terms, regions, experts, dense, DoRA along rows and
    /// columns, replaced rows, a source from the adapter, conversions, and copies of many dtypes.
    static func everything(seed: UInt64 = 7) throws -> Scene {
        let scene = try Scene(seed: seed)
        for dtype in [DType.bf16, .f16, .f32, .f64] {
            let index = try scene.tensor("linear.\(dtype.rawValue)", dtype, [24, 40])
            try scene.lowRank(index, rank: 4, scale: 2, dtype: dtype == .f64 ? .f64 : .f32)
        }
        let square = try scene.tensor("square", .bf16, [32, 32])
        try scene.lowRank(square, rank: 4, scale: 2)
        let two = try scene.tensor("two", .bf16, [16, 20])
        try scene.lowRank(two, rank: 3, scale: 0.7, dtype: .bf16)
        try scene.lowRank(two, rank: 5, scale: -0.3, dtype: .bf16)
        let fused = try scene.tensor("fused", .bf16, [30, 16])
        try scene.lowRank(fused, rank: 2, scale: 1, region: Region(rows: 0..<10, columns: 0..<16))
        try scene.lowRank(fused, rank: 2, scale: 1, region: Region(rows: 20..<30, columns: 4..<12))
        let experts = try scene.tensor("experts", .bf16, [3, 8, 12])
        scene.recipes[experts].isExpertStack = true
        for expert in 0..<3 {
            try scene.lowRank(
                experts, rank: 2, scale: 2, region: Region(rows: (expert * 8)..<(expert * 8 + 8), columns: 0..<12))
        }
        let bias = try scene.tensor("bias", .bf16, [24])
        let values = try scene.factor("bias.update", .f32, [24])
        scene.recipes[bias].updates = [
            .init(region: Region(rows: 0..<1, columns: 0..<24), update: .dense(values: values, scale: 1.5))
        ]
        let conv = try scene.tensor("conv", .f32, [8, 4, 3, 3])
        try scene.lowRank(conv, rank: 2, scale: 2)
        for (name, axis) in [("dora.rows", TensorRecipe.Magnitude.Axis.rows), ("dora.columns", .columns)] {
            for dtype in [DType.bf16, .f32, .f64] {
                let index = try scene.tensor("\(name).\(dtype.rawValue)", dtype, [20, 28])
                try scene.lowRank(index, rank: 4, scale: 2)
                let count = axis == .rows ? 20 : 28
                let magnitude = try scene.factor(
                    "\(name).\(dtype.rawValue).m", .f32, [count], scene.normal(count, 0.1).map { 0.2 + abs($0) })
                scene.recipes[index].magnitudes = [
                    .init(region: Region(rows: 0..<20, columns: 0..<28), axis: axis, values: magnitude)
                ]
            }
        }
        let tokens = try scene.tensor("tokens", .bf16, [12, 16])
        let rows = try scene.factor("rows", .f32, [3, 16])
        scene.recipes[tokens].rowReplacements = [.init(rows: [1, 5, 11], columns: 0..<16, values: rows)]
        let both = try scene.tensor("tokens.updated", .bf16, [12, 16])
        scene.recipes[both].rowReplacements = [.init(rows: [0, 7], columns: 0..<16, values: rows.rows(0..<2))]
        try scene.lowRank(both, rank: 2, scale: 1)
        let saved = try scene.tensor("saved", .bf16, [6, 8])
        _ = try scene.factor("head", .f32, [6, 8])
        scene.recipes[saved].source = .adapter(0, "head")
        scene.recipes[saved].sourceDType = .f32
        try scene.tensor("norm", .f32, [40])
        scene.add(StoredValues("codes", .i32, [10], bytes: (0..<40).map { UInt8($0) }))
        scene.add(StoredValues("flags", .bool, [9], bytes: [0, 1, 1, 0, 0, 1, 0, 1, 1]))
        scene.add(StoredValues("f8", .f8E4M3, [16], bytes: (0..<16).map { UInt8($0 * 15) }))
        scene.add(StoredValues("f4", .f4, [8], bytes: [0x12, 0x8F, 0x00, 0x77]))
        scene.add(StoredValues("empty", .bf16, [0, 4], bytes: []))
        return scene
    }

    @Test("a right result is equivalent, whatever the number of workers")
    func right() throws {
        let scene = try Self.everything()
        let merged = try scene.merged()
        let report = try scene.verify(merged)
        #expect(report.isEquivalent)
        #expect(report.tensors.map(\.name) == scene.recipes.map(\.name))
        #expect(report.mismatched == [] && report.failedProbes == [])
        #expect(report.tensors.allSatisfy { $0.kind != .copied || $0.maxULP == 0 && $0.maxAbs == 0 })
        let parallel = try scene.verify(merged, jobs: 5)
        #expect(parallel.json == report.json)
        for tensor in report.tensors where tensor.kind == .computed {
            guard case .compared(4, 0, let worst) = tensor.probe else {
                #expect(tensor.name == "bias", "\(tensor.name): \(String(describing: tensor.probe))")
                continue
            }
            #expect(worst <= 1)
        }
    }

    @Test("one flipped bit anywhere is caught, and its tensor named", arguments: [11, 12] as [UInt64])
    func flippedBits(seed: UInt64) throws {
        let scene = try Self.everything(seed: seed)
        let merged = try scene.merged()
        for index in merged.indices where !merged[index].bytes.isEmpty {
            for _ in 0..<8 {
                var wrong = merged
                let byte = Int.random(in: wrong[index].bytes.indices, using: &scene.random)
                let bit = UInt8.random(in: 0..<8, using: &scene.random)
                wrong[index].bytes[byte] ^= 1 << bit
                let report = try scene.verify(wrong, probes: 0)
                #expect(!report.isEquivalent, "\(merged[index].name) byte \(byte) bit \(bit)")
                #expect(report.mismatched == [merged[index].name])
                let tensor = try #require(report[merged[index].name])
                #expect(tensor.mismatched == 1)
                #expect(
                    tensor.firstMismatch?.index == byte * 8 / merged[index].dtype.bits
                        || (merged[index].dtype.bits < 8 && (tensor.firstMismatch?.index ?? 0) / 2 == byte))
            }
        }
    }

    @Test("tensors of several parts are compared to their last element")
    func parts() throws {
        let scene = try Scene(seed: 4)
        for name in ["plain", "dora"] {
            let index = try scene.tensor(name, .bf16, [300, 512])
            try scene.lowRank(index, rank: 3, scale: 1)
        }
        let magnitude = try scene.factor("m", .f32, [512], scene.normal(512, 0.1).map { 0.2 + abs($0) })
        scene.recipes[1].magnitudes = [
            .init(region: Region(rows: 0..<300, columns: 0..<512), axis: .columns, values: magnitude)
        ]
        scene.add(StoredValues("copy", .u8, [1_600_001], bytes: (0..<1_600_001).map { UInt8(truncatingIfNeeded: $0) }))
        let merged = try scene.merged()
        #expect(try scene.verify(merged, jobs: 3).isEquivalent)
        for index in merged.indices {
            let size = merged[index].dtype.bits / 8
            let last = merged[index].bytes.count / size - 1
            for element in [0, last / 2, last] {
                var wrong = merged
                wrong[index].bytes[element * size] ^= 1
                let report = try scene.verify(wrong, jobs: 3, probes: 0)
                #expect(report.mismatched == [merged[index].name])
                #expect(report[merged[index].name]?.firstMismatch?.index == element)
            }
        }
    }

    @Test("a tensor of the base, a wrong scale and a transposed update fail both forms")
    func wrongMerges() throws {
        let scene = try Self.everything()
        let merged = try scene.merged()
        for (index, recipe) in scene.recipes.enumerated() where !recipe.updates.isEmpty && recipe.name != "bias" {
            var fromBase = merged
            fromBase[index] = scene.base[index]
            expectBothFail(try scene.verify(fromBase), recipe.name)
            for factor in [2, 0.5, -1] {
                var wrong = recipe
                wrong.updates = recipe.updates.map { placed in
                    guard case .lowRank(let left, let right, let scale) = placed.update else { return placed }
                    return .init(
                        region: placed.region, update: .lowRank(left: left, right: right, scale: scale * factor))
                }
                var result = merged
                result[index] = try scene.merge.merged(wrong)
                expectBothFail(try scene.verify(result), recipe.name)
            }
        }
        let index = try #require(scene.recipes.firstIndex { $0.name == "square" })
        var turned = scene.recipes[index]
        guard case .lowRank(let left, let right, let scale) = turned.updates[0].update else { return }
        turned.updates[0].update = .lowRank(left: right.transposed, right: left.transposed, scale: scale)
        var result = merged
        result[index] = try scene.merge.merged(turned)
        expectBothFail(try scene.verify(result), "square")
    }

    private func expectBothFail(_ report: EquivalenceReport, _ name: ExactString) {
        #expect(!report.isEquivalent)
        #expect(report.mismatched == [name], "elements of \(name)")
        #expect(report.failedProbes == [name], "probes of \(name): \(String(describing: report[name]?.probe))")
    }

    @Test("missing and extra tensors, other dtypes and shapes are named")
    func structure() throws {
        let scene = try Self.everything()
        let merged = try scene.merged()
        let missing = try scene.verify(merged.filter { $0.name != "two" })
        #expect(!missing.isEquivalent && missing.missing == ["two"] && missing.unexpected == [])
        let extra = try scene.verify(merged + [try StoredValues("lora_A", .f32, [2], [1, 2])])
        #expect(!extra.isEquivalent && extra.unexpected == ["lora_A"] && extra.missing == [])
        var other = merged
        other[0] = try StoredValues(merged[0].name, .f32, merged[0].shape, try merged[0].values)
        let dtype = try scene.verify(other)
        #expect(!dtype.isEquivalent && dtype.disagreements.map(\.name) == [merged[0].name])
        #expect(dtype[merged[0].name] == nil)
        other[0] = StoredValues(merged[0].name, merged[0].dtype, merged[0].shape.reversed(), bytes: merged[0].bytes)
        let shape = try scene.verify(other)
        #expect(!shape.isEquivalent && shape.disagreements.first?.foundShape == [40, 24])
        #expect(shape.disagreements.first?.expectedShape == [24, 40])
    }

    @Test("a converted result is judged in its dtype; other floating-point tensors stay unless all are converted")
    func conversion() throws {
        for (all, dtype) in [(false, DType.f16), (true, .f16), (true, .f32), (true, .bf16)] {
            let scene = try Scene()
            let index = try scene.tensor("linear", .bf16, [64, 48])
            try scene.lowRank(index, rank: 4, scale: 1)
            try scene.tensor("plain", .bf16, [64])
            try scene.tensor("kept", .f32, [16])
            scene.add(StoredValues("codes", .u8, [4], bytes: [1, 2, 3, 4]))
            var expected = scene.recipes
            for index in expected.indices where expected[index].dtype == .bf16 || all && expected[index].dtype == .f32 {
                expected[index].dtype = dtype
            }
            let merged = try expected.map { try scene.merge.merged($0) }
            let report = try scene.verify(merged, dtype: dtype, all: all)
            #expect(report.isEquivalent)
            if dtype != .f32 { #expect(!(try scene.verify(merged, dtype: dtype, all: !all)).isEquivalent) }
            for index in merged.indices {
                var wrong = merged
                wrong[index].bytes[0] ^= 1
                #expect(try scene.verify(wrong, dtype: dtype, all: all).mismatched == [merged[index].name])
            }
        }
        let scene = try Scene()
        try scene.tensor("plain", .bf16, [4])
        #expect { try scene.verify(scene.base, dtype: .i8) } throws: { ($0 as? PeftfileError)?.code == .usage }
    }

    @Test("--max-ulp accepts computed elements that far off, and no further; untouched elements stay exact")
    func maxULP() throws {
        for dtype in [DType.bf16, .f16, .f32, .f64] {
            let scene = try Scene()
            let index = try scene.tensor("linear", dtype, [8, 8])
            try scene.lowRank(index, rank: 2, scale: 1, region: Region(rows: 0..<4, columns: 0..<8))
            let merged = try scene.merged()
            func shifted(element: Int, by steps: Int) -> [StoredValues] {
                var result = merged
                let size = dtype.bits / 8
                // Elements are far from zero, so that codes next to each other are numbers next to each other.
                let bytes = merged[0].bytes[(element * size)..<(element * size + size)]
                let code = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) } &+ UInt64(steps)
                for byte in 0..<size {
                    result[0].bytes[element * size + byte] = UInt8(truncatingIfNeeded: code >> (8 * byte))
                }
                return result
            }
            for steps in [1, 2, 3] {
                let report = try scene.verify(shifted(element: 5, by: steps), maxULP: 2, probes: 0)
                #expect(report.isEquivalent == (steps <= 2), "\(dtype) \(steps)")
                #expect(report["linear"]?.maxULP == UInt64(steps))
            }
            #expect(!(try scene.verify(shifted(element: 60, by: 1), maxULP: 2, probes: 0)).isEquivalent)
            #expect(try scene.verify(merged, maxULP: 2).isEquivalent)
        }
    }

    @Test("NaN, infinities, zeros of both signs and cancellation have one right answer each")
    func specialValues() throws {
        for dtype in [DType.bf16, .f16, .f32, .f64] {
            for scale in [1.0, -1.0] {
                let scene = try Scene()
                let special = [0.0, -0.0, .nan, .infinity, -.infinity, 1, -1, 0x1p-14, -0x1p-20, 3e-40, 60000, 0]
                let index = try scene.tensor("w", dtype, [12, 12], (0..<144).map { special[$0 / 12] })
                let left = try scene.factor("B", .f64, [12, 2], (0..<24).map { [1, 0][$0 % 2] })
                let right = try scene.factor(
                    "A", .f64, [2, 12],
                    [0, 0, 1e-300, .infinity, -.infinity, -1, 1, .nan, 0x1p-1074, 3e-40, 1e300, 60000]
                        + [0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1])
                scene.recipes[index].updates = [
                    .init(
                        region: Region(rows: 0..<12, columns: 0..<12),
                        update: .lowRank(left: left, right: right, scale: scale))
                ]
                let merged = try scene.merged()
                #expect(try scene.verify(merged).isEquivalent, "\(dtype) \(scale)")
                for element in 0..<144 {
                    for bit in [0, dtype.bits - 1] {
                        var wrong = merged
                        wrong[0].bytes[(element * dtype.bits + bit) / 8] ^= 1 << UInt8(bit % 8)
                        let report = try scene.verify(wrong, probes: 0)
                        #expect(report.mismatched == ["w"], "\(dtype) \(scale) \(element) bit \(bit)")
                    }
                }
            }
        }
    }

    @Test("an adapter of zeros leaves a base with zeros equivalent, and its negative zeros defined")
    func zeroUpdate() throws {
        let scene = try Scene()
        let index = try scene.tensor(
            "w", .bf16, [16, 16], (0..<256).map { $0 % 3 == 0 ? 0 : $0 % 3 == 1 ? -0.0 : 0.5 })
        let left = try scene.factor("B", .f32, [16, 2], [Double](repeating: 0, count: 32))
        let right = try scene.factor("A", .f32, [2, 16])
        scene.recipes[index].updates = [
            .init(region: Region(rows: 0..<16, columns: 0..<16), update: .lowRank(left: left, right: right, scale: 2))
        ]
        let merged = try scene.merged()
        #expect(try scene.verify(merged).isEquivalent)
        // +0 = −0 + 0: the negative zeros of the base are gone, so the base itself is not the result.
        #expect(try scene.verify(scene.base).mismatched == ["w"])
    }

    @Test("exact ties, which factors of few bits make, have one right answer")
    func ties() throws {
        let scene = try Scene()
        // 1 + 2⁻⁸·odd lies between two numbers of BF16.
        let index = try scene.tensor("w", .bf16, [16, 16], [Double](repeating: 1, count: 256))
        let left = try scene.factor("B", .bf16, [16, 1], (0..<16).map { Double(2 * $0 + 1) })
        let right = try scene.factor("A", .bf16, [1, 16], (0..<16).map { Double(2 * $0 + 1) * 0x1p-8 })
        scene.recipes[index].updates = [
            .init(region: Region(rows: 0..<16, columns: 0..<16), update: .lowRank(left: left, right: right, scale: 1))
        ]
        let merged = try scene.merged()
        let report = try scene.verify(merged)
        #expect(report.isEquivalent)
        #expect((report["w"]?.ambiguous ?? 0) > 100)
        for element in 0..<256 {
            for steps in [1, -1] {
                var wrong = merged
                // Neighbouring codes; no carry out of the low byte is lost, since the high one follows.
                let code = UInt16(wrong[0].bytes[2 * element]) | UInt16(wrong[0].bytes[2 * element + 1]) << 8
                let other = UInt16(Int(code) + steps)
                wrong[0].bytes[2 * element] = UInt8(other & 0xFF)
                wrong[0].bytes[2 * element + 1] = UInt8(other >> 8)
                #expect(try scene.verify(wrong, probes: 0).mismatched == ["w"])
            }
        }
    }

    @Test("a config that did not follow the weights is named")
    func config() throws {
        let scene = try Scene()
        try scene.tensor("w", .bf16, [4])
        let changes: [Binding.ConfigChange] = [
            .init(path: ["tie_word_embeddings"], value: false), .init(path: ["text_config", "vocab_size"], value: 12),
        ]
        func keys(_ text: String) throws -> [String] {
            let report = try scene.verify(config: text, changes: changes)
            #expect(report.isEquivalent == report.config.isEmpty)
            return report.config.map(\.key)
        }
        #expect(try keys(#"{"tie_word_embeddings": false, "text_config": {"vocab_size": 12}}"#) == [])
        #expect(
            try keys(#"{"tie_word_embeddings": true, "text_config": {"vocab_size": 12}}"#) == ["tie_word_embeddings"])
        #expect(try keys("{}") == ["tie_word_embeddings", "text_config.vocab_size"])
    }

    @Test("decomposed bases: the same library is exact, and flips in 16-bit results are caught")
    func decomposed() throws {
        for dtype in [DType.bf16, .f32] {
            let kinds: [(BaseDecomposition, Bool)] = [
                (.principalComponents(rank: 4), false), (.principalComponents(rank: 4), true),
                (.minorComponents(rank: 4), false), (.orthonormalFactors(rank: 4, scale: 2), false),
            ]
            for (kind, transposed) in kinds {
                let scene = try Scene()
                let index = try scene.tensor("w", dtype, [40, 24])
                scene.recipes[index].updates = [
                    .init(
                        region: Region(rows: 0..<40, columns: 0..<24),
                        update: .decomposed(kind, transposed: transposed, scale: 1))
                ]
                try scene.lowRank(index, rank: 4, scale: 2)
                let merged = try scene.merged()
                let report = try scene.verify(merged)
                #expect(report.isEquivalent, "\(kind)")
                #expect(report.warnings == [])
                for _ in 0..<40 {
                    var wrong = merged
                    wrong[0].bytes[Int.random(in: wrong[0].bytes.indices, using: &scene.random)] ^= 1
                    let report = try scene.verify(wrong, probes: 0)
                    #expect(!report.isEquivalent || !report.warnings.isEmpty, "\(dtype) \(kind)")
                    if dtype == .bf16 { #expect(!report.isEquivalent) }
                }
            }
        }
    }

    /// The transpose decomposed is the same mathematics in another order, as another build of LAPACK would be.
    @Test("another rounding of the decomposition is accepted, and said")
    func otherDecomposition() throws {
        var differing = 0
        for dtype in [DType.bf16, .f64] {
            for kind in [BaseDecomposition.principalComponents(rank: 4), .minorComponents(rank: 4)] {
                for seed in 1...5 as ClosedRange<UInt64> {
                    let scene = try Scene(seed: seed)
                    let index = try scene.tensor("w", dtype, [40, 24])
                    func update(transposed: Bool) -> [TensorRecipe.PlacedUpdate] {
                        [
                            .init(
                                region: Region(rows: 0..<40, columns: 0..<24),
                                update: .decomposed(kind, transposed: transposed, scale: 1))
                        ]
                    }
                    scene.recipes[index].updates = update(transposed: true)
                    let merged = try scene.merged()
                    scene.recipes[index].updates = update(transposed: false)
                    let report = try scene.verify(merged)
                    #expect(report.isEquivalent)
                    #expect(report.warnings.isEmpty == (report["w"]?.acceptedByLibraryBound == 0))
                    if merged[0].bytes != (try scene.merged())[0].bytes { differing += 1 }
                    // The lowest bit of BF16, and one of the middle of F64's.
                    var wrong = merged
                    wrong[0].bytes[dtype == .bf16 ? 2 * 77 : 8 * 77 + 3] ^= 1
                    #expect(try scene.verify(wrong, probes: 0).mismatched == ["w"])
                }
            }
        }
        // Otherwise nothing was tested.
        #expect(differing > 0)
    }

    @Test("the JSON form has its keys in order, and null for what is not a number")
    func json() throws {
        let scene = try Scene()
        let index = try scene.tensor("w", .bf16, [2, 2], [1, 2, 3, 4])
        try scene.lowRank(index, rank: 1, scale: 1)
        var wrong = try scene.merged()
        wrong[0] = try StoredValues("w", .bf16, [2, 2], [.nan, .infinity, 3, 4])
        let report = try scene.verify(wrong + [try StoredValues("more", .f32, [1], [0])])
        let document = try #require(report.json.objectValue)
        #expect(
            document.keys == [
                "schema", "warnings", "equivalent", "tensors", "missing", "unexpected", "dtype_or_shape", "config",
                "changed_files", "added_files", "hashed_files",
            ])
        #expect(document["schema"] == "peftfile.verify/1" && document["equivalent"] == false)
        #expect(document["unexpected"] == ["more"])
        let tensor = try #require(document["tensors"]?.arrayValue?.first)
        #expect(tensor["name"] == "w" && tensor["elements"] == 4)
        #expect(tensor["max_ulp"]?.isNull == true && tensor["nonfinite"] == 2)
        #expect(tensor["first_mismatch"]?["stored"]?.isNull == true && tensor["first_mismatch"]?["index"] == 0)
        let text = report.json.serialized(indent: nil)
        #expect(try JSONValue.parse(Array(text.utf8), file: nil) == report.json)
    }
}

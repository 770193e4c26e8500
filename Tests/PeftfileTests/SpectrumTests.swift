import Peftfile
import TestSupport
import Testing

/// Singular values from thin factors against independent ones: numpy's, those of the merged difference, plain loops.
@Suite struct SpectrumTests {
    /// A (4, 6) and B (5, 4) of whole numbers, scale 6/4.
    private func small() throws -> (model: SmallModel, a: [Double], b: [Double]) {
        let model = try SmallModel()
        let (a, b) = (SmallTensor.numbers(24, seed: 1), SmallTensor.numbers(20, seed: 2))
        try model.adapter(
            [
                SmallTensor(name: "q.lora_A.weight", shape: [4, 6], values: a),
                SmallTensor(name: "q.lora_B.weight", shape: [5, 4], values: b),
            ], shared: #""r": 4, "lora_alpha": 6"#)
        return (model, a, b)
    }

    private func report(_ model: SmallModel) throws -> SpectrumReport {
        try SpectrumReport(of: Adapter(path: model.directory.path("adapter")), jobs: 1)
    }

    private func near(_ value: Double, _ wanted: Double, within share: Double = 1e-9) -> Bool {
        abs(value - wanted) <= share * abs(wanted)
    }

    /// numpy 2: `s = numpy.linalg.svd(1.5 * B @ A, compute_uv=False)`; `norm**2 / s[0]**2`; with `p = s / s.sum()`
    /// `exp(-(p * log(p)).sum())`; `cumsum(s**2) / sum(s**2)`.
    @Test func smallUpdateHasNumpysFigures() throws {
        let model = try small().model
        let module = try #require(try report(model).modules.first)
        let wanted = [109.11002796, 90.79459997, 55.91655204, 10.54426972]
        #expect(module.name == "q" && module.update.rank == 4 && module.update.scale == 1.5)
        #expect(module.spectrum.singularValues.count == 4)
        for (value, wanted) in zip(module.spectrum.singularValues, wanted) { #expect(near(value, wanted, within: 1e-8)) }
        #expect(near(module.spectrum.frobeniusNorm, 152.92645291119518, within: 1e-12))
        #expect(near(module.spectrum.stableRank, 1.9644270083807425, within: 1e-12))
        #expect(near(module.spectrum.effectiveRank, 3.2804650130650983, within: 1e-12))
        for (value, wanted) in zip(module.spectrum.energy, [0.50905429, 0.86155079, 0.99524591, 1]) {
            #expect(near(value, wanted, within: 1e-8))
        }
        #expect(module.spectrum.rank(holding: 0.9) == 3 && module.spectrum.rank(holding: 0.99) == 3)
        #expect(module.spectrum.rank(holding: 0.996) == 4 && module.flag == nil)
    }

    /// Σσ² = ‖s·B·A‖_F², the product by plain loops.
    @Test func squaresSumToTheNormOfTheProduct() throws {
        let (model, a, b) = try small()
        var sum = 0.0
        for i in 0..<5 {
            for j in 0..<6 {
                var element = 0.0
                for k in 0..<4 { element += b[i * 4 + k] * a[k * 6 + j] }
                sum += 1.5 * element * (1.5 * element)
            }
        }
        let module = try #require(try report(model).modules.first)
        #expect(near(module.spectrum.singularValues.reduce(0) { $0 + $1 * $1 }, sum, within: 1e-13))
        #expect(near(module.spectrum.frobeniusNorm * module.spectrum.frobeniusNorm, sum, within: 1e-13))
    }

    /// numpy's singular values of `expected - base` of fixtures that the libraries themselves wrote, to six digits. The results
    /// are stored in F32, so that the values carry an error near 1e-7.
    @Test(arguments: [
        ("lora-linear-f32", "model.layers.0.mlp.down_proj", [1.17684, 0.795565, 0.636627, 0.4957]),
        ("lora-rank-pattern", "model.layers.0.mlp.down_proj", [0.668451, 0.524151, 0.404513, 0.319528]),
        ("lora-conv2d", "resnet.embedder.embedder.convolution", [0.953872, 0.516829, 0.262923]),
        ("lora-gpt2", "transformer.h.0.attn.c_attn", [1.81896, 1.32078, 1.11822, 0.640343]),
        ("lora-bdlora", "model.layers.0.self_attn.q_proj", [2.16823, 1.66004, 1.32672, 1.09335]),
        ("adalora", "model.layers.0.self_attn.v_proj", [23.1781, 11.7428, 7.98469, 4.00782]),
        ("loha-linear", "model.layers.0.mlp.gate_proj", [0.731568, 0.634496, 0.481787, 0.336132, 0.29764, 0.275362]),
        ("lokr-both", "model.layers.0.mlp.down_proj", [1.05077, 0.950348, 0.645435, 0.583749, 0.454669, 0.279279]),
        ("lokr-default", "model.layers.0.mlp.gate_proj", [1.06911, 0.97834, 0.686136, 0.627879, 0.549537, 0.502878]),
        ("lora-moe-target-params", "model.layers.0.mlp.experts.down_proj[0]", [0.665181, 0.334531]),
    ]) func fixturesHaveNumpysValues(_ name: String, _ module: String, _ wanted: [Double]) throws {
        let merge = try MergeCase(name)
        let alone = try SpectrumReport(of: Adapter(path: merge.adapter), jobs: 2)
        for report in [alone, try SpectrumReport(of: merge.binding(), jobs: 2)] {
            let found = try #require(report.modules.first { $0.name == module }, "\(report.modules.map(\.name))")
            let values = found.spectrum.singularValues.filter { $0 > 1e-5 }
            for (value, wanted) in zip(values, wanted) { #expect(near(value, wanted, within: 1e-5), "\(values)") }
            if wanted.count < 6 { #expect(values.count == wanted.count) }
        }
    }

    /// For every F32 case of the fixtures: the values are those of the whole difference between the expected result and the base,
    /// and their squares sum to its norm by plain loops.
    @Test func everyCaseHasTheValuesOfItsDifference() throws {
        var checked = 0
        var methods: Set<String> = []
        for name in MergeCase.names {
            let merge = try MergeCase(name)
            guard !merge.mustRefuse, let binding = try? merge.binding(), let expected = try? merge.expected() else { continue }
            let report = try SpectrumReport(of: binding, jobs: 2)
            for module in report.modules where module.update.note.isEmpty && module.update.expert == nil {
                let targets = binding.targets.filter { $0.target.module == module.update.module }
                guard let tensor = targets.first?.tensors.first, targets.count == 1, targets[0].tensors.count == 1,
                    binding.targets.count(where: { $0.tensors.contains(tensor) }) == 1,
                    binding.outputs.first(where: { $0.recipe.name == tensor })?.recipe.rowReplacements.isEmpty == true,
                    let base = binding.base[tensor], let result = expected[tensor], base.dtype == .f32, result.dtype == .f32,
                    base.shape == result.shape, base.info.elementCount == module.update.rows * module.update.columns
                else { continue }
                let count = base.info.elementCount
                let w = try Conversion.widened(binding.base.read(base), as: .f32, count: count)
                let e = try Conversion.widened(expected.read(result), as: .f32, count: count)
                var (squares, size) = (0.0, 0.0)
                for index in 0..<count {
                    squares += (e[index] - w[index]) * (e[index] - w[index])
                    size += e[index] * e[index]
                }
                // Rounding the result to F32 moves it by at most 2⁻²⁴ of its size, and no singular value by more (Weyl).
                let bound = 0x1p-23 * (size.squareRoot() + squares.squareRoot())
                #expect(abs(module.spectrum.frobeniusNorm - squares.squareRoot()) <= bound, "\(name) \(module.name)")
                let rows = base.shape[0]
                let whole = try LAPACK.svd(zip(e, w).map { $0 - $1 }, rows: rows, columns: count / rows)
                for (value, wanted) in zip(module.spectrum.singularValues, whole.s) {
                    #expect(abs(value - wanted) <= bound, "\(name) \(module.name)")
                }
                for rest in whole.s.dropFirst(module.spectrum.singularValues.count) { #expect(rest <= bound) }
                checked += 1
                methods.insert(targets[0].target.method)
            }
        }
        #expect(checked > 300 && methods.isSuperset(of: ["LoRA", "AdaLoRA", "LoHa", "LoKr", "VeRA"]), "\(checked) \(methods.sorted())")
    }

    /// The update is the same for B·G and G⁻¹·A.
    @Test func factorsOfOneProductHaveOneSpectrum() throws {
        let (model, a, b) = try small()
        let first = try #require(try report(model).modules.first)
        // G exchanges two ranks, halves one and doubles another: exact in every dtype.
        let order = [1, 0, 2, 3], sizes = [1.0, 1, 2, 0.5]
        var (turnedA, turnedB): ([Double], [Double]) = ([], [])
        for index in 0..<24 {
            let (k, j) = (index / 6, index % 6)
            turnedA.append(a[order[k] * 6 + j] / sizes[k])
        }
        for index in 0..<20 {
            let (i, k) = (index / 4, index % 4)
            turnedB.append(b[i * 4 + order[k]] * sizes[k])
        }
        let other = try SmallModel()
        try other.adapter(
            [
                SmallTensor(name: "q.lora_A.weight", shape: [4, 6], values: turnedA),
                SmallTensor(name: "q.lora_B.weight", shape: [5, 4], values: turnedB),
            ], shared: #""r": 4, "lora_alpha": 6"#)
        let second = try #require(try report(other).modules.first)
        for (x, y) in zip(first.spectrum.singularValues, second.spectrum.singularValues) { #expect(near(x, y, within: 1e-12)) }
    }

    @Test func flagsSayWhatIsDeadAndWhatIsTooWide() throws {
        let model = try SmallModel()
        func pair(_ name: String, _ b: [Double]) -> [SmallTensor] {
            [
                SmallTensor(name: ExactString("\(name).lora_A.weight"), shape: [4, 6], values: SmallTensor.numbers(24, seed: 1)),
                SmallTensor(name: ExactString("\(name).lora_B.weight"), shape: [5, 4], values: b),
            ]
        }
        let full = SmallTensor.numbers(20, seed: 2)
        try model.adapter(
            pair("zero", [Double](repeating: 0, count: 20))
                + pair("tiny", full.map { $0 / 4096 })
                // Of four columns of B one is left.
                + pair("wide", full.enumerated().map { $0.offset % 4 == 0 ? $0.element : 0 })
                + pair("one", full) + pair("two", full),
            shared: #""r": 4, "lora_alpha": 4"#)
        let flags = Dictionary(uniqueKeysWithValues: try report(model).modules.map { ($0.name, $0.flag) })
        #expect(flags == ["zero": .dead, "tiny": .dead, "wide": .overparameterised, "one": nil, "two": nil])
        let zero = try #require(try report(model).modules.first { $0.name == "zero" })
        #expect(zero.spectrum.stableRank == 0 && zero.spectrum.effectiveRank == 0 && zero.spectrum.energy.isEmpty)
        let wide = try #require(try report(model).modules.first { $0.name == "wide" })
        #expect(wide.spectrum.numericalRank == 1 && near(wide.spectrum.effectiveRank, 1) && near(wide.spectrum.stableRank, 1))
    }

    @Test func whatIsNotFiniteIsNamed() throws {
        let model = try SmallModel()
        try model.adapter([
            SmallTensor(name: "q.lora_A.weight", shape: [2, 6], values: [.nan] + SmallTensor.numbers(11, seed: 1)),
            SmallTensor(name: "q.lora_B.weight", shape: [5, 2], values: SmallTensor.numbers(10, seed: 2)),
        ])
        let report = try report(model)
        #expect(report.modules.isEmpty && report.skipped.map(\.module) == ["q"])
        #expect(report.reason?.contains("NaN or Inf") == true)
    }

    /// What has no thin form says why; nothing is left out without a word.
    @Test func everyTargetHasASpectrumOrAReason() throws {
        var skipped = 0
        for name in MergeCase.names {
            guard let adapter = try? Adapter(path: MergeCase(name).adapter), let report = try? SpectrumReport(of: adapter, jobs: 1)
            else { continue }
            #expect(report.modules.isEmpty == (report.reason != nil), "\(name)")
            #expect(report.skipped.allSatisfy { !$0.reason.isEmpty && !$0.module.isEmpty }, "\(name)")
            skipped += report.skipped.count
        }
        #expect(skipped > 50)
    }

    /// Sizes at the edge of float64: σ is in range, its square is not.
    @Test func squaresNeitherOverflowNorVanish() {
        for scale in [1e200, 1e-200] {
            let spectrum = Spectrum([3 * scale, 4 * scale].sorted(by: >), rows: 8, columns: 8)
            #expect(near(spectrum.frobeniusNorm, 5 * scale, within: 1e-14))
            #expect(near(spectrum.stableRank, 25.0 / 16, within: 1e-14))
        }
    }
}

import Peftfile
import TestSupport
import Testing

/// Fixtures/quantised merged: the results of an independent float64 formula, rounded once.
@Suite struct QuantisedMergeTests {
    static let all = ((try? FileSystem.list(Fixtures.path("quantised"))) ?? []).filter { $0 != "index.json" }
    static let merged = all.filter { !$0.hasPrefix("refuse-") }
    static let refused = all.filter { $0.hasPrefix("refuse-") }

    /// One case: its base with the values that are meant, and its adapter.
    struct Case {
        let name: String
        let file: JSONValue
        let base: Checkpoint
        let adapter: Adapter
        let options: BindingOptions

        init(_ name: String, base directory: String = "base") throws {
            self.name = name
            file = try JSONValue.parse(TestFile.bytes(Fixtures.path("quantised/\(name)/case.json")), file: name)
            adapter = try Adapter(path: Fixtures.path("quantised/\(name)/adapter"))
            var options = BindingOptions()
            if file["options"]?["simulate"]?.stringValue == "nf4", directory == "base" {
                options.baseValues = .nf4(
                    try NF4Simulation(
                        blockSize: file["options"]?["blocksize"]?.intValue ?? 64,
                        doubleQuantisation: file["options"]?["double_quant"]?.boolValue ?? false))
            }
            self.options = options
            base = try options.baseValues.applied(
                to: Checkpoint.open(Fixtures.path("quantised/\(name)/\(directory)")), adapters: [adapter])
        }

        /// What the case asks for on a command line.
        var flags: [String] {
            guard case .nf4(let simulation) = options.baseValues else { return ["--base-as", "stored"] }
            return ["--base-as", "nf4", "--block-size", "\(simulation.blockSize)"]
                + (simulation.doubleQuantisation ? ["--double-quant"] : [])
        }

        func binding() throws -> Binding { try Binding(base: base, adapters: [adapter], options: options) }

        func strings(_ key: ExactString) -> [String] { (file[key]?.arrayValue ?? []).compactMap(\.stringValue) }

        /// The expected tensors of a field that names one file or several; a later file's tensors take the place of an earlier one's.
        func expected(_ field: ExactString) throws -> [(tensor: StoredTensor, values: [Double])] {
            let names = file[field]?.stringValue.map { [$0] } ?? strings(field)
            var result: [ExactString: (StoredTensor, [Double])] = [:]
            for name in names {
                let checkpoint = try Checkpoint.open(Fixtures.path("quantised/\(self.name)/\(name)"))
                for tensor in checkpoint.tensors {
                    result[tensor.name] = (
                        tensor, try Conversion.widened(checkpoint.read(tensor), as: tensor.dtype, count: tensor.info.elementCount))
                }
            }
            return result.values.sorted { $0.0.name < $1.0.name }
        }
    }

    @Test func allCasesAreThere() { #expect(Self.merged.count == 44 && Self.refused.count == 7) }

    /// Merged to BF16 and to F32: every tensor that was quantised or adapted has the expected values, none else is there, the
    /// config speaks of no codes, and verify says by its own loops that the result is right.
    @Test(arguments: merged, [DType.bf16, .f32]) func mergesAsExpected(_ name: String, _ dtype: DType) throws {
        let it = try Case(name)
        let directory = try TemporaryDirectory()
        let binding = try it.binding()
        let receipt = try PlanExecutor(
            plan: .merge(binding, settings: .init(dtype: dtype)), target: directory.path("out")
        ).run()
        #expect(receipt.total.updated > 0)
        let result = try Checkpoint.open(directory.path("out"))
        #expect(result.quantisation == nil)
        let expected = try it.expected(dtype == .bf16 ? "expected" : "expected_f32")
        let tolerance = it.file[dtype == .bf16 ? "tolerance" : "tolerance_f32"]
        for (wanted, values) in expected {
            let found = try #require(result[wanted.name], "\(wanted.name)")
            #expect(found.dtype == dtype && found.shape == wanted.shape, "\(wanted.name)")
            let stored = try Conversion.widened(result.read(found), as: dtype, count: found.info.elementCount)
            Self.compare(stored, values, wanted, dtype, tolerance)
        }
        for key in it.strings("result_config_must_lack") { #expect(result.config?[ExactString(key)] == nil, "\(key)") }
        for dropped in it.strings("dropped_from_base") where !expected.contains(where: { $0.tensor.name.text == dropped }) {
            #expect(result[ExactString(dropped)] == nil, "\(dropped)")
        }
        let plain = Set(it.base.tensors.map(\.name))
        #expect(Set(result.tensors.map(\.name)) == plain)
        #expect(result.tensors.allSatisfy { $0.dtype == dtype || !$0.dtype.isMergeable })
        let report = try Verifier(binding: binding, result: result, dtype: dtype, jobs: 2, probes: 2).run()
        #expect(report.isEquivalent, "\(report.json.serialized())")
    }

    private static func compare(_ stored: [Double], _ wanted: [Double], _ tensor: StoredTensor, _ dtype: DType, _ tolerance: JSONValue?) {
        let step = Ulp.spacing(at: wanted.map(\.magnitude).max() ?? 0, in: dtype)
        let most = UInt64(tolerance?["max_ulp"]?.intValue ?? 0)
        let scaled = tolerance?["scaled_ulp"]?.doubleValue ?? 0
        for (a, b) in zip(stored, wanted)
        where Ulp.distance(a, b, in: dtype) > most && !((a - b).magnitude <= scaled * step) {
            Issue.record("\(tensor.name): \(a) for \(b)")
            return
        }
    }

    @Test(arguments: refused) func refusesAndWritesNothing(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let error = #expect(throws: PeftfileError.self) {
            let it = try Case(name)
            _ = try PlanExecutor(plan: .merge(it.binding()), target: directory.path("out")).run()
        }
        #expect(error?.code == .refused && error?.tensor != nil && error?.file != nil)
        #expect(try directory.names().isEmpty)
    }

    /// The default dtype is the config's, and what was not quantised comes through bit for bit.
    @Test(arguments: ["awq-gemm-skip", "bnb-nf4-ragged", "bnb-nf4-skip", "mlx-mixed"])
    func keepsWhatWasNotQuantised(_ name: String) throws {
        let it = try Case(name)
        let directory = try TemporaryDirectory()
        _ = try PlanExecutor(plan: .merge(it.binding()), target: directory.path("out")).run()
        let result = try Checkpoint.open(directory.path("out"))
        let dtype = try #require(it.base.config?["dtype"]?.stringValue.flatMap(DType.init(spelling:)))
        let changed = Set(it.strings("changed_by_adapter"))
        var copied = 0
        for tensor in result.tensors {
            #expect(tensor.dtype == dtype)
            let stored = try #require(it.base[tensor.name])
            guard stored.quantised == nil, !changed.contains(tensor.name.text) else { continue }
            copied += 1
            #expect(try result.read(tensor) == it.base.read(stored))
        }
        #expect(copied > 0)
    }

    /// The merge of a base that bitsandbytes stored in NF4, and of the 16-bit base taken through NF4 here, give the same bytes.
    @Test(arguments: ["qlora-nf4", "qlora-nf4-double-quant"]) func simulationEqualsStorage(_ name: String) throws {
        let directory = try TemporaryDirectory()
        var results: [[ExactString: [UInt8]]] = []
        for base in ["base", "base-nf4"] {
            let it = try Case(name, base: base)
            _ = try PlanExecutor(plan: .merge(it.binding()), target: directory.path(base)).run()
            let result = try Checkpoint.open(directory.path(base))
            results.append(try Dictionary(uniqueKeysWithValues: result.tensors.map { ($0.name, try result.read($0)) }))
        }
        #expect(results[0] == results[1])
        let files = try ["base", "base-nf4"].map { try FileReader(path: directory.path("\($0)/model.safetensors")).allBytes(limit: 1 << 30) }
        #expect(files[0] == files[1])
        // The order is that of the 16-bit base, which the safetensors library wrote.
        let written = try Checkpoint.open(Fixtures.path("quantised/\(name)/base")).tensors.map(\.name)
        #expect(try Checkpoint.open(directory.path("base-nf4")).tensors.map(\.name) == written)
        // And neither is the merge onto the 16-bit values.
        let plain = try Case(name)
        let stored = try Checkpoint.open(Fixtures.path("quantised/\(name)/base"))
        var options = BindingOptions()
        options.baseValues = .stored
        _ = try PlanExecutor(
            plan: .merge(Binding(base: stored, adapters: [plain.adapter], options: options)), target: directory.path("plain")
        ).run()
        let result = try Checkpoint.open(directory.path("plain"))
        #expect(try result.tensors.contains { try result.read($0) != results[0][$0.name] })
    }

    /// Without a word about the values that are meant, such an adapter is refused; with one the receipt has it.
    @Test func asksForTheValuesThatAreMeant() throws {
        let adapter = try Adapter(path: Fixtures.path("quantised/qlora-nf4/adapter"))
        let base = try Checkpoint.open(Fixtures.path("quantised/qlora-nf4/base"))
        let error = #expect(throws: PeftfileError.self) { _ = try BaseValues.unspecified.applied(to: base, adapters: [adapter]) }
        #expect(error?.rule == "BaseAs" && error?.help?.contains("--base-as nf4") == true)
        let directory = try TemporaryDirectory()
        let it = try Case("qlora-nf4-double-quant")
        _ = try PlanExecutor(plan: .merge(it.binding()), target: directory.path("out")).run()
        let record = try MergeRecord(besides: directory.path("out"))
        #expect(record.options.baseValues == .nf4(try NF4Simulation(blockSize: 64, doubleQuantisation: true)))
        let stored = try Checkpoint.open(Fixtures.path("quantised/qlora-nf4/base-nf4"))
        #expect(throws: PeftfileError.self) { _ = try it.options.baseValues.applied(to: stored, adapters: []) }
    }

    /// A flipped bit in the codes, in a scale or in a zero point of the base makes the result a wrong one.
    @Test(arguments: merged.filter { !$0.hasPrefix("qlora-") }) func everyComponentCounts(_ name: String) throws {
        let it = try Case(name)
        let directory = try TemporaryDirectory()
        _ = try PlanExecutor(plan: .merge(it.binding()), target: directory.path("out")).run()
        let result = try Checkpoint.open(directory.path("out"))
        let quantisation = try #require(it.base.quantisation)
        let weight = try #require(quantisation.weights.first)
        let model = it.base.shards[0].fileName
        let file = try TestFile.bytes(Fixtures.path("quantised/\(name)/base/\(model)"))
        for component in weight.components {
            // What says how to read, and the tables and orders of which a single entry may be of no use.
            let skipped = [".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4", ".weight_shape", ".weight_format", ".quant_map", "_quant_map", ".g_idx"]
            if skipped.contains(where: component.name.text.hasSuffix) { continue }
            var bytes = file
            // The high byte of a 16-bit or 32-bit scale has its exponent; a byte of codes any field.
            let isFloat = component.dtype.isMergeable && component.name != weight.codes.name
            bytes[Int(component.info.begin) + (isFloat ? component.dtype.bits / 8 - 1 : 0)] ^= isFloat ? 2 : 1
            let mutant = try TemporaryDirectory()
            try mutant.write(bytes, to: model)
            for other in try FileSystem.list(Fixtures.path("quantised/\(name)/base")) where other != model {
                try mutant.write(TestFile.bytes(Fixtures.path("quantised/\(name)/base/\(other)")), to: other)
            }
            let binding = try Binding(base: .open(mutant.path), adapters: [it.adapter], options: it.options)
            let report = try Verifier(binding: binding, result: result, jobs: 1, probes: 0).run()
            #expect(!report.isEquivalent, "\(component.name) does not count")
        }
    }

    /// The same bytes under other settings are other numbers: the zero point's convention, the order of groups, the block.
    @Test(arguments: [
        ("gptq-4bit-asym", #""checkpoint_format": "gptq""#, #""checkpoint_format": "gptq_v2""#),
        ("gptq-4bit-asym-v2", #""checkpoint_format": "gptq_v2""#, #""checkpoint_format": "gptq""#),
        ("fp8-block-rect", "32,\n      16", "32,\n      15"),
        ("mlx-mixed", #""bits": 8"#, #""bits": 4"#),
        ("ct-int4-asym", #""symmetric": false"#, #""symmetric": true"#),
    ])
    func otherSettingsAreNotTheSame(_ name: String, _ setting: String, _ other: String) throws {
        let directory = try TemporaryDirectory()
        let path = Fixtures.path("quantised/\(name)/base")
        let config = try TestFile.text("\(path)/config.json")
        #expect(config.contains(setting))
        try directory.write(config.split(separator: setting, omittingEmptySubsequences: false).joined(separator: other), to: "config.json")
        try directory.write(TestFile.bytes("\(path)/model.safetensors"), to: "model.safetensors")
        let (right, wrong) = (try Checkpoint.open(path), try Checkpoint.open(directory.path))
        guard wrong.quantisation?.problem == nil else { return }
        #expect(try right.tensors.contains { tensor in
            guard let found = wrong[tensor.name] else { return true }
            return try found.shape != tensor.shape || wrong.read(found) != right.read(tensor)
        })
    }

    /// Without its order of groups an act-order weight is another one.
    @Test(arguments: ["gptq-4bit-actorder", "gptq-3bit"]) func groupOrderCounts(_ name: String) throws {
        let path = Fixtures.path("quantised/\(name)/base")
        let base = try Checkpoint.open(path)
        var bytes = try TestFile.bytes("\(path)/model.safetensors")
        let weight = try #require(base.quantisation?.weights.first)
        let index = try #require(weight.components.first { $0.name.text.hasSuffix(".g_idx") })
        // Two inputs of different groups change places.
        let begin = Int(index.info.begin)
        let other = try #require((1..<index.info.elementCount).first { bytes[begin + 4 * $0] != bytes[begin] })
        bytes.swapAt(begin, begin + 4 * other)
        let directory = try TemporaryDirectory()
        try directory.write(bytes, to: "model.safetensors")
        try directory.write(TestFile.bytes("\(path)/config.json"), to: "config.json")
        let changed = try Checkpoint.open(directory.path)
        let (a, b) = (try #require(base[weight.name]), try #require(changed[weight.name]))
        #expect(try base.read(a) != changed.read(b))
    }
}

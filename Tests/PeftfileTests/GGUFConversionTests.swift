import Peftfile
import TestSupport
import Testing

/// GGUF models made into safetensors: what is rounded is said, and numbers need no table of names.
@Suite struct GGUFConversionTests {
    /// A model of one block of Q8_0 and a norm in F32, of values that no 16 bits hold.
    private static func file(_ architecture: String) -> [UInt8] {
        var builder = GGUFBuilder()
        builder.add("general.architecture", architecture)
        builder.tensors = [
            .init("output_norm.weight", [32], GGUFBuilder.bytes(norm)),
            // d = 2 as F16, then the codes 0 … 31.
            .init("output.weight", [32, 1], type: 8, [0, 0x40] + (0..<32).map { UInt8($0) }),
        ]
        return builder.file()
    }
    private static let norm = (0..<32).map { 1 + Float($0) / 65536 }

    private func convert(_ architecture: String, dtype: DType? = nil) throws -> (Checkpoint, warnings: [String], verdict: Int32) {
        let directory = try TemporaryDirectory()
        let source = try directory.write(Self.file(architecture), to: "model.gguf")
        let settings = ConvertSettings(dtype: dtype, convertsAllDTypes: dtype != nil, isSingleFile: true)
        let plan = try RewritePlan.convert(RewritePlan.openForConversion(source, settings), settings: settings)
        _ = try PlanExecutor(plan: plan, target: directory.path("out.safetensors")).run()
        let verdict = try Tool.run(["verify", directory.path("out.safetensors")])
        return (try Checkpoint.open(directory.path("out.safetensors")), plan.warnings, verdict.status)
    }

    /// BF16 unless something else is said: a note names the norms that it rounds, and F32 has every bit of them.
    @Test func roundedNormsAreSaid() throws {
        for (dtype, isRounded) in [(nil, true), (.f16, true), (.f32, false), (.f64, false)] as [(DType?, Bool)] {
            let (result, warnings, verdict) = try convert("llama", dtype: dtype)
            let notes = warnings.filter { $0.contains("F32") }
            #expect(notes.count == (isRounded ? 1 : 0), "\(warnings)")
            if isRounded { #expect(notes[0].hasPrefix("1 tensor that") && notes[0].contains((dtype ?? .bf16).rawValue) && notes[0].contains("--dtype f32")) }
            let values = try result.numbers("model.norm.weight")
            #expect((values == Self.norm.map { Double($0) }) == !isRounded)
            #expect(try result.numbers("lm_head.weight") == (0..<32).map { Double(2 * $0) })
            #expect(verdict == 0)
        }
    }

    /// Without a table of names the tensors keep llama.cpp's; the numbers are theirs, and F32 stays F32.
    @Test(arguments: ["rwkv7", "of-the-future"]) func anUnknownArchitectureKeepsItsNames(_ architecture: String) throws {
        let (result, warnings, verdict) = try convert(architecture)
        #expect(result.tensors.map(\.name.text).sorted() == ["output.weight", "output_norm.weight"])
        #expect(result["output_norm.weight"]?.dtype == .f32 && result["output.weight"]?.dtype == .bf16)
        #expect(try result.numbers("output_norm.weight") == Self.norm.map { Double($0) })
        #expect(try result.numbers("output.weight") == (0..<32).map { Double(2 * $0) })
        #expect(warnings.contains { $0.contains("\"\(architecture)\"") && $0.contains("llama.cpp's names") }, "\(warnings)")
        #expect(verdict == 0)
    }

    /// A diff names the types that the file has, as `inspect` does, and a copy in the same type is equal whatever its order.
    @Test(arguments: ["llama", "mixtral", "gpt2"]) func aLosslessConversionIsEqual(_ name: String) throws {
        let directory = try TemporaryDirectory()
        let source = Fixtures.path("gguf-models/\(name).gguf")
        #expect(try Checkpoint.open(source).tensors.contains { $0.quantised != nil })
        #expect(try Tool.run(["convert", source, "-o", directory.path("out"), "-q"]).status == 0)
        for pair in [[source, directory.path("out")], [directory.path("out"), source]] {
            let run = try Tool.run(["diff"] + pair)
            #expect(run.status == 0 && !run.output.contains("F64"), "\(run.output)\(run.errors)")
        }
        // Another number, and another type.
        #expect(try Tool.run(["convert", source, "-o", directory.path("f16"), "--dtype", "f16", "-q"]).status == 0)
        let run = try Tool.run(["diff", source, directory.path("f16")])
        #expect(run.status == 1 && run.output.contains("F32 [") && run.output.contains("in A, F16 [") && !run.output.contains("F64"), "\(run.output)")
    }

    /// Blocks are named by their type; a model without a table of names is compared under its own.
    @Test(arguments: ["llama", "of-the-future"]) func aDiffNamesBlocks(_ architecture: String) throws {
        let directory = try TemporaryDirectory()
        let source = try directory.write(Self.file(architecture), to: "model.gguf")
        let same = try Tool.run(["diff", source, source])
        #expect(same.status == 0 && same.output.contains("2 compared, 2 equal"), "\(same.output)\(same.errors)")
        #expect(try Tool.run(["convert", source, "-o", directory.path("out"), "--dtype", "f32", "-q"]).status == 0)
        let report = try CheckpointComparison(DifferenceInput(path: source), DifferenceInput(path: directory.path("out"))).run()
        let head: ExactString = architecture == "llama" ? "lm_head.weight" : "output.weight"
        #expect(report.retyped.map(\.name) == [head] && report.retyped.map(\.values) == [.equal] && report.changed.isEmpty)
        #expect(report.retyped.map { [$0.typeInA, $0.typeInB] } == [["Q8_0", "F32"]] && report.removed.isEmpty && report.added.isEmpty)
    }

    /// `--dtype` is for every number of such a file, as of one whose names are known: blocks, F16, F32, matrices and vectors.
    @Test(arguments: ["f32", "f16", "bf16", "f64"]) func aDTypeIsForAllOfIt(_ dtype: String) throws {
        let directory = try TemporaryDirectory()
        var builder = GGUFBuilder()
        builder.add("general.architecture", "rwkv7")
        builder.tensors = [
            .init("a.weight", [32, 1], type: 8, [0, 0x40] + (0..<32).map { UInt8($0) }),
            .init("b.weight", [2, 1], type: 1, [0, 0x3C, 0, 0x40]), .init("c.weight", [2, 2], GGUFBuilder.bytes([1, 2, 3, 4])),
            .init("d.bias", [2], type: 1, [0, 0x3C, 0, 0x40]), .init("e.bias", [2], GGUFBuilder.bytes([5, 6])),
        ]
        let source = try directory.write(builder.file(), to: "model.gguf")
        let out = directory.path("out.safetensors")
        let result = try Tool.run(["convert", source, "-o", out, "--to", "safetensors", "--dtype", dtype])
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.contains("2 tensors that the GGUF file has in F32 are written in") == !["f32", "f64"].contains(dtype), "\(result.errors)")
        let file = try Checkpoint.open(out)
        #expect(file.tensors.count == 5 && file.tensors.allSatisfy { $0.dtype.rawValue.lowercased() == dtype }, "\(file.tensors.map(\.dtype))")
        #expect(try file.numbers("a.weight") == (0..<32).map { Double(2 * $0) } && file.numbers("b.weight") == [1, 2])
        #expect(try file.numbers("c.weight") == [1, 2, 3, 4] && file.numbers("d.bias") == [1, 2] && file.numbers("e.bias") == [5, 6])
        #expect(try Tool.run(["verify", out]).status == 0)
    }

    /// A merge needs the table.
    @Test func aMergeOfAnUnknownArchitectureIsRefused() throws {
        let model = try SmallModel()
        let base = try model.directory.write(Self.file("rwkv7"), to: "base.gguf")
        try model.adapter([
            T.tensor("output.lora_A.weight", [2, 32], seed: 1), T.tensor("output.lora_B.weight", [1, 2], seed: 2),
        ])
        let error = #expect(throws: PeftfileError.self) {
            _ = try Binding(base: .open(base), adapters: [Adapter(path: model.directory.path("adapter"))])
        }
        #expect(error?.rule == "GGUFArchitecture")
    }

    private typealias T = SmallModel
}

import Peftfile
import TestSupport
import Testing

/// The type of a quantised layer, to which PEFT moves the numbers that a file leaves out. `vera-noproj-nf4` holds the rest: its
/// layers compute in float16, and its expected values are those of PEFT's own projections on bitsandbytes' layers.
@Suite struct LayerTypeTests {
    private typealias T = SmallTensor

    /// The adapter of `vera-noproj-nf4` on another base, with the modules of its first layer alone.
    private func binding(on base: String) throws -> Binding {
        let merge = try MergeCase("vera-noproj-nf4", in: "projections")
        let directory = try TemporaryDirectory()
        let stored = try Checkpoint.open(merge.adapter)
        let tensors = try stored.tensors.filter { $0.name.text.contains("layers.0.self_attn.q_proj") }.map {
            T(
                name: $0.name, shape: $0.shape,
                values: try Conversion.widened(stored.read($0), as: $0.dtype, count: $0.info.elementCount), dtype: .f32)
        }
        try FileSystem.makeDirectory(directory.path("adapter"))
        try T.write(tensors, to: directory.path("adapter/adapter_model.safetensors"))
        try TestFile.write(TestFile.bytes("\(merge.adapter)/adapter_config.json"), to: directory.path("adapter/adapter_config.json"))
        return try Binding(base: Checkpoint.open(base), adapters: [Adapter(path: directory.path("adapter"))], options: BindingOptions())
    }

    private func note(on base: String) throws -> String {
        try #require(binding(on: base).warnings.first { $0.contains("vera_A and vera_B") })
    }

    /// The same base, with another type of computation.
    private func computing(in dtype: String) throws -> TemporaryDirectory {
        let base = try MergeCase("vera-noproj-nf4", in: "projections").base
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("base"))
        try TestFile.write(TestFile.bytes("\(base)/model.safetensors"), to: directory.path("base/model.safetensors"))
        let config = String(decoding: try TestFile.bytes("\(base)/config.json"), as: UTF8.self)
        let old = #""bnb_4bit_compute_dtype": "float16""#
        #expect(config.contains(old))
        let parts = config.split(separator: old, omittingEmptySubsequences: false)
        try directory.write(parts.joined(separator: #""bnb_4bit_compute_dtype": "\#(dtype)""#), to: "base/config.json")
        return directory
    }

    @Test func fourBitsHaveTheTypeOfTheirComputation() throws {
        #expect(try note(on: MergeCase("vera-noproj-nf4", in: "projections").base).contains("rounded to float16"))
        let (narrow, wide) = (try computing(in: "bfloat16"), try computing(in: "float32"))
        #expect(try note(on: narrow.path("base")).contains("rounded to bfloat16"))
        #expect(try !note(on: wide.path("base")).contains("rounded"))
    }

    /// PEFT casts to no type of whole numbers.
    @Test func eightBitsOfBitsandbytesRoundNothing() throws {
        #expect(try !note(on: Fixtures.path("quantised/bnb-int8/base")).contains("rounded"))
    }

    @Test func float8IsRefused() throws {
        let error = #expect(throws: PeftfileError.self) { _ = try binding(on: Fixtures.path("quantised/fp8-scalar/base")) }
        #expect(error?.rule == "BaseDType")
        #expect(error?.message.contains("float8") == true)
    }
}

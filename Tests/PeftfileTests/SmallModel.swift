import Peftfile
import TestSupport
import Testing

/// A base and an adapter made for one test, of whole numbers small enough that every sum is exact.
struct SmallModel {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Writes `base/` with a config.
    func base(_ tensors: [SmallTensor], config: String = #"{"model_type": "llama", "tie_word_embeddings": false}"#) throws {
        try FileSystem.makeDirectory(directory.path("base"))
        try SmallTensor.write(tensors, metadata: [(key: "format", value: "pt")], to: directory.path("base/model.safetensors"))
        try directory.write(config, to: "base/config.json")
    }

    /// Writes an adapter directory; keys are given without `base_model.model.` and their values by seed. Where the config says nothing of
    /// its modules, it names those of the tensors, as PEFT writes them.
    func adapter(
        _ tensors: [SmallTensor], config: String = "", name: String = "adapter", peftType: String = "LORA",
        shared: String = #""r": 2, "lora_alpha": 6"#
    ) throws {
        try FileSystem.makeDirectory(directory.path(name), withParents: true)
        let prefixed = tensors.map { tensor in
            var copy = tensor
            copy.name = ExactString("base_model.model.\(tensor.name)")
            return copy
        }
        try SmallTensor.write(prefixed, to: directory.path("\(name)/adapter_model.safetensors"))
        let says = (shared + config).contains("\"target_")
        let modules = Set(tensors.map { AdapterKey($0.name) }.filter { $0.component != nil && !$0.module.text.isEmpty }.map(\.module.text))
        let targets = says || modules.isEmpty ? "" : "\"target_modules\": [\(modules.sorted().map { "\"\($0)\"" }.joined(separator: ", "))]"
        let rest = [shared, config, targets].filter { !$0.isEmpty }.map { ", \($0)" }.joined()
        try directory.write(
            #"{"peft_type": "\#(peftType)"\#(rest)}"#, to: "\(name)/adapter_config.json")
    }

    func binding(_ adapters: [String] = ["adapter"], options: BindingOptions = BindingOptions()) throws -> Binding {
        try Binding(
            base: .open(directory.path("base")), adapters: try adapters.map { try Adapter(path: directory.path($0)) },
            options: options)
    }

    /// Merges, verifies, and opens the result.
    func merged(
        _ adapters: [String] = ["adapter"], options: BindingOptions = BindingOptions(), as output: String = "out",
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Checkpoint {
        let binding = try binding(adapters, options: options)
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path(output)).run()
        let result = try Checkpoint.open(directory.path(output))
        let report = try Verifier(binding: binding, result: result).run()
        #expect(report.isEquivalent, "\(report.json.serialized())", sourceLocation: sourceLocation)
        return result
    }

    /// The rule that a refused binding names.
    func refusal(_ adapters: [String] = ["adapter"], options: BindingOptions = BindingOptions()) -> String? {
        do {
            _ = try RewritePlan.merge(binding(adapters, options: options))
            return nil
        } catch let error as PeftfileError {
            return error.rule ?? error.message
        } catch {
            return "\(error)"
        }
    }

    /// A tensor whose numbers follow from its seed.
    static func tensor(_ name: ExactString, _ shape: Shape, seed: Int, dtype: DType = .f32) -> SmallTensor {
        SmallTensor(
            name: name, shape: shape, values: SmallTensor.numbers(shape.reduce(1, *), seed: seed), dtype: dtype)
    }
}

extension Checkpoint {
    /// A tensor's elements as float64.
    func numbers(_ name: ExactString) throws -> [Double] {
        let tensor = try #require(self[name])
        return try Conversion.widened(read(tensor), as: tensor.dtype, count: tensor.info.elementCount)
    }
}

/// Plain matrix arithmetic, written down once more for the tests.
enum Plain {
    /// left (m × r) times right (r × n).
    static func product(_ left: [Double], _ right: [Double], _ m: Int, _ r: Int, _ n: Int) -> [Double] {
        var result = [Double](repeating: 0, count: m * n)
        for i in 0..<m { for j in 0..<n { for k in 0..<r { result[i * n + j] += left[i * r + k] * right[k * n + j] } } }
        return result
    }

    static func sum(_ a: [Double], _ b: [Double], scale: Double) -> [Double] { zip(a, b).map { $0 + scale * $1 } }

    /// The transpose of an m × n matrix.
    static func transposed(_ matrix: [Double], _ m: Int, _ n: Int) -> [Double] {
        var result = [Double](repeating: 0, count: m * n)
        for i in 0..<m { for j in 0..<n { result[j * m + i] = matrix[i * n + j] } }
        return result
    }
}

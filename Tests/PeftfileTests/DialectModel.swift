import Peftfile
import TestSupport
import Testing

/// A base and an adapter file in some dialect, made for one test.
struct DialectModel {
    let directory: TemporaryDirectory

    init(base: [SmallTensor], adapter: [SmallTensor], config: String? = nil, baseConfig: String? = nil) throws {
        directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("base"))
        try SmallTensor.write(base, to: directory.path("base/model.safetensors"))
        if let baseConfig { try directory.write(baseConfig, to: "base/config.json") }
        try FileSystem.makeDirectory(directory.path("adapter"))
        try SmallTensor.write(adapter, to: directory.path("adapter/adapters.safetensors"))
        if let config { try directory.write(config, to: "adapter/adapter_config.json") }
    }

    func binding(_ options: BindingOptions = BindingOptions()) throws -> Binding {
        try Binding(
            base: Checkpoint.open(directory.path("base")),
            adapters: [Adapter(path: directory.path("adapter/adapters.safetensors"))], options: options)
    }

    /// Merges, verifies, and opens the result.
    func merged(
        _ options: BindingOptions = BindingOptions(), sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Checkpoint {
        let binding = try binding(options)
        _ = try PlanExecutor(plan: .merge(binding), target: directory.path("out"), settings: .init(replacing: true)).run()
        let result = try Checkpoint.open(directory.path("out"))
        let report = try Verifier(binding: binding, result: result).run()
        #expect(report.isEquivalent, "\(report.json.serialized())", sourceLocation: sourceLocation)
        return result
    }

    /// The refusal of a binding; nil where there is none.
    func refusal(_ options: BindingOptions = BindingOptions()) -> PeftfileError? {
        do {
            _ = try RewritePlan.merge(binding(options))
            return nil
        } catch {
            return error as? PeftfileError
        }
    }
}

/// Whether two lists agree to a few parts in 10⁷, which is float32's rounding of one number.
func isClose(_ a: [Double], _ b: [Double]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { ($0 - $1).magnitude <= 2e-7 * max(1, $1.magnitude) }
}

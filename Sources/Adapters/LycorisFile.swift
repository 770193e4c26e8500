public import ByteAccess
import Checkpoints

/// A file of kohya's names whose modules are of methods that no other dialect has a place for: kept as it is, tensor by tensor.
public struct LycorisFile: Sendable {
    /// The tensors that stay, in file order.
    public let tensors: [ExactString]
    /// Tensors of components that no base is, or that were not asked for.
    public let leftOut: [(tensor: ExactString, component: String)]
    /// What the reader should know: what was left out.
    public let warnings: [String]

    /// - Returns: nil where the file is in another dialect.
    /// - Throws: what is wrong with the file, and the merge's refusal where it is not of the bases.
    public init?(_ adapter: Adapter, bases: [PipelineBase], options: BindingOptions) throws {
        guard adapter.dialect is Kohya else { return nil }
        let parts = try bases.map {
            ComponentPlacement.Part(base: try BaseView(base: $0.checkpoint, adapters: []).directory, component: $0.component)
        }
        let bound = try BoundAdapter(adapter, bases: parts, options: options)
        _ = try BaseNames(RepairedAdapter(adapter), bound, bases: bases, options: options)
        // Numbers go with their module, whose name ends at the first full stop.
        func module(_ name: ExactString) -> Substring { name.text.prefix { $0 != "." } }
        let gone = Set(bound.leftOut.map { module($0.tensor) })
        tensors = adapter.checkpoint.tensors.map(\.name).filter { !gone.contains(module($0)) }
        (leftOut, warnings) = (bound.leftOut, bound.warnings)
    }
}

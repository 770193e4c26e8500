import ByteAccess
import Checkpoints
import Tensors

/// Square matrices of an adapter with `fan_in_fan_out`, written anew where no such flag can say how the base holds them.
///
/// B·A is the update of a matrix (out, in). Of one held as (in, out) it is turned, which a square shape does not show, and
/// `fan_in_fan_out` is no witness (``MatrixOrientation``). A file in another dialect would settle in silence what a merge
/// of this adapter refuses, so it is settled first: by the base, or by the caller.
enum SquareOrientation {
    /// - Throws: `.refused` where nothing tells.
    static func require(
        of adapter: Adapter, _ modules: [PortableAdapter.Module], bases: [Checkpoint], options: BindingOptions
    ) throws {
        guard adapter.dialect == nil, adapter.config?["fan_in_fan_out"]?.boolValue == true, options.squareOrientation == nil else { return }
        guard let square = modules.first(where: { !$0.isEmbedding && !$0.isConvolution && $0.a.shape.last == $0.b.shape.first }) else { return }
        for base in bases {
            do {
                _ = try Binding(base: base, adapters: [adapter])
                return
            } catch let error as PeftfileError where error.rule != "SquareOrientation" { continue }
        }
        throw PeftfileError(
            .refused,
            "module \"\(square.path)\" is square, the adapter says fan_in_fan_out, and nothing tells whether the base holds it as "
                + "(in, out)", file: adapter.path, tensor: square.a.name, rule: "SquareOrientation",
            help: bases.isEmpty
                ? "name the base, with its config.json: --base BASE; or say how it holds them: --square-orientation in-out (or out-in)"
                : "give the base that the adapter was trained on, or say how it holds them: --square-orientation in-out (or out-in)")
    }
}

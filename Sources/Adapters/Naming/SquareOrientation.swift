public import ByteAccess
import Checkpoints
import Containers
import Tensors

/// Square matrices of an adapter that is written anew in a dialect without a word on how the base holds them.
///
/// B·A is the update of a matrix (out, in). Of one held as (in, out) it is turned, which a square shape does not show
/// (`MatrixOrientation`). `fan_in_fan_out` says that there may be such and no witness which, so the base settles it, or the
/// caller. What settled it goes with the file, in its metadata under ``key``: a merge asks it where the base does not tell,
/// and would take (out, in) without it.
public enum SquareOrientation {
    /// The entry of a file's metadata, `in-out` or `out-in`.
    public static let key: ExactString = "peftfile.square_orientation"

    /// What the file that is written must say; nil where nobody needs to be told.
    ///
    /// - Throws: `.refused` where nothing tells, or the base tells its reader otherwise than its writer.
    static func carried(
        by adapter: Adapter, _ modules: [PortableAdapter.Module], _ names: BaseNames, hasBase: Bool, options: BindingOptions
    ) throws -> BindingOptions.Orientation? {
        let matrices = modules.filter { !$0.isEmbedding && !$0.isConvolution }
        let squares = matrices.filter { $0.a.shape.last == $0.b.shape.first }
        guard let first = squares.first else { return nil }
        let isBare = adapter.dialect == nil && adapter.config == nil
        // Factors that lie as in textbooks are of a matrix held as (in, out).
        let said = try isBare && options.orientation == .inOut ? .inOut : adapter.squareOrientation(options)
        guard hasBase else {
            // A config without fan_in_fan_out says (out, in); the files of others have no word on it.
            if said == nil, options.orientation == .outIn, try adapter.openQuestions().contains(.squareOrientation) {
                let says = adapter.dialect == nil && adapter.config != nil
                throw refusal(
                    adapter, first,
                    "the adapter \(says ? "says" : "has no word on") fan_in_fan_out, and nothing tells whether the base holds it as (in, out)")
            }
            return said == .inOut ? .inOut : nil
        }
        func isTurned(_ module: PortableAdapter.Module) -> Bool {
            isBare && options.orientation == .inOut || names.place(of: module.path)?.updateTransposed ?? false
        }
        func mistaken(_ isHeldInOut: Bool?) -> PortableAdapter.Module? {
            let told = names.orientations(of: matrices.map(\.path), isTurned: isHeldInOut)
            return squares.first { told[$0.path] ?? isTurned($0) != isTurned($0) }
        }
        guard let module = mistaken(nil) else { return squares.allSatisfy(isTurned) ? .inOut : nil }
        if mistaken(true) == nil { return .inOut }
        throw refusal(
            adapter, module, "is taken as (\(isTurned(module) ? "in, out" : "out, in")), and the base's config and other matrices say otherwise")
    }

    private static func refusal(_ adapter: Adapter, _ module: PortableAdapter.Module, _ message: String) -> PeftfileError {
        PeftfileError(
            .refused, "module \"\(module.path)\" is square, \(message)", file: adapter.path, tensor: module.a.name, rule: "SquareOrientation",
            help: "name the base, with its config.json: --base BASE; or say how it holds them: --square-orientation in-out (or out-in)")
    }
}

extension Adapter {
    /// How the base holds square matrices where it does not tell itself: what the caller says, or the file.
    ///
    /// - Throws: `.refused` where the two say different things.
    func squareOrientation(_ options: BindingOptions) throws -> BindingOptions.Orientation? {
        let carried = try carriedOrientation()
        guard let said = options.squareOrientation, let carried, said != carried else { return options.squareOrientation ?? carried }
        throw PeftfileError(
            .refused, "--square-orientation says \(said.rawValue), and the file was written for a base that holds square matrices as \(carried.rawValue)",
            file: path, rule: "SquareOrientation", help: "leave the option out, or convert the adapter again from what it was made of")
    }

    /// How the base holds square matrices, as the file of another dialect says; nil where it does not.
    ///
    /// - Throws: `.refused` where it says what nobody understands.
    func carriedOrientation() throws -> BindingOptions.Orientation? {
        guard let dialect else { return nil }
        let file = dialectFile
        guard let text = file.gguf?.value(SquareOrientation.key)?.stringValue ?? file.metadata(SquareOrientation.key) else { return nil }
        guard let orientation = BindingOptions.Orientation(rawValue: text) else {
            throw file.refusal(
                "its metadata has \(SquareOrientation.key) \"\(text.printable)\", and \(dialect.name) files may say in-out or out-in", nil,
                rule: "SquareOrientation", help: "convert the adapter again")
        }
        return orientation
    }
}

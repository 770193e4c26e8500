import ByteAccess
import Tensors

/// A value on the stack of a `PickleMachine`. Containers and tensors are numbers of places in the machine's tables, so
/// that a value deep inside others costs no recursion, not even when it is let go.
enum PickleValue: Hashable, Sendable {
    case none
    case bool(Bool)
    case int(Int64)
    /// A number that no tensor is described with: a float, an integer beyond 64 bits.
    case number
    /// Text or bytes, where they stand in the pickle.
    case text(Piece)
    case bytes(Piece)
    /// Containers, in `PickleMachine.nodes`; a dict has keys and values in turn.
    case tuple(Int32)
    case list(Int32)
    case dict(Int32)
    case global(TorchGlobal)
    /// In `PickleMachine.storages` and `.tensors`.
    case storage(Int32)
    case tensor(Int32)
    /// A numpy dtype, which only a numpy scalar takes.
    case numpyDType
    /// A value without tensors: a device, a set, a numpy scalar.
    case plain

    struct Piece: Hashable, Sendable {
        var start: Int32
        var count: Int32
        var range: Range<Int> { Int(start)..<(Int(start) + Int(count)) }
    }

    /// Whether Python would take it for a key of a dict.
    var isHashable: Bool {
        switch self {
        case .list, .dict: false
        default: true
        }
    }

    /// What it is, for messages.
    var kind: String {
        switch self {
        case .none: "None"
        case .bool: "a bool"
        case .int: "an integer"
        case .number: "a number"
        case .text: "text"
        case .bytes: "bytes"
        case .tuple: "a tuple"
        case .list: "a list"
        case .dict: "a dict"
        case .global: "a name"
        case .storage: "a storage"
        case .tensor: "a tensor"
        case .numpyDType: "a numpy dtype"
        case .plain: "an object"
        }
    }
}

/// A storage as a persistent id names it.
struct PickleStorage: Sendable {
    /// The type of its elements; nil for bytes without a type.
    var dtype: DType?
    var key: ExactString
    /// Elements, or bytes where there is no type.
    var count: UInt64
    var byteCount: UInt64
}

/// A tensor as a rebuild function describes it: a view of a storage.
struct PickleTensor: Sendable {
    var storage: Int
    var dtype: DType
    /// In elements.
    var offset: UInt64
    var shape: Shape
    /// In elements, none negative.
    var strides: [Int]
    /// The bits neg and conj.
    var signs: PendingSigns
    /// The shape in safetensors: torch counts the bytes of its `float4_e2m1fn_x2`, and safetensors both elements of each.
    var writtenShape: Shape

    /// What sizes and strides count: elements, and of two in a byte that byte.
    var unit: DType { PickleTensor.unit(of: dtype) }

    static func unit(of dtype: DType) -> DType { dtype == .f4 ? .u8 : dtype }

    /// The shape that safetensors gives a tensor, with the last dimension twice as long for F4; nil where it does not fit.
    ///
    /// Source: `view.shape` of `_float4_e2m1_x2` in bindings/python/src/lib.rs and py_src/safetensors/torch.py of
    /// huggingface/safetensors 0.8.
    static func written(_ shape: Shape, _ dtype: DType) -> Shape? {
        guard dtype == .f4, let last = shape.last else { return shape }
        let (doubled, overflow) = last.multipliedReportingOverflow(by: 2)
        let written = Array(shape.dropLast()) + [doubled]
        return overflow || written.elementCount == nil ? nil : written
    }
}

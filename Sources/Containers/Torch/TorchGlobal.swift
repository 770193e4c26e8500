import ByteAccess
import Tensors

/// The names that a pickle may mention, and nothing else: an allow-list of pairs of module and name. None of them is ever
/// called; each has a meaning here, which `PickleMachine` carries out on values of its own.
///
/// Source: `_get_allowed_globals` in torch/_weights_only_unpickler.py, less what holds no numbers of a checkpoint (sparse,
/// quantised and meta tensors), and with numpy's scalars, which training checkpoints have beside the tensors.
enum TorchGlobal: Hashable, Sendable {
    case orderedDict
    /// `_rebuild_tensor`, `_rebuild_tensor_v2`, `_rebuild_tensor_v3`.
    case rebuildTensor(version: Int)
    case rebuildParameter
    case rebuildParameterWithState
    case rebuildFromType
    /// `torch.Tensor`, `torch.nn.parameter.Parameter`: the type that `_rebuild_from_type_v2` names.
    case tensorType
    /// A storage class; nil where no dtype of safetensors has such elements.
    case storage(DType?)
    case untypedStorage
    case dtype(DType?)
    case size
    case encode
    case byteArray
    case numpyScalar
    case numpyDType
    /// A value that holds no tensor: a device, a set of numbers, a layout.
    case plain

    /// The pair's meaning; nil where it is not allowed. Compared byte for byte.
    static func named(module: String, name: String) -> TorchGlobal? {
        table[ExactString(module + "\n" + name)]
    }

    private static let table: [ExactString: TorchGlobal] = {
        var table: [ExactString: TorchGlobal] = [:]
        func allow(_ module: String, _ name: String, _ meaning: TorchGlobal) {
            table[ExactString(module + "\n" + name)] = meaning
        }
        allow("collections", "OrderedDict", .orderedDict)
        allow("torch._utils", "_rebuild_tensor", .rebuildTensor(version: 1))
        allow("torch._utils", "_rebuild_tensor_v2", .rebuildTensor(version: 2))
        allow("torch._utils", "_rebuild_tensor_v3", .rebuildTensor(version: 3))
        allow("torch._utils", "_rebuild_parameter", .rebuildParameter)
        allow("torch._utils", "_rebuild_parameter_with_state", .rebuildParameterWithState)
        allow("torch._tensor", "_rebuild_from_type_v2", .rebuildFromType)
        allow("torch", "Tensor", .tensorType)
        allow("torch.nn.parameter", "Parameter", .tensorType)
        allow("torch", "Size", .size)
        allow("_codecs", "encode", .encode)
        // Protocol 2 names the modules of Python 2.
        for module in ["builtins", "__builtin__"] {
            allow(module, "bytearray", .byteArray)
            allow(module, "set", .plain)
            allow(module, "complex", .plain)
        }
        allow("collections", "Counter", .plain)
        allow("torch", "device", .plain)
        allow("torch.serialization", "_get_layout", .plain)
        for module in ["numpy.core.multiarray", "numpy._core.multiarray"] { allow(module, "scalar", .numpyScalar) }
        allow("numpy", "dtype", .numpyDType)
        for (name, dtype) in storages {
            for module in ["torch", "torch.cuda"] { allow(module, name, .storage(dtype)) }
        }
        for name in ["UntypedStorage", "_UntypedStorage"] { allow("torch.storage", name, .untypedStorage) }
        for (name, dtype) in dtypes { allow("torch", name, .dtype(dtype)) }
        return table
    }()

    /// `torch._storage_classes`.
    private static let storages: [(String, DType?)] = [
        ("DoubleStorage", .f64), ("FloatStorage", .f32), ("HalfStorage", .f16), ("BFloat16Storage", .bf16),
        ("LongStorage", .i64), ("IntStorage", .i32), ("ShortStorage", .i16), ("CharStorage", .i8),
        ("ByteStorage", .u8), ("BoolStorage", .bool), ("ComplexFloatStorage", .c64), ("ComplexDoubleStorage", nil),
        ("QInt8Storage", nil), ("QUInt8Storage", nil), ("QInt32Storage", nil), ("QUInt4x2Storage", nil),
        ("QUInt2x4Storage", nil),
    ]

    /// The dtypes of torch, by `str(dtype)`.
    private static let dtypes: [(String, DType?)] = [
        ("float64", .f64), ("float32", .f32), ("float16", .f16), ("bfloat16", .bf16), ("int64", .i64), ("int32", .i32),
        ("int16", .i16), ("int8", .i8), ("uint8", .u8), ("bool", .bool), ("complex64", .c64), ("uint16", .u16),
        ("uint32", .u32), ("uint64", .u64), ("float8_e4m3fn", .f8E4M3), ("float8_e5m2", .f8E5M2),
        ("float8_e4m3fnuz", .f8E4M3FNUZ), ("float8_e5m2fnuz", .f8E5M2FNUZ), ("float8_e8m0fnu", .f8E8M0),
        ("complex128", nil), ("complex32", nil), ("float4_e2m1fn_x2", .f4), ("qint8", nil), ("quint8", nil),
        ("qint32", nil), ("quint4x2", nil), ("quint2x4", nil),
    ]
}

import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// What a pickle may call, and with what: rules PickleCall, PickleGlobal and TorchDType of `Formats/torch.md`.
@Suite struct PickleCallTests {
    private typealias P = Pickles

    private static let f32 = P.global("torch", "float32")
    private static let untyped = P.storage(P.global("torch.storage", "UntypedStorage"), count: 24)
    private static let dtype = P.call("numpy", "dtype", [P.text("f8"), P.false, P.true])
    private static let scalarOf8 = P.bytes([0, 0, 0, 0, 0, 0, 0xF0, 0x3F])

    /// A persistent id of the old form, which may name a view.
    private static func old(_ view: [UInt8]) -> [UInt8] {
        P.tuple([P.text("storage"), P.global("torch", "FloatStorage"), P.text("0"), P.text("cpu"), P.int(6), view]) + [0x51]
    }

    /// Values that are the tensor of `Pickles.view`.
    private static let tensors: [(String, [UInt8])] = [
        ("_rebuild_tensor", P.call("torch._utils", "_rebuild_tensor", Array(P.arguments().prefix(4)))),
        ("_v2 with metadata", P.rebuilt(P.arguments() + [P.emptyDict])),
        ("_v3 over bytes", P.call("torch._utils", "_rebuild_tensor_v3", P.arguments(storage: untyped) + [f32])),
        ("_v3 with metadata", P.call("torch._utils", "_rebuild_tensor_v3", P.arguments(storage: untyped) + [f32, P.emptyDict])),
        ("_v3 over its own type", P.call("torch._utils", "_rebuild_tensor_v3", P.arguments() + [f32])),
        ("a CUDA storage", P.rebuilt(P.arguments(storage: P.storage(P.global("torch.cuda", "FloatStorage"))))),
        ("a storage of the old form", P.rebuilt(P.arguments(storage: old(P.none)))),
        ("a parameter", P.call("torch._utils", "_rebuild_parameter", [P.tensor, P.true, P.orderedDict])),
        (
            "a parameter with state",
            P.call("torch._utils", "_rebuild_parameter_with_state", [P.tensor, P.true, P.orderedDict, P.emptyDict])
        ),
        (
            "a subclass",
            P.call(
                "torch._tensor", "_rebuild_from_type_v2",
                [
                    P.global("torch._utils", "_rebuild_tensor_v2"), P.global("torch.nn.parameter", "Parameter"),
                    P.tuple(P.arguments()), P.emptyDict,
                ])
        ),
        (
            "a parameter of a subclass",
            P.call(
                "torch._tensor", "_rebuild_from_type_v2",
                [
                    P.global("torch._utils", "_rebuild_parameter"), P.global("torch", "Tensor"),
                    P.tuple([P.tensor, P.true, P.orderedDict]), P.emptyDict,
                ])
        ),
        ("a tensor with attributes", P.tensor + P.dict([(P.text("note"), P.int(1))]) + [0x62]),
        ("a size of torch.Size", P.rebuilt(P.arguments(size: P.call("torch", "Size", [TorchBuilder.tuple([2, 3])])))),
    ]

    @Test func everyWayToRebuildATensorGivesIt() throws {
        let directory = try TemporaryDirectory()
        for (name, value) in Self.tensors {
            let file = try P.open(P.dict([(P.text("w"), value)]), in: directory)
            #expect(file.tensors.map(\.name) == ["w"], "\(name)")
            let tensor = try #require(file.tensors.first)
            #expect(tensor.dtype == .f32 && tensor.shape == [2, 3], "\(name)")
            #expect(try P.bytes(of: tensor, in: file) == P.storage, "\(name)")
        }
    }

    /// Values without tensors, as training checkpoints have them beside the model.
    private static let others: [(String, [UInt8])] = [
        ("a numpy scalar", P.call("numpy.core.multiarray", "scalar", [dtype, scalarOf8])),
        ("a scalar of numpy 2", P.call("numpy._core.multiarray", "scalar", [dtype, scalarOf8])),
        (
            "a dtype with its state",
            P.call(
                "numpy.core.multiarray", "scalar",
                [dtype + P.tuple([P.int(3), P.text("<"), P.none, P.none, P.none, P.int(-1), P.int(-1), P.int(0)]) + [0x62], scalarOf8])
        ),
        (
            "a scalar of protocol 2",
            P.call("numpy.core.multiarray", "scalar", [dtype, P.call("_codecs", "encode", [P.text("ð?"), P.text("latin1")])])
        ),
        ("latin-1", P.call("_codecs", "encode", [P.text("é"), P.text("latin-1")])),
        ("an empty bytearray", P.call("builtins", "bytearray", [])),
        ("a bytearray of BINBYTES8", P.call("builtins", "bytearray", [[0x8E, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]])),
        ("a bytearray of BINBYTES", P.call("builtins", "bytearray", [[0x42, 2, 0, 0, 0, 0xFF, 0xFE]])),
        ("a bytearray of Python 2's text, which is none", P.call("__builtin__", "bytearray", [[0x55, 1, 0xFF]])),
        ("BYTEARRAY8", [0x96, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]),
        ("a device", P.call("torch", "device", [P.text("cuda"), P.int(0)])),
        ("a set of protocol 2", P.call("__builtin__", "set", [P.list([P.int(1)])])),
        ("a set", [0x8F, 0x28] + P.int(1) + [0x90]),
        ("a frozenset", [0x28] + P.int(1) + [0x91]),
        ("a Counter by NEWOBJ", P.global("collections", "Counter") + [0x29, 0x81]),
        ("an OrderedDict by NEWOBJ", P.global("collections", "OrderedDict") + [0x29, 0x81]),
        ("an OrderedDict with attributes", P.orderedDict + P.dict([(P.text("_metadata"), P.emptyDict)]) + [0x62]),
        ("keys without a name", P.dict([(P.bytes([0xFF]), P.int(1)), (P.none, P.emptyDict), ([0x29], P.list([]))])),
        ("a float", [0x47, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0]),
        ("a number of 80 bits", [0x8A, 10] + [UInt8](repeating: 1, count: 10)),
    ]

    @Test func whatHoldsNoTensorIsReadOver() throws {
        let directory = try TemporaryDirectory()
        for (name, value) in Self.others {
            let file = try P.open(P.dict([(P.text("x"), value), (P.text("w"), P.tensor)]), in: directory)
            #expect(file.tensors.map(\.name) == ["w"], "\(name)")
            #expect(try P.bytes(of: #require(file.tensors.first), in: file) == P.storage, "\(name)")
        }
        // The object itself may be one.
        #expect(try P.open(P.int(3), in: directory).tensors.isEmpty)
    }

    @Test func anOrderedDictOfPairsHasThem() throws {
        let directory = try TemporaryDirectory()
        let row = TorchBuilder.tensor(.init(name: "", key: "0", count: 6, offset: 3, shape: [3], strides: [1]))
        // Python 2 writes pairs as lists; tuples are pairs too.
        let pairs = P.list([P.list([P.text("b"), P.tensor]), P.text("a") + row + [0x86]])
        let file = try P.open(P.call("collections", "OrderedDict", [pairs]), in: directory)
        #expect(file.tensors.map(\.name) == ["b", "a"])
        #expect(try P.bytes(of: file.tensors[0], in: file) == P.storage)
        #expect(try P.bytes(of: file.tensors[1], in: file) == Array(P.storage[12...]))
    }

    private static func fromType(_ arguments: [[UInt8]]) -> [UInt8] { P.call("torch._tensor", "_rebuild_from_type_v2", arguments) }
    private static let v2 = P.global("torch._utils", "_rebuild_tensor_v2")
    private static let type = P.global("torch", "Tensor")
    private static let arguments = P.tuple(P.arguments())
    private static let parameter = "a parameter is rebuilt from something else than a tensor"
    private static let listed = "a tensor is rebuilt by something else than a function of the list"
    private static let pairs = "OrderedDict is called with something else than a list of pairs"
    private static let encode = "_codecs.encode is called with something else than text and latin1"
    private static let scalar = "a numpy scalar is made from something else than a dtype and bytes"
    private static let numpy = "numpy.dtype is called with something else than its name"

    static let calls: [Pickles.Bad] = [
        .init("calls bytes, which is no function", .pickleCall, P.bytes([1]) + [0x29, 0x52]),
        .init("calls a numpy dtype, which is no function", .pickleCall, dtype + [0x29, 0x52]),
        .init("calls a function with a list instead of a tuple", .pickleCall, P.global("collections", "OrderedDict") + [0x5D, 0x52]),
        .init(parameter, .pickleCall, P.call("torch._utils", "_rebuild_parameter", [P.int(1), P.true, P.orderedDict])),
        .init(parameter, .pickleCall, P.call("torch._utils", "_rebuild_parameter", [P.tensor, P.true])),
        .init(parameter, .pickleCall, P.call("torch._utils", "_rebuild_parameter_with_state", [P.tensor, P.true, P.orderedDict])),
        .init(listed, .pickleCall, fromType([v2, type, arguments])),
        .init(listed, .pickleCall, fromType([P.text("eval"), type, arguments, P.none])),
        .init(listed, .pickleCall, fromType([v2, P.global("torch", "Size"), arguments, P.none])),
        .init(listed, .pickleCall, fromType([v2, type, P.list(P.arguments()), P.none])),
        .init(
            "by something else than a rebuild function", .pickleCall,
            fromType([P.global("torch", "Size"), type, P.tuple([arguments]), P.none])),
        .init("torch.Size is called without a tuple", .pickleCall, P.call("torch", "Size", [P.int(2)])),
        .init("torch.Size is called without a tuple", .pickleCall, P.call("torch", "Size", [[0x29], [0x29]])),
        .init(encode, .pickleCall, P.call("_codecs", "encode", [P.text("x"), P.text("zlib")])),
        .init(encode, .pickleCall, P.call("_codecs", "encode", [P.bytes([1]), P.text("latin1")])),
        .init(encode, .pickleCall, P.call("_codecs", "encode", [P.text("x")])),
        .init("bytearray is called with something else than bytes", .pickleCall, P.call("builtins", "bytearray", [P.int(1 << 40)])),
        .init("bytearray is called with something else than bytes", .pickleCall, P.call("builtins", "bytearray", [P.bytes([]), P.int(1)])),
        .init(numpy, .pickleCall, P.call("numpy", "dtype", [P.text("f8")])),
        .init(numpy, .pickleCall, P.call("numpy", "dtype", [P.int(1), P.false, P.true])),
        .init(scalar, .pickleCall, P.call("numpy.core.multiarray", "scalar", [P.text("f8"), scalarOf8])),
        .init(scalar, .pickleCall, P.call("numpy.core.multiarray", "scalar", [dtype, P.int(1)])),
        .init("calls a type, which no checkpoint does", .pickleCall, P.call("torch", "Tensor", [])),
        .init("calls a type, which no checkpoint does", .pickleCall, P.call("torch", "float32", [])),
        .init("NEWOBJ makes an object of a type that is not allowed", .pickleCall, type + [0x29, 0x81]),
        .init(pairs, .pickleCall, P.call("collections", "OrderedDict", [[0x29]])),
        .init(pairs, .pickleCall, P.call("collections", "OrderedDict", [P.list([]), P.list([])])),
        .init(pairs, .pickleCall, P.call("collections", "OrderedDict", [P.list([P.int(1)])])),
        .init(pairs, .pickleCall, P.call("collections", "OrderedDict", [P.list([P.tuple([P.int(1), P.int(2), P.int(3)])])])),
        .init(pairs, .pickleCall, P.call("collections", "OrderedDict", [P.list([P.list([[0x5D], P.int(1)])])])),
        .init("BUILD sets a list from a dict", .pickleCall, P.list([]) + P.emptyDict + [0x62]),
        .init("BUILD sets a storage from a dict", .pickleCall, P.storage(P.global("torch", "FloatStorage")) + P.emptyDict + [0x62]),
        .init("BUILD sets an object from a dict", .pickleCall, [0x8F] + P.emptyDict + [0x62]),
        .init("BUILD sets a dict from a tuple", .pickleCall, P.emptyDict + [0x29, 0x62]),
        .init("a tensor is rebuilt from 5 values", .pickleCall, P.rebuilt(Array(P.arguments().prefix(5)))),
        .init("a tensor is rebuilt from 8 values", .pickleCall, P.rebuilt(P.arguments() + [P.none, P.none])),
        .init("a tensor is rebuilt from 6 values", .pickleCall, P.call("torch._utils", "_rebuild_tensor", P.arguments())),
        .init("a tensor is rebuilt from 6 values", .pickleCall, P.call("torch._utils", "_rebuild_tensor_v3", P.arguments())),
        .init("a tensor is rebuilt from text instead of a storage", .pickleCall, P.rebuilt(P.arguments(storage: P.text("0")))),
        .init("names a view of a storage, a form of before torch 0.4", .storage, old(P.tuple([P.text("1"), P.int(0), P.int(6)]))),
        .init("a tensor has text for its dtype", .pickleCall, P.call("torch._utils", "_rebuild_tensor_v3", P.arguments() + [P.text("f")])),
    ]

    @Test(arguments: calls) func aCallWithOtherArgumentsIsRefused(_ bad: Pickles.Bad) throws { try bad.check() }

    static let dtypes: [Pickles.Bad] = [
        .init(
            "a tensor has a dtype that safetensors does not have", .dtype,
            P.call("torch._utils", "_rebuild_tensor_v3", P.arguments(storage: untyped) + [P.global("torch", "complex128")]), code: .unsupported),
        .init(
            "a tensor and its storage have two dtypes", .dtype,
            P.call("torch._utils", "_rebuild_tensor_v3", P.arguments() + [P.global("torch", "int32")]), code: .unsupported),
        .init("a tensor has no dtype", .dtype, P.rebuilt(P.arguments(storage: untyped)), code: .unsupported),
        .init("quantised elements or complex numbers of 128 bits", .dtype, P.storage(P.global("torch", "QInt8Storage")), code: .unsupported),
        .init(
            "quantised elements or complex numbers of 128 bits", .dtype, P.storage(P.global("torch", "ComplexDoubleStorage")),
            code: .unsupported),
    ]

    @Test(arguments: dtypes) func elementsThatSafetensorsHasNotAreRefused(_ bad: Pickles.Bad) throws { try bad.check() }

    @Test func aNameThatIsNotListedIsToldInPart() throws {
        let directory = try TemporaryDirectory()
        let value = P.global(String(repeating: "m", count: 100), String(repeating: "n", count: 255))
        let error = try #require(throws: PeftfileError.self) { try P.open(value, in: directory) }
        #expect(error.code == .refused && error.rule == "PickleGlobal" && error.help != nil)
        let (module, name) = (String(repeating: "m", count: 80), String(repeating: "n", count: 80))
        #expect(error.message.contains("names \(module)....\(name)..., which"), "\(error)")
        let long = P.global("torch", String(repeating: "n", count: 256))
        #expect(#expect(throws: PeftfileError.self) { try P.open(long, in: directory) }?.message == "a module or name has more than 255 bytes")
    }

    /// What is not read is told with what the writer of the file can do; anything else only that it was not run.
    @Test(arguments: [
        ("torch._utils", "_rebuild_wrapper_subclass", "full_state_dict=True"), ("torch.distributed.tensor", "DTensor", "full_state_dict=True"),
        ("torch.distributed._tensor.api", "DTensor", "full_state_dict=True"), ("torch._utils", "_rebuild_sparse_tensor", "to_dense()"),
        ("torch._utils", "_rebuild_qtensor", "dequantize()"), ("torch._utils", "_rebuild_meta_tensor_no_storage", "meta device"),
        ("torch.nn.modules.linear", "Linear", "model.state_dict()"), ("os", "_rebuild_qtensor", "nothing of it was run"),
    ]) func whatIsNotReadIsToldWithAWayOut(_ module: String, _ name: String, _ words: String) throws {
        let directory = try TemporaryDirectory()
        let value = P.dict([(P.text("w"), P.global(module, name))])
        let error = try #require(throws: PeftfileError.self) { try P.open(value, in: directory) }
        #expect(error.rule == "PickleGlobal" && error.help?.contains(words) == true, "\(error)")
    }

    /// A class of anyone's is a whole model where the file is one object of it; a function is none.
    @Test func aWholeModelIsToldToSaveItsStateDict() throws {
        let directory = try TemporaryDirectory()
        func help(_ value: [UInt8]) throws -> String { try #require(try #require(throws: PeftfileError.self) { try P.open(value, in: directory) }.help) }
        let (model, function) = (P.global("__main__", "Model"), P.global("os", "system"))
        #expect(try help(model).contains("torch.save(model.state_dict(), PATH)"))
        for value in [function, P.dict([(P.text("w"), model)])] {
            #expect(try help(value) == "it may be made to run code; nothing of it was run")
        }
    }
}

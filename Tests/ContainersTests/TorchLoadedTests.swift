import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Files that torch 2.15.0 wrote beside what it made of them when it loaded them (`Fixtures/containers/torch/loaded`): views whose
/// signs are put off, and the form before 1.6 in the protocols behind 2.
@Suite struct TorchLoadedTests {
    private typealias P = Pickles

    @Test(arguments: [
        ("signs.pt", "signs", 15), ("signs-legacy.pt", "signs", 15), ("legacy3.pt", "legacy", 4), ("legacy4.pt", "legacy", 4),
        ("legacy5.pt", "legacy", 4), ("halves.pt", "halves", 7),
    ])
    func theTensorsAreTorchsOwn(_ name: String, _ expected: String, _ count: Int) throws {
        let file = try ContainerKind.open(Fixtures.path("containers/torch/loaded/\(name)"))
        let truth = try ContainerKind.open(Fixtures.path("containers/torch/loaded/\(expected).safetensors"))
        #expect(file.kind == .torch && file.tensors.count == count && truth.tensors.count == count)
        for info in truth.tensors {
            let own = try #require(file.tensors.first { $0.name == info.name })
            #expect(own.dtype == info.dtype && own.shape == info.shape, "\(info.name)")
            #expect(try P.bytes(of: own, in: file) == P.bytes(of: info, in: truth), "\(info.name)")
            // Whoever copies bytes from the file must not take the signs as they stand.
            if own.name.text.hasPrefix("neg") || own.name.text.hasPrefix("conj") { #expect(!own.isContiguous, "\(info.name)") }
        }
    }

    /// Bytes of two elements, and the same bytes as numbers, are not the same tensor twice; and of no dimension there is no shape.
    @Test func twoElementsShareAByte() throws {
        func view(_ size: [Int], _ strides: [Int], _ dtype: String = "float4_e2m1fn_x2") -> [UInt8] {
            let storage = P.storage(P.global("torch.storage", "UntypedStorage"), count: 24)
            let view = [storage, P.int(0), TorchBuilder.tuple(size), TorchBuilder.tuple(strides), P.false, P.orderedDict]
            return P.call("torch._utils", "_rebuild_tensor_v3", view + [P.global("torch", dtype)])
        }
        func half(_ size: [Int], _ strides: [Int], _ rule: TorchRule, _ message: String) -> Pickles.Bad {
            .init(message, rule, view(size, strides), code: rule == .dtype ? .unsupported : .malformed)
        }
        let pairs = [(P.text("h"), view([24], [1])), (P.text("i"), view([24], [1])), (P.text("u"), view([24], [1], "uint8"))]
        let file = try P.open(P.dict(pairs), in: TemporaryDirectory())
        #expect(file.shared.contains { $0.isIdentical && $0.names == ["h", "i"] })
        #expect(file.tensors.map(\.shape) == [[48], [48], [24]])
        try half([], [], .dtype, "without dimensions is two elements of F4").check()
        try half([25], [1], .geometry, "reaches beyond its storage of 24 elements").check()
        try half([0, Int.max], [1, 1], .geometry, "does not fit 63 bits").check()
    }

    /// One view of a storage and its negative are not the same tensor twice.
    @Test func aTensorAndItsNegativeAreNotIdentical() throws {
        let directory = try TemporaryDirectory()
        let negative = P.rebuilt(P.arguments() + [P.dict([(P.text("neg"), P.true)])])
        let file = try P.open(P.dict([(P.text("w"), P.tensor), (P.text("n"), negative), (P.text("v"), P.tensor)]), in: directory)
        #expect(file.shared.contains { $0.isIdentical && $0.names == ["w", "v"] })
        #expect(!file.shared.contains { $0.isIdentical && $0.names.contains("n") })
        var expected = P.storage
        for place in stride(from: 3, to: 24, by: 4) { expected[place] ^= 0x80 }
        #expect(try P.bytes(of: #require(file.tensors.first { $0.name == "n" }), in: file) == expected)
    }

    private static func with(_ metadata: [UInt8], type: String = "FloatStorage", count: Int = 6) -> [UInt8] {
        P.rebuilt(P.arguments(storage: P.storage(P.global("torch", type), count: count)) + [metadata])
    }

    static let refused: [Pickles.Bad] = [
        .init("metadata has \"fw_grad\"", .pickleCall, with(P.dict([(P.text("fw_grad"), P.true)]))),
        // torch asks for the key alone, and writes no other value.
        .init("metadata has \"neg\"", .pickleCall, with(P.dict([(P.text("neg"), P.false)]))),
        .init("has a list for its metadata", .pickleCall, with(P.list([]))),
        .init("a tensor of F32 has the conj bit", .dtype, with(P.dict([(P.text("conj"), P.true)])), code: .unsupported),
        .init("a tensor of BOOL has the neg bit", .dtype, with(P.dict([(P.text("neg"), P.true)]), type: "BoolStorage", count: 24), code: .unsupported),
        .init(
            "a tensor's state sets its data", .pickleCall,
            P.call("torch._utils", "_rebuild_parameter_with_state", [P.tensor, P.true, P.orderedDict, P.dict([(P.text("data"), P.tensor)])])),
        .init("a tensor's state sets its imag", .pickleCall, P.tensor + P.dict([(P.text("imag"), P.tensor)]) + [0x62]),
        .init(
            "a tensor has a list for its state", .pickleCall,
            P.call("torch._utils", "_rebuild_parameter_with_state", [P.tensor, P.true, P.orderedDict, P.list([])])),
    ]

    @Test(arguments: refused) func whatWouldChangeNumbersIsNotPassedOver(_ bad: Pickles.Bad) throws { try bad.check() }
}

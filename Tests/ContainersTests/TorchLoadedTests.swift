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
        ("legacy5.pt", "legacy", 4),
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

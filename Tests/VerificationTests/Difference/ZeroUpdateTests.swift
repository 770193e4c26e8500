import ByteAccess
import Checkpoints
import Tensors
import TestSupport
import Testing

@testable import Verification

/// Two adapters of which one or both do nothing. The truth: Δ = 0 has the norm 0, no direction, and no relative difference to
/// anything but itself; ‖Δ − 0‖ / ‖Δ‖ = 1.
@Suite struct ZeroUpdateTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// What of an adapter is zero.
    enum Zero: CaseIterable { case nothing, b, a, scale }

    /// A LoRA (6 × 5, rank 2), or a LoHa of the same sizes.
    private func adapter(_ name: String, _ zero: Zero, isLoHa: Bool, seed: UInt64) throws -> DifferenceInput {
        var random = SplitMix64(seed: seed)
        func values(_ count: Int, _ isZero: Bool) -> [Double] {
            let numbers = random.doubles(count)
            return isZero ? [Double](repeating: 0, count: count) : numbers
        }
        let path = "base_model.model.model.layers.0.q_proj"
        let names = isLoHa ? ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"] : ["lora_B.weight", "lora_A.weight"]
        let tensors = try names.enumerated().map { index, leaf in
            let isLeft = index % 2 == 0
            return try StoredValues(
                ExactString("\(path).\(leaf)"), .f32, isLeft ? [6, 2] : [2, 5],
                values(isLeft ? 12 : 10, zero == .b && index == 0 || zero == .a && index == 1))
        }
        try FileSystem.makeDirectory(directory.path(name), withParents: true)
        try directory.write(try StoredValues.file(tensors), to: "\(name)/adapter_model.safetensors")
        let alpha = #""\#(isLoHa ? "alpha" : "lora_alpha")": \#(zero == .scale ? 0 : 4)"#
        try directory.write(#"{"peft_type": "\#(isLoHa ? "LOHA" : "LORA")", "r": 2, \#(alpha)}"#, to: "\(name)/adapter_config.json")
        return try DifferenceInput(path: directory.path(name))
    }

    @Test(arguments: Zero.allCases, Zero.allCases) func nothingHasNoDirection(_ first: Zero, _ second: Zero) throws {
        for isLoHa in [false, true] {
            let report = try CheckpointComparison(
                adapter("a", first, isLoHa: isLoHa, seed: 1), adapter("b", second, isLoHa: isLoHa, seed: 2), jobs: 1).run()
            let updates = try #require(report.updates)
            #expect(updates.reason == nil && updates.skipped == [])
            let module = try #require(updates.modules.first)
            let (isNothing, isOther) = (first != .nothing, second != .nothing)
            #expect(module.isNothingInA == isNothing && module.isNothingInB == isOther, "\(module)")
            #expect(module.normInA.map { ($0 == 0) == isNothing } != false && module.normInB.map { ($0 == 0) == isOther } != false)
            // Other factors of nothing do the same; nothing and something never do.
            #expect(module.isEquivalent == (isNothing && isOther) && updates.isEquivalent == module.isEquivalent)
            #expect(!report.isEqual, "the tensors differ")
            switch (isNothing, isOther) {
            case (true, true): #expect(module.relativeDifference == 0)
            case (true, false): #expect(module.relativeDifference == nil)
            case (false, true): #expect(module.relativeDifference.map { abs($0 - 1) < 1e-12 } == true)
            case (false, false): #expect(module.relativeDifference.map { $0 > 0 } == true)
            }
            if isNothing || isOther {
                #expect(module.cos == nil, "\(module)")
                #expect(module.columnOverlap == nil && module.rowOverlap == nil || !isLoHa, "\(module)")
            }
            // The strict reader takes no NaN.
            let json = try JSONValue.parse(Array(report.json(limit: 0).serialized().utf8), file: "diff")
            #expect(json["updates"]?["equivalent"]?.boolValue == module.isEquivalent)
        }
    }

    /// The same bytes: only the scale says that one of the two does nothing.
    @Test func aScaleOfZeroIsAnotherUpdate() throws {
        let one = try adapter("a", .nothing, isLoHa: false, seed: 1)
        let none = try adapter("b", .scale, isLoHa: false, seed: 1)
        let there = try #require(try CheckpointComparison(one, none, jobs: 1).run().updates?.modules.first)
        #expect(!there.isEquivalent && there.relativeDifference == 1)
        let back = try #require(try CheckpointComparison(none, one, jobs: 1).run().updates?.modules.first)
        #expect(!back.isEquivalent && back.relativeDifference == nil)
    }

    /// A training checkpoint has more than a model: every tensor of it counts, under its whole path.
    @Test func everyTensorOfATrainingCheckpointIsCompared() throws {
        func view(_ name: String, _ key: String) -> TorchBuilder.View {
            .init(name: name, key: key, count: 2, shape: [2], strides: [1])
        }
        func bytes(_ values: [Double]) throws -> [UInt8] { try Conversion.narrowed(values, to: .f32) }
        func file(_ name: String, _ moment: Double) throws -> DifferenceInput {
            let pickle = TorchBuilder.pickle([view("w.weight", "0")], under: "state_dict", beside: view("exp_avg", "1"))
            let path = try directory.write(
                TorchBuilder.file(pickle: pickle, storages: [("0", bytes([1, 2])), ("1", bytes([moment, 4]))]), to: name)
            return try DifferenceInput(path: path)
        }
        let one = try file("a.ckpt", 3)
        #expect(Set(one.checkpoint.tensors.map(\.name.text)) == ["state_dict.w.weight", "optimizer.exp_avg"])
        #expect(try CheckpointComparison(one, file("b.ckpt", 3), jobs: 1).run().isEqual)
        let other = try CheckpointComparison(one, file("c.ckpt", 5), jobs: 1).run()
        #expect(!other.isEqual && other.changed.map(\.name.text) == ["optimizer.exp_avg"])
        // Against the model alone: the model is the same, and what stands beside it is missing.
        let model = try directory.write(
            StoredValues.file([StoredValues("w.weight", .f32, [2], [1, 2])]), to: "model.safetensors")
        let plain = try DifferenceInput(path: model)
        let removed = try CheckpointComparison(one, plain, jobs: 1).run()
        #expect(removed.changed.isEmpty && removed.added.isEmpty && removed.removed.map(\.name.text) == ["optimizer.exp_avg"])
        let added = try CheckpointComparison(plain, one, jobs: 1).run()
        #expect(added.changed.isEmpty && added.removed.isEmpty && added.added.map(\.name.text) == ["optimizer.exp_avg"])
    }
}

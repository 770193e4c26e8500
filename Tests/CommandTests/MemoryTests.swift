import Foundation
import TestSupport
import Testing

/// What is resident does not grow with the model: every command on a model eight times as large, whose elements are a hole in a file.
///
/// Without optimisation that is 64 MB; `make memory` does the same with an optimised binary and 4 GB (`PEFTFILE_MEMORY_MB`).
@Suite(.serialized, .disabled(if: Sanitizer.isOn, "under a sanitizer most of what is resident is its own"))
struct MemoryTests {
    /// Elements of one layer's weight: 8 MiB of BF16.
    private static let shape = [1024, 4096]
    private static let megabytes = ProcessInfo.processInfo.environment["PEFTFILE_MEMORY_MB"].flatMap { Int($0) }
    private static let layers = (megabytes ?? 64) / 8

    /// A base of so many layers, and an adapter of rank 8 for the first one's weight.
    private struct Model {
        let directory: TemporaryDirectory
        var base: String { directory.path("base") }
        var adapter: String { directory.path("adapter") }

        init(layers: Int) throws {
            directory = try TemporaryDirectory()
            for name in ["base", "adapter"] {
                try FileManager.default.createDirectory(atPath: directory.path(name), withIntermediateDirectories: true)
            }
            try TestFile.write("{\"model_type\": \"llama\"}", to: base + "/config.json")
            try SparseModel.write(
                (0..<layers).map { .init("model.layers.\($0).mlp.up_proj.weight", "BF16", shape, width: 2) }, to: base + "/model.safetensors")
            try TestFile.write(
                "{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"target_modules\": [\"up_proj\"], \"layers_to_transform\": [0]}", to: adapter + "/adapter_config.json")
            let prefix = "base_model.model.model.layers.0.mlp.up_proj."
            let file = adapter + "/adapter_model.safetensors"
            let header = try SparseModel.write(
                [
                    .init(prefix + "lora_A.weight", "F32", [8, shape[1]], width: 4),
                    .init(prefix + "lora_B.weight", "F32", [shape[0], 8], width: 4),
                ], to: file)
            // Not all zero: the update changes something.
            var bytes = try TestFile.bytes(file)
            for index in stride(from: 8 + header, to: bytes.count, by: 4) { bytes.replaceSubrange(index..<(index + 4), with: [0, 0, 0x80, 0x3C]) }
            try TestFile.write(bytes, to: file)
        }
    }

    /// The most bytes that a command had resident; it must end well.
    private static func resident(_ arguments: [String]) throws -> Int {
        let (result, usage) = try Tool.measure(arguments + ["--jobs", "2"], deadline: 600)
        #expect(result.status == 0, "\(arguments[0]): \(result.errors)")
        return usage.resident
    }

    @Test func noCommandGrowsWithTheModel() throws {
        var peaks: [[String: Int]] = []
        var bound = 0
        for layers in [Self.layers / 8, Self.layers] {
            let model = try Model(layers: layers)
            let merged = model.directory.path("merged")
            let plan = try Tool.run(["merge", model.base, model.adapter, "-o", merged, "--dry-run", "--json", "--jobs", "2"])
            let document = try JSONSerialization.jsonObject(with: Data(plan.output.utf8)) as? [String: Any]
            bound = max(bound, try #require(document?["peak_memory"] as? Int))
            peaks.append([
                "inspect --stats": try Self.resident(["inspect", model.base, "--stats", "-q"]),
                "merge": try Self.resident(["merge", model.base, model.adapter, "-o", merged, "-q"]),
                "merge --no-hash": try Self.resident(["merge", model.base, model.adapter, "-o", model.directory.path("copied"), "-q", "--no-hash"]),
                "verify": try Self.resident(["verify", merged, "-q"]),
                "diff": try Self.resident(["diff", merged, merged, "-q"]),
                "check": try Self.resident(["check", model.adapter, "--base", model.base, "--fail-on", "error", "-q"]),
                "convert": try Self.resident(["convert", model.adapter, "--to", "kohya", "-o", model.directory.path("converted")]),
            ])
        }
        for (command, large) in peaks[1] {
            let small = try #require(peaks[0][command])
            // The larger header, and what the C library keeps of it.
            #expect(large - small < 16 << 20, "\(command): \(small >> 20) MiB, and \(large >> 20) MiB for 8 times the model")
            #expect(large < 256 << 20, "\(command): \(large >> 20) MiB")
        }
        let merge = try #require(peaks[1]["merge"])
        // An upper bound, and none that is far from what happens.
        #expect(merge <= bound && bound < 4 * merge, "\(merge >> 20) MiB resident, and the plan says at most \(bound >> 20)")
    }

    /// Many tensors are normal: beside 64 MiB for the process, what is held is at most three times their header.
    @Test func aHeaderTakesThreeTimesItsLength() throws {
        let directory = try TemporaryDirectory()
        let count = Self.megabytes == nil ? 10_000 : 100_000
        let tensors = (0..<count).map {
            SparseModel.Tensor("model.layers.\($0 / 1000).block_sparse_moe.experts.\($0 % 1000).w1.weight", "BF16", [1, 4], width: 2)
        }
        let length = try SparseModel.write(tensors, to: directory.path("many.safetensors"))
        try SparseModel.write([tensors[0]], to: directory.path("one.safetensors"))
        for output in [[], ["--json"]] {
            let one = try Self.resident(["inspect", directory.path("one.safetensors")] + output)
            let many = try Self.resident(["inspect", directory.path("many.safetensors")] + output)
            // What the process takes for itself differs by half a mebibyte from run to run.
            #expect(many - one <= 3 * length + (1 << 20), "\(many - one) bytes more for a header of \(length)")
        }
    }

    /// Who plans or compares holds both headers and at most 1 KiB a tensor; a merge stays under the bound that its plan states.
    @Test func manyTensorsTakeAKilobyteEach() throws {
        let directory = try TemporaryDirectory()
        for name in ["base", "adapter"] {
            try FileManager.default.createDirectory(atPath: directory.path(name), withIntermediateDirectories: true)
        }
        let (base, adapter, merged) = (directory.path("base"), directory.path("adapter"), directory.path("merged"))
        let count = Self.megabytes == nil ? 10_000 : 100_000
        func module(_ number: Int) -> String { "model.layers.\(number / 1000).block_sparse_moe.experts.\(number % 1000).w1" }
        let length = try SparseModel.write(
            (0..<count).map { .init(module($0) + ".weight", "BF16", [4, 4], width: 2) }, to: base + "/model.safetensors")
        try TestFile.write("{\"model_type\": \"mixtral\"}", to: base + "/config.json")
        let file = adapter + "/adapter_model.safetensors"
        let header = try SparseModel.write(
            ["A", "B"].map { .init("base_model.model.\(module(0)).lora_\($0).weight", "F32", $0 == "A" ? [2, 4] : [4, 2], width: 4) }, to: file)
        var bytes = try TestFile.bytes(file)
        for index in stride(from: 8 + header, to: bytes.count, by: 4) { bytes.replaceSubrange(index..<(index + 4), with: [0, 0, 0x80, 0x3F]) }
        try TestFile.write(bytes, to: file)
        try TestFile.write(
            "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"\(module(0))\"]}", to: adapter + "/adapter_config.json")

        let plan = try Tool.run(["merge", base, adapter, "-o", merged, "--dry-run", "--json", "--jobs", "2"])
        let document = try JSONSerialization.jsonObject(with: Data(plan.output.utf8)) as? [String: Any]
        let bound = try #require(document?["peak_memory"] as? Int)
        let merge = try Self.resident(["merge", base, adapter, "-o", merged, "-q"])
        #expect(merge <= bound, "merge: \(merge) bytes, and the plan says at most \(bound)")
        let most = (64 << 20) + 2 * 3 * length + 1024 * count
        for command in [["verify", merged, "-q"], ["diff", merged, merged, "-q"], ["check", adapter, "--base", base, "--fail-on", "error", "-q"]] {
            let resident = try Self.resident(command)
            #expect(resident <= most, "\(command[0]): \(resident) bytes for \(count) tensors, more than \(most)")
        }
    }

    /// IA3 scales the rows of each of 3,000 experts. Looking through all modules for each took 30 s of processor time, where 9 s are enough, without optimisation.
    @Test func aMethodOfModulesTakesLinearTime() throws {
        let (directory, base, adapter) = try Self.experts(3000, tensors: [("ia3_l", [4, 1])], config: "\"peft_type\": \"IA3\", \"feedforward_modules\": []")
        let (result, usage) = try Tool.measure(["merge", base, adapter, "-o", directory.path("out"), "-q"], deadline: 120)
        #expect(result.status == 0, "\(result.errors)")
        #expect(usage.processorSeconds < 20, "\(usage.processorSeconds) s")
    }

    /// A base of so many small experts, and an adapter for each, of rank 2 unless it is another.
    private static func experts(
        _ count: Int, tensors: [(name: String, shape: [Int])] = [("lora_A.weight", [2, 4]), ("lora_B.weight", [4, 2])],
        config: String = "\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4"
    ) throws -> (directory: TemporaryDirectory, base: String, adapter: String) {
        let directory = try TemporaryDirectory()
        let (base, adapter) = (directory.path("base"), directory.path("adapter"))
        for path in [base, adapter] { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        func module(_ number: Int) -> String { "model.layers.\(number / 1000).block_sparse_moe.experts.\(number % 1000).w1" }
        try SparseModel.write((0..<count).map { .init(module($0) + ".weight", "BF16", [4, 4], width: 2) }, to: base + "/model.safetensors")
        try TestFile.write("{\"model_type\": \"mixtral\"}", to: base + "/config.json")
        let file = adapter + "/adapter_model.safetensors"
        let header = try SparseModel.write(
            (0..<count).flatMap { number in
                tensors.map { SparseModel.Tensor("base_model.model.\(module(number)).\($0.name)", "F32", $0.shape, width: 4) }
            }, to: file)
        var bytes = try TestFile.bytes(file)
        for index in stride(from: 8 + header, to: bytes.count, by: 4) { bytes.replaceSubrange(index..<(index + 4), with: [0, 0, 0x80, 0x3F]) }
        try TestFile.write(bytes, to: file)
        try TestFile.write("{\(config), \"target_modules\": [\"w1\"]}", to: adapter + "/adapter_config.json")
        return (directory, base, adapter)
    }

    /// An adapter of many modules, and a conversion that computes many tensors, stay under what their plans state.
    @Test func plansCountTheAdaptersTensors() throws {
        let (directory, base, adapter) = try Self.experts(Self.megabytes == nil ? 3000 : 50_000)
        for (number, command) in [["merge", base, adapter], ["convert", base, "--dtype", "F16"], ["convert", adapter, "--to", "kohya"]].enumerated() {
            let output = ["-o", directory.path("out\(number)")]
            let plan = try Tool.run(command + output + ["--dry-run", "--json"])
            let document = try JSONSerialization.jsonObject(with: Data(plan.output.utf8)) as? [String: Any]
            let bound = try #require(document?["peak_memory"] as? Int, "\(plan.errors)")
            let (result, usage) = try Tool.measure(command + output, deadline: 600)
            #expect(result.status == 0, "\(command): \(result.errors)")
            #expect(usage.resident <= bound, "\(command[0]): \(usage.resident) bytes, and the plan says at most \(bound)")
        }
    }

    /// Mixtures of experts have tens of thousands of targets: a base tensor, two factors, a line of the plan and two of the receipt each.
    @Test func aTargetTakesFewKilobytes() throws {
        let (few, many) = Self.megabytes == nil ? (300, 3000) : (1000, 20_000)
        let peaks = try [few, many].map { count in
            let (directory, base, adapter) = try Self.experts(count)
            return try Self.resident(["merge", base, adapter, "-o", directory.path("out"), "-q"])
        }
        let each = (peaks[1] - peaks[0]) / (many - few)
        #expect(each <= 5120, "\(each) bytes a target")
    }
}

import Peftfile
import TestSupport
import Testing

/// The same tensors as torch files instead of safetensors: every command gives the same bytes.
@Suite struct TorchInputTests {
    /// Ways in which the tensors are kept in the torch file.
    enum Form: CaseIterable {
        /// One storage a tensor.
        case plain
        /// Matrices are stored transposed.
        case transposed
        /// All tensors are parts of one storage.
        case shared
        /// Entries are compressed.
        case deflated
        /// Beside an optimizer, under `state_dict`.
        case nested
    }

    private static let types: [DType: String] = [
        .f32: "FloatStorage", .f16: "HalfStorage", .bf16: "BFloat16Storage", .f64: "DoubleStorage", .i64: "LongStorage",
        .u8: "ByteStorage",
    ]

    /// Writes the tensors of a safetensors file as a torch file.
    static func convert(_ path: String, to output: String, _ form: Form) throws {
        let source = try Checkpoint.open(path)
        var views: [TorchBuilder.View] = []
        var storages: [(key: String, bytes: [UInt8])] = []
        var all: [UInt8] = []
        for (number, tensor) in source.tensors.enumerated() {
            var bytes = try source.read(tensor)
            let width = tensor.dtype.bits / 8
            let count = tensor.info.elementCount
            var strides = tensor.shape.indices.map { tensor.shape[($0 + 1)...].reduce(1, *) }
            if form == .transposed, tensor.shape.count == 2 {
                let (rows, columns) = (tensor.shape[0], tensor.shape[1])
                bytes = (0..<count).flatMap { place -> ArraySlice<UInt8> in
                    let element = place % rows * columns + place / rows
                    return bytes[(element * width)..<((element + 1) * width)]
                }
                strides = [1, rows]
            }
            let isShared = form == .shared
            let total = source.tensors.reduce(0) { $0 + $1.info.elementCount }
            views.append(
                .init(
                    name: tensor.name.text, key: isShared ? "all" : "\(number)",
                    type: try #require(types[tensor.dtype]), count: isShared ? total : count,
                    offset: isShared ? all.count / width : 0, shape: tensor.shape, strides: strides))
            all += bytes
            if !isShared { storages.append(("\(number)", bytes)) }
        }
        if form == .shared { storages = [("all", all)] }
        var pickle = TorchBuilder.pickle(views)
        if form == .nested {
            storages.append(("o", [0, 0, 0, 0]))
            let other = TorchBuilder.View(name: "step", key: "o", count: 1, shape: [], strides: [])
            pickle = TorchBuilder.pickle(views, under: "state_dict", beside: other)
        }
        try TestFile.write(
            TorchBuilder.file(pickle: pickle, storages: storages, isDeflated: form == .deflated), to: output)
    }

    /// A copy of a case's base and adapter with torch files in the place of safetensors.
    static func torchCopy(of merge: MergeCase, _ form: Form, in directory: TemporaryDirectory) throws -> (String, String) {
        let (base, adapter) = (directory.path("base"), directory.path("adapter"))
        for (source, target) in [(merge.base, base), (merge.adapter, adapter)] {
            try FileSystem.makeDirectory(target)
            for name in try FileSystem.list(source) {
                let path = FileSystem.join(source, name)
                if name.hasSuffix(".safetensors") {
                    let renamed = name.replacing("model", with: source == merge.base ? "pytorch_model" : "model", maxReplacements: 1)
                    try convert(path, to: FileSystem.join(target, renamed.replacing(".safetensors", with: ".bin")), form)
                } else if name.hasSuffix(".index.json") {
                    let text = try TestFile.text(path).replacing("\"model-", with: "\"pytorch_model-")
                        .replacing(".safetensors\"", with: ".bin\"")
                    try TestFile.write(Array(text.utf8), to: FileSystem.join(target, "pytorch_model.bin.index.json"))
                } else if !FileSystem.isDirectory(path) {
                    try TestFile.write(TestFile.bytes(path), to: FileSystem.join(target, name))
                }
            }
        }
        return (base, adapter)
    }

    @Test(arguments: ["lora-sharded-bf16", "dora-gpt2", "lora-linear-f32"], Form.allCases)
    func mergesToTheSameBytes(_ name: String, _ form: Form) throws {
        guard FileSystem.exists(Fixtures.path("merge/\(name)/case.json")) else { return }
        let merge = try MergeCase(name)
        let directory = try TemporaryDirectory()
        _ = try PlanExecutor(plan: .merge(merge.binding()), target: directory.path("plain")).run()
        let (base, adapter) = try Self.torchCopy(of: merge, form, in: directory)
        let binding = try Binding(
            base: Checkpoint.open(base), adapters: [Adapter(path: adapter)], options: merge.options)
        #expect(binding.warnings.contains { $0.contains("training checkpoint") } == (form == .nested))
        for hashing in [true, false] {
            let target = directory.path("torch-\(hashing)")
            _ = try PlanExecutor(plan: .merge(binding), target: target, settings: .init(hashing: hashing)).run()
            let expected = try Checkpoint.open(directory.path("plain"))
            let result = try Checkpoint.open(target)
            #expect(result.shards.map(\.fileName) == expected.shards.map(\.fileName))
            #expect(result.indexFileName == expected.indexFileName)
            for (left, right) in zip(result.shards, expected.shards) {
                #expect(try TestFile.bytes(left.file.path) == TestFile.bytes(right.file.path), "\(left.fileName)")
            }
        }
        let report = try Verifier(
            binding: binding, result: Checkpoint.open(directory.path("torch-true")), dtype: nil,
            convertsAllDTypes: false, maxULP: 0, jobs: 2, probes: 2
        ).run()
        #expect(report.isEquivalent)
        let difference = try CheckpointComparison(
            DifferenceInput(path: merge.base), DifferenceInput(path: base)
        ).run()
        // Of a training checkpoint in one file, what it has beside the model is compared too.
        let beside = try form == .nested && Checkpoint.open(base).isSingleFile ? ["optimizer.step"] : []
        #expect(difference.added.map(\.name.text) == beside)
        #expect(difference.removed.isEmpty && difference.isEqual == beside.isEmpty)
        #expect(difference.changed.isEmpty)
        let adapters = try CheckpointComparison(
            DifferenceInput(path: merge.adapter), DifferenceInput(path: adapter)
        ).run()
        #expect(adapters.isEqual)
    }

    /// 72 MiB of zeros are 72 KB deflated: not taken into memory for it, and read in pieces all the same. Stored they are what they say.
    @Test(arguments: [true, false]) func aTensorThatInflatesToMuchMoreIsReadInPiecesOnly(_ isDeflated: Bool) throws {
        let directory = try TemporaryDirectory()
        let name = "base_model.model.w.lora_A.weight"
        let view = TorchBuilder.View(name: name, key: "0", count: 18 << 20, shape: [2, 9 << 20], strides: [9 << 20, 1])
        let zeros = [UInt8](repeating: 0, count: 72 << 20)
        let path = try directory.write(
            TorchBuilder.file(pickle: TorchBuilder.pickle([view]), storages: [("0", zeros)], isDeflated: isDeflated), to: "adapter_model.bin")
        let file = try Checkpoint.open(path)
        let tensor = try #require(file[ExactString(name)])
        #expect(try file.read(tensor, bytes: (70 << 20)..<(70 << 20 + 8)) == [UInt8](repeating: 0, count: 8))
        if isDeflated {
            let error = #expect(throws: PeftfileError.self) { try file.read(tensor) }
            #expect(error?.rule == "ZipInflated" && error?.tensor == tensor.name && error?.code == .refused)
        } else {
            #expect(try file.read(tensor) == zeros)
        }
    }

    @Test func inspectShowsEveryTensorOfATrainingCheckpoint() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("last.ckpt")
        let source = Fixtures.path("merge/dora-gpt2/base/model.safetensors")
        try Self.convert(source, to: path, .nested)
        let whole = try Inspection(path: path).checkpoint
        let model = try Checkpoint.open(path)
        #expect(whole.tensors.count == model.tensors.count + 1)
        #expect(whole["optimizer.step"] != nil)
        #expect(model.tensors.map(\.name) == (try Checkpoint.open(source)).tensors.map(\.name))
        #expect(whole.tensors.filter { $0.name.text.hasPrefix("state_dict.") }.count == model.tensors.count)
        #expect(model.notes.count == 1 && model.notes[0].contains("1 others are left out"))
    }

    @Test(arguments: ["prefix-projection-llama", "ptuning-lstm"], Form.allCases)
    func stripsToTheSameBytes(_ name: String, _ form: Form) throws {
        let strip = try StripCase(name)
        let directory = try TemporaryDirectory()
        let source = directory.path("source")
        try FileSystem.makeDirectory(source)
        for file in try FileSystem.list(strip.unstripped) {
            let path = FileSystem.join(strip.unstripped, file)
            if file == "adapter_model.safetensors" {
                try Self.convert(path, to: FileSystem.join(source, "adapter_model.bin"), form)
            } else if !file.hasSuffix(".safetensors") {
                try TestFile.write(TestFile.bytes(path), to: FileSystem.join(source, file))
            }
        }
        let options = StripOptions(layout: strip.layout)
        _ = try #require(try StripCase.strip(strip.unstripped, to: directory.path("plain"), options))
        _ = try #require(try StripCase.strip(source, to: directory.path("torch"), options))
        let name = "adapter_model.safetensors"
        #expect(
            try TestFile.bytes(directory.path("plain/\(name)")) == TestFile.bytes(directory.path("torch/\(name)")))
        #expect(try StripCase.verify(directory.path("torch"), from: source).isEquivalent)
    }
}

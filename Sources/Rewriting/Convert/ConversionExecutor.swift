import Adapters
import ByteAccess
import Checkpoints
import Containers
public import Tensors

/// Carries out a conversion: writes the weights and the config into a directory that appears whole or not at all.
public struct ConversionExecutor: Sendable {
    /// What is written.
    public let conversion: AdapterConversion
    /// The directory or file to write.
    public let target: String
    /// Whether an existing target is replaced.
    public let replacing: Bool
    /// Whether the SHA-256 of every output is taken while it is written.
    public let hashing: Bool
    private let progress: (@Sendable (UInt64) -> Void)?

    /// - Parameter progress: called with the bytes written so far.
    public init(
        conversion: AdapterConversion, target: String, replacing: Bool = false, hashing: Bool = true,
        progress: (@Sendable (UInt64) -> Void)? = nil
    ) {
        self.conversion = conversion
        self.target = target
        self.replacing = replacing
        self.hashing = hashing
        self.progress = progress
    }

    /// Where the receipt is written: in the directory, or beside the file.
    public var receiptPath: String { isFile ? ReceiptedFile.receiptPath(of: target) : FileSystem.join(target, Receipt.fileName) }

    /// Refuses a target that cannot be written before any work is done.
    ///
    /// - Throws: `.exists`, `.notFound` or `.refused` for the place, `.noSpace` where the disk has no room.
    public func checkTarget() throws { try check(Layout(conversion)) }

    private func check(_ layout: Layout) throws {
        let output = OutputTarget(path: target, replacing: replacing)
        if isFile { try checkFile(output) } else { try output.checkDirectory() }
        try output.checkParent()
        try output.refuseInputs([conversion.adapter.path], of: "conversion")
        try output.checkRoom(for: layout.totalBytes, madeOf: conversion.adapter.path)
    }

    /// Writes everything and publishes it in one step, with a receipt. No number is rounded: each keeps its dtype.
    ///
    /// - Returns: the names of the files, in order.
    /// - Throws: any failure; the target is then as it was.
    public func run() throws -> [String] {
        let layout = try Layout(conversion)
        try check(layout)
        let lock = try OutputLock(target: target)
        defer { lock.release() }
        return isFile ? try runFile(layout, lock) : try runDirectory(layout)
    }

    /// What ``run()`` would do.
    public struct Outline: Sendable {
        /// The name of the file with the tensors.
        public let fileName: String
        /// The tensors with their places in it.
        public let tensors: [TensorInfo]
        /// Bytes read from the adapter.
        public let bytesRead: UInt64
        /// Bytes written, the config included and the receipt left out.
        public let bytesWritten: UInt64
        /// Bytes of the receipt.
        public let receiptBytes: UInt64
        /// An upper estimate of the memory that it takes, in bytes: the largest tensor in float64 four times over, 8 MiB of tensors that
        /// are kept for others, 2.5 KiB for each of the adapter's tensors, and 64 MiB for the process.
        public let peakMemory: UInt64
    }

    /// Plans the file, and writes nothing.
    ///
    /// - Throws: what stands against the layout of the output.
    public func outline() throws -> Outline {
        let layout = try Layout(conversion)
        let largest = layout.tensors.map { 4 * 8 * UInt64($0.elementCount) }.max() ?? 0
        return Outline(
            fileName: isFile ? FileSystem.fileName(of: target) : conversion.fileName, tensors: layout.tensors,
            bytesRead: conversion.adapter.checkpoint.tensorBytes, bytesWritten: layout.totalBytes + UInt64(configBytes?.count ?? 0),
            receiptBytes: try receiptSize(), peakMemory: largest + (72 << 20) + RewritePlan.memory(ofTensorsIn: [conversion.adapter]))
    }

    /// The receipt is known but for hashes, all of which are as long.
    private func receiptSize() throws -> UInt64 {
        var receipt = ConversionReceipt(conversion)
        let digest = hashing ? String(repeating: "0", count: 64) : nil
        receipt.add(subject: isFile ? FileSystem.fileName(of: target) : conversion.fileName, digest: digest)
        if !isFile, configBytes != nil { receipt.add(subject: "adapter_config.json", digest: digest) }
        return try receipt.document().fileSize
    }

    private var configBytes: [UInt8]? {
        conversion.config.map { Array((JSONValue.object($0).serialized(indent: 2) + "\n").utf8) }
    }

    private func runDirectory(_ layout: Layout) throws -> [String] {
        var receipt = ConversionReceipt(conversion)
        let staged = try StagedDirectory(target: target, id: "convert")
        do {
            let writer = try FileWriter(path: staged.path(of: conversion.fileName))
            do {
                receipt.add(subject: conversion.fileName, digest: try write(layout, to: writer))
                try writer.commit(durable: true)
            } catch {
                writer.discard()
                throw error
            }
            var names = [conversion.fileName]
            if let bytes = configBytes {
                try FileWriter.write(bytes, to: staged.path(of: "adapter_config.json"))
                names.append("adapter_config.json")
                receipt.add(subject: "adapter_config.json", digest: hashing ? digest(bytes) : nil)
            }
            try conversion.adapter.checkpoint.requireUnchanged()
            try FileWriter.write(receipt.document(), to: staged.path(of: Receipt.fileName))
            try staged.publish(replacing: replacing, durable: true)
            return names
        } catch {
            staged.discard()
            throw error
        }
    }

    private func runFile(_ layout: Layout, _ lock: OutputLock) throws -> [String] {
        let name = FileSystem.fileName(of: target)
        let writer = try FileWriter(path: target, replacing: replacing, lock: lock)
        do {
            var receipt = ConversionReceipt(conversion)
            receipt.add(subject: name, digest: try write(layout, to: writer))
            try conversion.adapter.checkpoint.requireUnchanged()
            try ReceiptedFile.publish(writer, receipt: receipt.document(), replacing: replacing, durable: true, lock: lock)
            return [name]
        } catch {
            writer.discard()
            throw error
        }
    }

    private func digest(_ bytes: [UInt8]) -> String {
        var hash = SHA256()
        hash.update(bytes)
        return SHA256.hex(hash.finalize())
    }

    /// Whether the output is the one file.
    private var isFile: Bool {
        conversion.target == .gguf ? ConvertOutput.isGGUF(target) : ConvertOutput.isSingleFile(target)
    }

    /// A dialect whose scale stands in the file can be one file; one with a config beside it cannot.
    private func checkFile(_ output: OutputTarget) throws {
        guard conversion.config == nil else {
            throw PeftfileError(
                .refused, "\(conversion.target.rawValue)'s dialect has a config beside the weights, and the output is one file",
                file: target, rule: "ConvertOutput", help: "name a directory: -o \(String(target.dropLast(12)).shellQuoted)")
        }
        try output.checkFile()
        try OutputTarget(path: receiptPath, replacing: replacing).checkFile()
    }

    /// Where everything goes in the one file.
    private struct Layout {
        let headerBytes: [UInt8]
        let tensors: [TensorInfo]
        let totalBytes: UInt64

        init(_ conversion: AdapterConversion) throws {
            guard conversion.target == .gguf else {
                let layout = try SafetensorsLayout(
                    metadata: conversion.metadata,
                    tensors: conversion.outputs.map { (name: $0.name, dtype: $0.dtype, shape: $0.shape) })
                (headerBytes, tensors, totalBytes) = (layout.headerBytes, layout.tensors, layout.totalBytes)
                return
            }
            let layout = try GGUFLayout(
                metadata: conversion.ggufMetadata.map { ($0.key, $0.value.encoded ?? []) },
                tensors: conversion.outputs.map { .init(name: $0.name, type: GGUFType($0.dtype) ?? .f32, shape: $0.shape) })
            (headerBytes, tensors, totalBytes) = (layout.headerBytes, layout.tensors, layout.totalBytes)
        }
    }

    /// Writes the file from its first byte to its last.
    ///
    /// - Returns: its SHA-256 in hex, where one is taken.
    private func write(_ layout: Layout, to writer: FileWriter) throws -> String? {
        try writer.allocate(layout.totalBytes)
        var hash = SHA256()
        var end: UInt64 = 0
        func put(_ bytes: [UInt8], at offset: UInt64) throws {
            try writer.write(bytes, at: offset)
            progress?(offset + UInt64(bytes.count))
            guard hashing else { return }
            // What lies between two tensors is zero.
            hash.update([UInt8](repeating: 0, count: Int(offset - end)))
            hash.update(bytes)
            end = offset + UInt64(bytes.count)
        }
        try put(layout.headerBytes, at: 0)
        let numbers = AdapterNumbers(adapters: [conversion.adapter])
        for (tensor, info) in zip(conversion.outputs, layout.tensors) {
            try Interruption.check()
            try put(bytes(of: tensor, numbers), at: info.begin)
        }
        guard hashing else { return nil }
        hash.update([UInt8](repeating: 0, count: Int(layout.totalBytes - end)))
        return SHA256.hex(hash.finalize())
    }

    private func bytes(of tensor: AdapterConversion.Output, _ numbers: AdapterNumbers) throws -> [UInt8] {
        switch tensor.source {
        case .copy(let stored): return try conversion.adapter.checkpoint.read(stored)
        case .number(let value): return try Conversion.narrowed([value], to: tensor.dtype)
        case .tensor(let name, let transposed):
            var values = try numbers.elements(of: name, adapter: 0)
            if transposed, tensor.shape.count == 2 {
                // The result is (rows, columns); the source lies (columns, rows).
                let (rows, columns) = (tensor.shape[0], tensor.shape[1])
                guard values.count == rows * columns else {
                    throw PeftfileError(.malformed, "has another number of elements", tensor: name, rule: "FactorShape")
                }
                values = (0..<values.count).map { values[$0 % columns * rows + $0 / columns] }
            }
            // A dtype's own numbers come back as they were.
            return try Conversion.narrowed(values, to: tensor.dtype)
        case .gathered(let name, let factor, let rows):
            let values = try numbers.elements(of: name, adapter: 0)
            let columns = tensor.shape.last ?? 1
            guard values.count == tensor.shape.elementCount else {
                throw PeftfileError(.malformed, "has another number of elements", tensor: name, rule: "FactorShape")
            }
            let ordered = rows.flatMap { values[($0.lowerBound * columns)..<($0.upperBound * columns)] }
            return try Conversion.narrowed(factor == 1 ? ordered : ordered.map { $0 * factor }, to: tensor.dtype)
        case .blocks(let blocks):
            let width = tensor.shape.last ?? 1
            var values = [Double](repeating: 0, count: tensor.shape.elementCount ?? 0)
            for block in blocks {
                for (index, value) in try numbers.elements(of: block.tensor, adapter: 0).enumerated() {
                    let (line, across) = index.quotientAndRemainder(dividingBy: block.columns)
                    let place =
                        block.isTurned
                        ? (block.row + across) * width + block.column + line : (block.row + line) * width + block.column + across * block.step
                    values[place] = block.factor == 1 ? value : value * block.factor
                }
            }
            return try Conversion.narrowed(values, to: tensor.dtype)
        case .arranged(let pieces, let shape, let axes):
            var values: [Double] = []
            for piece in pieces {
                let own = try numbers.elements(of: piece.tensor, adapter: 0)
                values += piece.factor == 1 ? own : own.map { $0 * piece.factor }
            }
            return try Conversion.narrowed(TensorView.permuted(values, shape: shape, axes: axes), to: tensor.dtype)
        }
    }
}

import Adapters
import ByteAccess
import Checkpoints
import Containers
import Tensors

/// Carries out a conversion: writes the weights and the config into a directory that appears whole or not at all.
public struct ConversionExecutor: Sendable {
    /// What is written.
    public let conversion: AdapterConversion
    /// The directory or file to write.
    public let target: String
    /// Whether an existing target is replaced.
    public let replacing: Bool

    public init(conversion: AdapterConversion, target: String, replacing: Bool = false) {
        self.conversion = conversion
        self.target = target
        self.replacing = replacing
    }

    /// Writes everything and publishes it in one step. No number is rounded: each keeps its dtype.
    ///
    /// - Returns: the names of the files, in order.
    /// - Throws: any failure; the target is then as it was.
    public func run() throws -> [String] {
        let output = OutputTarget(path: target, replacing: replacing)
        let isSingleFile = ConvertOutput.isSingleFile(target)
        if isSingleFile { try checkFile() } else { try output.checkDirectory() }
        try output.checkParent()
        try output.refuseInputs([conversion.adapter.path], of: "convert")
        let layout = try SafetensorsLayout(
            metadata: conversion.metadata,
            tensors: conversion.outputs.map { (name: $0.name, dtype: $0.dtype, shape: $0.shape) })
        try output.checkRoom(for: layout.totalBytes)
        if isSingleFile {
            try write(layout, to: target, replacing: replacing)
            return [FileSystem.fileName(of: target)]
        }
        let staged = try StagedDirectory(target: target, id: "convert")
        do {
            try write(layout, to: staged.path(of: conversion.fileName))
            var names = [conversion.fileName]
            if let config = conversion.config {
                let bytes = Array((JSONValue.object(config).serialized(indent: 2) + "\n").utf8)
                try FileWriter.write(bytes, to: staged.path(of: "adapter_config.json"))
                names.append("adapter_config.json")
            }
            try staged.publish(replacing: replacing, durable: true)
            return names
        } catch {
            staged.discard()
            throw error
        }
    }

    /// A dialect whose scale stands in the file can be one file; one with a config beside it cannot.
    private func checkFile() throws {
        guard conversion.config == nil else {
            throw PeftfileError(
                .refused, "\(conversion.target.rawValue)'s dialect has a config beside the weights, and the output is one file",
                file: target, rule: "ConvertOutput", help: "name a directory: -o \(String(target.dropLast(12)).shellQuoted)")
        }
        guard !FileSystem.isDirectory(target), replacing || !FileSystem.exists(target) else {
            throw PeftfileError(
                .exists, "exists already", file: target,
                help: "choose another output" + (FileSystem.isDirectory(target) ? "" : " or give --force"))
        }
    }

    private func write(_ layout: SafetensorsLayout, to path: String, replacing: Bool = false) throws {
        let writer = try FileWriter(path: path, replacing: replacing)
        do {
            try writer.allocate(layout.totalBytes)
            try writer.write(layout.headerBytes, at: 0)
            let numbers = AdapterNumbers(adapters: [conversion.adapter])
            for (tensor, info) in zip(conversion.outputs, layout.tensors) {
                try Interruption.check()
                try writer.write(bytes(of: tensor, numbers), at: info.begin)
            }
            try writer.commit(durable: true)
        } catch {
            writer.discard()
            throw error
        }
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
        }
    }
}

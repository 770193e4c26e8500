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
        try output.checkDirectory()
        try output.checkParent()
        try output.refuseInputs([conversion.adapter.path], of: "convert")
        let layout = try SafetensorsLayout(
            metadata: conversion.metadata,
            tensors: conversion.outputs.map { (name: $0.name, dtype: $0.dtype, shape: $0.shape) })
        try output.checkRoom(for: layout.totalBytes)
        let staged = try StagedDirectory(target: target, id: "convert")
        do {
            let writer = try FileWriter(path: staged.path(of: conversion.fileName))
            try writer.allocate(layout.totalBytes)
            try writer.write(layout.headerBytes, at: 0)
            let numbers = AdapterNumbers(adapters: [conversion.adapter])
            for (tensor, info) in zip(conversion.outputs, layout.tensors) {
                try Interruption.check()
                try writer.write(bytes(of: tensor, numbers), at: info.begin)
            }
            try writer.commit(durable: true)
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
